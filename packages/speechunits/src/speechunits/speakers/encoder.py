"""A speaker encoder out of its file; gradients flow through its embeddings, so that they can be asked for in a loss."""

from pathlib import Path

import torch
from torch import Tensor

from speechunits.digests import digest_tensors
from speechunits.errors import InputError
from speechunits.speakers.campplus import CamPlusPlus, log_mel_of_kaldi
from speechunits.weights_file import read_weights

SAMPLE_RATE_HZ = 16_000


class SpeakerEncoder:
    """CAM++ (arXiv 2303.00332) with frozen weights."""

    def __init__(self, model: CamPlusPlus, identity: str) -> None:
        """Wrap a network; see `load_speaker_encoder`."""
        self._model, self.identity = model, identity

    def embed(self, samples: Tensor) -> Tensor:
        """Return embeddings `[B, 192]` of length 1 of speech `[B, N]` at 16 kHz, which carries the gradient."""
        return torch.nn.functional.normalize(self._model(log_mel_of_kaldi(samples)), dim=1)


def load_speaker_encoder(path: Path, device: str = "cpu") -> SpeakerEncoder:
    """Load CAM++ as 3D-Speaker publishes it (`campplus_cn_en_common.pt`, Apache-2.0).

    Args:
        path: the file, a state dictionary of PyTorch or safetensors.
        device: torch device.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    state = read_weights(path)
    model = CamPlusPlus()
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path}: not the weights of CAM++ for 192 dimensions") from error
    model.eval().requires_grad_(False).to(device)
    return SpeakerEncoder(model, f"campplus {digest_tensors(model.state_dict())}")
