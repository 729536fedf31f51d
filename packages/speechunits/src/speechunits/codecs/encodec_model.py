"""Build one of encodec's two published models and load its weights without executing anything in the file."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from speechunits.devices import require_device
from speechunits.digests import digest_tensors
from speechunits.errors import InputError
from speechunits.torchaudio_import import import_torchaudio
from speechunits.weights_file import read_weights

if TYPE_CHECKING:
    from encodec.model import EncodecModel

Kind: TypeAlias = Literal["24khz", "48khz"]
# The last eight digits are the start of the file's SHA-256, which torch.hub checks.
_PUBLISHED_WEIGHTS: dict[Kind, str] = {"24khz": "encodec_24khz-d7cc33bc.th", "48khz": "encodec_48khz-7e698e3e.th"}


def load_encodec_model(kind: Kind, weights: Path | None, bandwidth_kbps: float, device: str) -> "EncodecModel":
    """Return encodec's model, ready to encode.

    Args:
        kind: which of the two.
        weights: a state dict as `.safetensors`, or as a torch file like the published ones; None takes the published
            weights, downloaded once from the authors' server into torch's hub cache.
        bandwidth_kbps: one of the model's target bandwidths.
        device: torch device.

    Raises:
        InputError: the bandwidth is another one, the weights are missing or do not fit, or the device cannot be used.
    """
    import_torchaudio()
    from encodec.model import ROOT_URL, EncodecModel

    build = {"24khz": EncodecModel.encodec_model_24khz, "48khz": EncodecModel.encodec_model_48khz}[kind]
    with warnings.catch_warnings():
        # torch deprecates the weight norm whose parameter names the published weights have.
        warnings.simplefilter("ignore", FutureWarning)
        model: EncodecModel = build(pretrained=False)
    if bandwidth_kbps not in model.target_bandwidths:
        choices = ", ".join(f"{bandwidth:g}" for bandwidth in model.target_bandwidths)
        raise InputError(f"EnCodec {kind} has no bandwidth of {bandwidth_kbps:g} kbps; it has {choices}")
    model.set_target_bandwidth(bandwidth_kbps)
    if weights is None:
        # encodec's own loader makes the same download, but unpickles it freely.
        url = ROOT_URL + _PUBLISHED_WEIGHTS[kind]
        try:
            state = torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
        except (OSError, RuntimeError) as error:  # no network, or not what the hash in the name says
            reason = str(error).splitlines()[0]
            raise InputError(f"{url} cannot be fetched ({reason}); give a file: encodec-{kind}:FILE") from error
    else:
        state = read_weights(weights)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{weights}: not the weights of EnCodec {kind} ({str(error).splitlines()[0]})") from error
    model.to(require_device(device))
    model.eval()
    return model


def count_levels(model: "EncodecModel") -> int:
    """Return how many levels the model's bandwidth has room for."""
    return int(model.quantizer.get_num_quantizers_for_bandwidth(model.frame_rate, model.bandwidth))


def name_model(kind: Kind, model: "EncodecModel") -> str:
    """Return the identity of a codec: kind, weights and levels."""
    return f"encodec-{kind} {digest_tensors(model.state_dict())} levels {count_levels(model)}"
