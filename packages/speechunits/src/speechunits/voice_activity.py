"""How likely each 32 ms of sound is speech: silero-vad's network (v6, 16 kHz) in plain torch.

Only the weights are taken from the `silero_vad` package (MIT). Importing it would set torch to one thread for the whole
process, and it calls the network once every 32 ms; here the convolutions run on two minutes at once and only the LSTM
goes step by step, which gives the same numbers faster. The package's safetensors file is not used: it holds other
weights than the model that the package itself runs (probabilities differ by up to 0.27).

Letters in shapes: T frame, C channel.
"""

import importlib.util
import warnings
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechunits.audio import Waveform, resample
from speechunits.errors import InputError

Probabilities: TypeAlias = npt.NDArray[np.float32]

SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES = 512
_CONTEXT_SAMPLES = 64  # of the frame before, which the network hears again
_FRAMES_AT_ONCE = 4_096
_STORED_NAMES = {
    "spectrum.weight": "stft.forward_basis_buffer",
    **{
        f"convolutions.{layer}.{kind}": f"encoder.{layer}.reparam_conv.{kind}"
        for layer in range(4)
        for kind in ("weight", "bias")
    },
    **{f"lstm.{name}_l0": f"decoder.rnn.{name}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")},
    **{f"end.{kind}": f"decoder.decoder.2.{kind}" for kind in ("weight", "bias")},
}


def detect_speech(waveform: Waveform) -> Probabilities:
    """Return the probability of speech of each frame of 32 ms, `[T]`; the last frame is filled up with silence.

    Raises:
        InputError: silero-vad is not installed.
    """
    samples = torch.tensor(resample(waveform, SAMPLE_RATE_HZ).samples)
    filled = F.pad(samples, (_CONTEXT_SAMPLES, -samples.numel() % FRAME_SAMPLES))
    frames = filled.unfold(0, _CONTEXT_SAMPLES + FRAME_SAMPLES, FRAME_SAMPLES)  # [T, context + frame]
    network = _load_network()
    state: tuple[Tensor, Tensor] | None = None
    probabilities = []
    with torch.inference_mode():
        for block in torch.split(frames, _FRAMES_AT_ONCE):
            values, state = network(block, state)
            probabilities.append(values)
    return torch.cat(probabilities).numpy()


class _Network(nn.Module):
    """Spectrum, four convolutions within a frame, an LSTM across frames."""

    def __init__(self) -> None:
        super().__init__()
        self.spectrum = nn.Conv1d(1, 258, kernel_size=256, stride=128, bias=False)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, into, kernel_size=3, stride=stride, padding=1)
            for width, into, stride in ((129, 128, 1), (128, 64, 2), (64, 64, 2), (64, 128, 1))
        )
        self.lstm = nn.LSTM(128, 128)
        self.end = nn.Conv1d(128, 1, kernel_size=1)

    def forward(self, frames: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the probabilities `[T]` of frames `[T, context + frame]` and the state of the LSTM behind them."""
        spectrum = self.spectrum(F.pad(frames[:, None], (0, 64), mode="reflect"))  # [T, 258, 4]
        real, imaginary = spectrum.chunk(2, dim=1)
        hidden = torch.sqrt(real**2 + imaginary**2)
        for convolution in self.convolutions:
            hidden = convolution(hidden).relu()  # at the end [T, 128, 1]
        hidden, state = self.lstm(hidden[:, :, 0], state)  # [T, 128]
        return self.end(hidden.relu()[:, :, None])[:, 0, 0].sigmoid(), state


@cache
def _load_network() -> _Network:
    # Found, not imported: see the head of this module.
    package = importlib.util.find_spec("silero_vad")
    if package is None or package.origin is None:
        raise InputError("finding speech needs silero-vad: pip install silero-vad")
    with warnings.catch_warnings():
        # torch would rather have another kind of file; only the weights of this one are used.
        warnings.simplefilter("ignore", DeprecationWarning)
        load: Any = torch.jit.load
        script = load(Path(package.origin).parent / "data" / "silero_vad.jit", map_location="cpu")
    # The file also holds the network for 8 kHz.
    stored = {name[7:]: values for name, values in script.state_dict().items() if name.startswith("_model.")}
    network = _Network()
    network.load_state_dict({ours: stored[theirs] for ours, theirs in _STORED_NAMES.items()})
    return network.eval()
