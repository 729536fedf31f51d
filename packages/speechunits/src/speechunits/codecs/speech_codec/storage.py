"""A codec on disk: codec.json (shape, identity) and model.safetensors (float16); and the identity of its codes."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from speechunits.codecs.speech_codec.model import CodecModel
from speechunits.codecs.speech_codec.settings import CodecSettings
from speechunits.errors import InputError
from speechunits.extracted import UnitsInfo
from speechunits.files import write_atomically

_FORMAT = "speechunits.speech_codec.1"
_DESCRIPTION = "codec.json"
_WEIGHTS = "model.safetensors"


def identify_codes(model: CodecModel) -> str:
    """Return `speech_codec-` and 16 hexadecimal digits of a SHA-256: what the codes of a codec depend on.

    Encoder, whitening, quantiser and the shape of the encoder count, as they are stored; the decoder does not. So a
    codec whose decoder was trained further has the same identity, and codes made before stay good.
    """
    settings = asdict(model.settings)
    shape = {name: value for name, value in settings.items() if not name.startswith(("decoder_", "spectrum_"))}
    digest = hashlib.sha256(json.dumps(shape, sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith("decoder."):
            digest.update(f"\n{name} {list(tensor.shape)}\n".encode())
            digest.update(tensor.half().cpu().numpy().tobytes())
    return f"speech_codec-{digest.hexdigest()[:16]}"


def write_codec(folder: Path, model: CodecModel) -> None:
    """Write a codec; one that is in the folder already is replaced.

    The weights go first: after a crash in between, either only the decoder is newer, or the identity does not fit.

    Args:
        folder: made if it is not there.
        model: the codec.
    """
    folder.mkdir(parents=True, exist_ok=True)
    halves = {name: tensor.half().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(folder / _WEIGHTS, save(halves))
    description = {"format": _FORMAT, "identity": identify_codes(model), "codec": model.settings.describe()}
    if model.told is not None:
        description["told"] = asdict(model.told)
    write_atomically(folder / _DESCRIPTION, (json.dumps(description, indent=2) + "\n").encode())


def read_codec(folder: Path) -> CodecModel:
    """Read what `write_codec` wrote: a model on the CPU, in float32, in evaluation mode.

    Raises:
        InputError: a file is missing or is something else, or the two do not belong together.
    """
    path = folder / _DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # broken JSON, broken UTF-8, brackets without end
        raise InputError(f"{path}: not JSON ({error})") from error
    if not isinstance(description, dict) or description.get("format") != _FORMAT:
        raise InputError(f"{path}: does not describe a codec ({_FORMAT})")
    if not isinstance(description.get("codec"), dict):
        raise InputError(f"{path}: the shape of the codec is missing")
    settings = CodecSettings.parse(description["codec"], str(path))
    told = _parse_told(description["told"], str(path)) if "told" in description else None
    try:
        model = CodecModel(settings, told)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    try:
        tensors = load_file(folder / _WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{folder / _WEIGHTS}: cannot be read as safetensors: {error}") from error
    try:
        model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except RuntimeError as error:
        raise InputError(f"{folder / _WEIGHTS}: not the weights that {_DESCRIPTION} describes") from error
    if identify_codes(model) != description.get("identity"):
        raise InputError(f"{folder}: {_WEIGHTS} and {_DESCRIPTION} belong to different codecs")
    return model.eval().requires_grad_(False)


def _parse_told(values: object, where: str) -> UnitsInfo:
    wanted = {entry.name: entry.type for entry in fields(UnitsInfo)}
    if not isinstance(values, dict) or {name: type(value) for name, value in values.items()} != wanted:
        kinds = ", ".join(f"{name} ({getattr(kind, '__name__', kind)})" for name, kind in wanted.items())
        raise InputError(f"{where}: what its decoder is told must be {kinds}")
    return UnitsInfo(**values)


def round_as_stored(model: CodecModel, decoder: Mapping[str, Tensor]) -> CodecModel:
    """Return a copy on the CPU, in evaluation mode, with the weights it will have when it is read back.

    Args:
        model: the codec.
        decoder: other weights of its decoder by name, such as averaged ones; where there is none, the model's own.
    """
    tensors = model.state_dict() | {f"decoder.{name}": tensor for name, tensor in decoder.items()}
    copy = CodecModel(model.settings, model.told)
    copy.load_state_dict({name: tensor.half().float() for name, tensor in tensors.items()})
    return copy.eval().requires_grad_(False)
