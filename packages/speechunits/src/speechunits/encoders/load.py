"""One way to name any encoder."""

from pathlib import Path

from speechunits.encoders.batched import BatchedEncoder
from speechunits.errors import InputError


def load_encoder(where: str, layer: int, device: str = "cpu") -> BatchedEncoder:
    """Load an encoder by name.

    Args:
        where: a fairseq HuBERT checkpoint (`*.pt`); a folder, or a name on the Hugging Face hub, of a HuBERT, wav2vec2
            or WavLM of transformers; a folder of a Whisper as faster-whisper publishes them (`model.bin`); or `mfcc`.
        layer: transformer layer to read, 1 is the first; `mfcc` has none.
        device: torch device.

    Raises:
        InputError: the name is none of these, or what it names cannot be loaded.
    """
    path = Path(where)
    if path.suffix == ".pt":
        from speechunits.encoders.hubert import load_fairseq_hubert

        return load_fairseq_hubert(path, layer, device=device)
    if where == "mfcc":
        from speechunits.encoders.mfcc import MfccEncoder

        return MfccEncoder()
    if (path / "model.bin").is_file():
        from speechunits.encoders.whisper import load_whisper

        return load_whisper(path, layer, device=device)
    # Names on the hub are OWNER/NAME: what else is not there cannot be a name.
    if path.is_file() or (not path.is_dir() and (path.is_absolute() or len(path.parts) != 2 or where[0] in ".~")):
        raise InputError(f"encoder {where!r} is neither a *.pt file, nor mfcc, nor a folder, nor a name on the hub")
    from speechunits.encoders.transformers_model import load_transformers_model

    return load_transformers_model(where, layer, device=device)
