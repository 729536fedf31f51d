"""A small speech codec of our own: its model, its training from scratch on a CPU, and its loader.

settings.py        the shape of a codec and how it is trained (light to import)
features.py        spectra and log-mel spectra
layers.py          what both halves of the model are made of
model.py           waveform -> latent, latent -> waveform
guide.py           units and a voice, of which a decoder may be told
source.py          pulses at a foretold pitch, and noise, which a decoder may filter
quantizer.py       whitening and residual vector quantisation
codec.py           `SpeechCodec`, what others use
storage.py         codec.json + model.safetensors, and the identity of the codes
losses.py, listeners.py, discriminator.py, pitch.py, data.py, telling.py, state.py, diary.py, training.py
                   everything that only training needs
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speechunits.codecs.speech_codec.codec import SpeechCodec


def load_speech_codec(folder: Path, device: str = "cpu", levels: int | None = None) -> "SpeechCodec":
    """Load a codec that `train_speech_codec` made.

    Args:
        folder: holds `codec.json` and `model.safetensors`.
        device: torch device.
        levels: how many of the codec's levels `encode` gives, from the coarsest; None gives all.

    Raises:
        InputError: the folder does not hold such a codec, or it has fewer levels; or the device cannot be used.
    """
    from speechunits.codecs.speech_codec.codec import SpeechCodec
    from speechunits.codecs.speech_codec.storage import read_codec
    from speechunits.devices import require_device

    return SpeechCodec(read_codec(folder).to(require_device(device)), levels)
