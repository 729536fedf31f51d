"""Features of a Whisper encoder (arXiv 2212.04356): one layer, from a CTranslate2 folder, in plain torch.

Two things differ from the original. Audio is not padded to 30 s, which costs 40 times as much for a short utterance;
and the spectrogram is not centred, so that the frames are those of HuBERT (see `geometry`), 12.5 ms after the
original's.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechunits.audio import Waveform
from speechunits.devices import require_device
from speechunits.encoders.batched import BatchedEncoder, most_frames
from speechunits.encoders.ctranslate2_file import Array, Ctranslate2File, read_ctranslate2, write_ctranslate2
from speechunits.encoders.geometry import HOP_SAMPLES, SAMPLE_RATE_HZ, WINDOW_SAMPLES, count_samples
from speechunits.errors import InputError
from speechunits.torchaudio_import import import_torchaudio

_SPECTRUM_HOP = 160  # 100 frames a second, which the second convolution halves
_LAYER = re.compile(r"encoder/layer_(\d+)/")


def load_whisper(folder: Path, layer: int, *, device: str = "cpu", batch_frames: int | None = None) -> "WhisperEncoder":
    """Load the encoder of a Whisper model as faster-whisper publishes them.

    Args:
        folder: holds `model.bin`, in any float type.
        layer: transformer layer to read, 1 is the first; the last one is read behind the closing norm, which the files
            of `cut_whisper` do not have.
        device: torch device.
        batch_frames: most frames in one padded batch; by default what suits the device.

    Raises:
        InputError: the file is not a Whisper model, is quantized, or has no such layer, or the device cannot be used.
    """
    path = folder / "model.bin"
    stored = _read(path)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    try:
        model = WhisperLayers(stored.tensors, layer).eval().requires_grad_(False)
    except KeyError as error:
        raise InputError(f"{path}: tensor {error} is missing") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    model.to(require_device(device))
    return WhisperEncoder(
        model, f"whisper sha256:{digest[:16]} layer {layer} unpadded", batch_frames or most_frames(device)
    )


def cut_whisper(folder: Path, layers: int, out: Path) -> int:
    """Write what features need of a Whisper: the convolutions and the first layers of its encoder.

    Args:
        folder: holds `model.bin`, in any float type, which is kept.
        layers: how many.
        out: the folder to make; `load_whisper` reads it, and gives the features that it gives of `folder`.

    Returns:
        Bytes written.

    Raises:
        InputError: the file is not a Whisper model, or it has no more layers than that; or `out` is there already.
    """
    if out.exists():
        raise InputError(f"{out}: is there already; remove it, or write elsewhere")
    whole = _read(folder / "model.bin")
    found = _count_layers(whole.tensors)
    if not 1 <= layers < found:
        raise InputError(f"{folder}: has {found} layers, of which 1 to {found - 1} can be kept, not {layers}")
    kept = {
        name: tensor
        for name, tensor in whole.tensors.items()
        if name.startswith(("encoder/conv", "encoder/position_encodings/", "encoder/num_heads"))
        or ((number := _LAYER.match(name)) and int(number[1]) < layers)
    }
    out.mkdir(parents=True)
    write_ctranslate2(out / "model.bin", Ctranslate2File(whole.specification, whole.revision, kept))
    return (out / "model.bin").stat().st_size


def _read(path: Path) -> Ctranslate2File:
    stored = read_ctranslate2(path)
    if stored.specification != "WhisperSpec":
        raise InputError(f"{path}: a {stored.specification}, not a WhisperSpec")
    return stored


def _count_layers(tensors: Mapping[str, Array]) -> int:
    return 1 + max((int(found[1]) for name in tensors if (found := _LAYER.match(name))), default=-1)


class WhisperEncoder(BatchedEncoder):
    """A `SpeechEncoder` with the frames of HuBERT; made by `load_whisper`."""

    def __init__(self, model: "WhisperLayers", identity: str, batch_frames: int) -> None:
        super().__init__(batch_frames)
        self._model = model
        self._filters = mel_filters(model.mel_bins).to(model.positions.device)
        self.sample_rate_hz = SAMPLE_RATE_HZ
        self.frame_rate_hz = SAMPLE_RATE_HZ / HOP_SAMPLES
        self.dimension = model.dimension
        self.shortest_samples = WINDOW_SAMPLES
        self.identity = identity

    def _cut(self, waveform: Waveform) -> Iterator[Tensor]:
        """Yield pieces of 30 s, beyond which Whisper has no positions; they overlap so that no frame is lost."""
        longest = self._model.longest_frames
        for piece in super()._cut(waveform):
            for start in range(0, piece.numel() - WINDOW_SAMPLES + 1, longest * HOP_SAMPLES):
                yield piece[start : start + count_samples(longest)]

    def _normalise(self, samples: Tensor) -> Tensor:
        return samples

    def _convolve(self, samples: Tensor) -> Tensor:
        # The spectrum is scaled by its peak, so it too is made of each piece by itself.
        return self._model.convolve(log_mel(samples.to(self._filters.device), self._filters))

    def _transform(self, frames: Tensor, padding: Tensor | None) -> Tensor:
        encoded: Tensor = self._model(frames, None if padding is None else ~padding)
        return encoded


class WhisperLayers(nn.Module):
    """The convolutions and first transformer layers of a Whisper encoder.

    Attributes:
        mel_bins: of the spectrogram that it reads.
        dimension: D.
        longest_frames: positions that it knows: 1,500.
        positions: `[longest_frames, D]`.
    """

    positions: Tensor

    def __init__(self, tensors: Mapping[str, Array], layer: int) -> None:
        """Take the tensors of a WhisperSpec.

        Raises:
            InputError: they are quantized, or there is no such layer.
            KeyError: one is missing.
        """
        super().__init__()
        weights = {name: value for name, value in tensors.items() if name.startswith("encoder/")}
        layers = _count_layers(weights)
        if not 1 <= layer <= layers:
            raise InputError(f"layer {layer} is not one of its layers 1 to {layers}")
        self.conv1 = _convolution(weights, "encoder/conv1", stride=1)
        self.conv2 = _convolution(weights, "encoder/conv2", stride=2)
        self.register_buffer("positions", _tensor(weights, "encoder/position_encodings/encodings"))
        heads = int(weights["encoder/num_heads"])
        self.layers = nn.ModuleList(_Layer(weights, f"encoder/layer_{index}", heads) for index in range(layer))
        closed = layer == layers and "encoder/layer_norm/gamma" in weights
        self.norm = _norm(weights, "encoder/layer_norm") if closed else nn.Identity()
        self.mel_bins = self.conv1.in_channels
        self.longest_frames, self.dimension = self.positions.shape

    def convolve(self, spectrum: Tensor) -> Tensor:
        """Return `[T, D]` with positions added, from a log-mel spectrum `[bins, about 2 T]`."""
        values = F.gelu(self.conv2(F.gelu(self.conv1(spectrum[None]))))[0].T  # [T, D]
        return values + self.positions[: len(values)]

    def forward(self, values: Tensor, heard: Tensor | None) -> Tensor:
        """Return `[B, T, D]` of the chosen layer.

        Args:
            values: `[B, T, D]` from `convolve`, padded.
            heard: `[B, T]` bool, false where padded; None if nothing is.
        """
        for layer in self.layers:
            values = layer(values, heard)
        return self.norm(values)  # type: ignore[no-any-return]


class _Layer(nn.Module):
    """A transformer layer with the norms in front."""

    def __init__(self, weights: Mapping[str, Array], name: str, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = _norm(weights, f"{name}/self_attention/layer_norm")
        self.projections = _linear(weights, f"{name}/self_attention/linear_0")  # queries, keys, values
        self.attention_output = _linear(weights, f"{name}/self_attention/linear_1")
        self.norm = _norm(weights, f"{name}/ffn/layer_norm")
        self.up = _linear(weights, f"{name}/ffn/linear_0")
        self.down = _linear(weights, f"{name}/ffn/linear_1")

    def forward(self, values: Tensor, heard: Tensor | None) -> Tensor:
        projected = self.projections(self.attention_norm(values))  # [B, T, 3 D]
        split = projected.unflatten(2, (3, self.heads, -1)).transpose(1, 3)  # [B, H, 3, T, C]
        query, key, value = split.unbind(2)
        mask = None if heard is None else heard[:, None, None, :]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)  # [B, H, T, C]
        values = values + self.attention_output(mixed.transpose(1, 2).flatten(2))
        return values + self.down(F.gelu(self.up(self.norm(values))))  # type: ignore[no-any-return]


def log_mel(samples: Tensor, filters: Tensor) -> Tensor:
    """Return Whisper's log-mel spectrogram without centring, `[bins, 1 + (samples - 400) // 160]`.

    Args:
        samples: `[T]` at 16 kHz, at least 400.
        filters: `[bins, 201]` from `mel_filters`, on the same device.
    """
    window = torch.hann_window(WINDOW_SAMPLES, device=samples.device)
    spectrum = torch.stft(samples, WINDOW_SAMPLES, _SPECTRUM_HOP, window=window, center=False, return_complex=True)
    decades = (filters @ spectrum.abs().square()).clamp(min=1e-10).log10()
    return (torch.maximum(decades, decades.max() - 8.0) + 4.0) / 4.0


def mel_filters(bins: int) -> Tensor:
    """Return Slaney's mel filters of equal area over 0 to 8 kHz, `[bins, 201]`."""
    import_torchaudio()
    from torchaudio.functional import melscale_fbanks

    spectrum_bins = WINDOW_SAMPLES // 2 + 1
    filters: Tensor = melscale_fbanks(
        spectrum_bins, 0.0, SAMPLE_RATE_HZ / 2, bins, SAMPLE_RATE_HZ, norm="slaney", mel_scale="slaney"
    )
    return filters.T.contiguous()


def _tensor(weights: Mapping[str, Array], name: str) -> Tensor:
    if weights[name].dtype.kind != "f":
        raise InputError(f"tensor {name} is {weights[name].dtype}: quantized models are not read")
    return torch.from_numpy(weights[name].astype(np.float32))


def _linear(weights: Mapping[str, Array], name: str) -> nn.Linear:
    weight = _tensor(weights, f"{name}/weight")
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.load_state_dict({"weight": weight, "bias": _tensor(weights, f"{name}/bias")}, assign=True)
    return layer


def _convolution(weights: Mapping[str, Array], name: str, *, stride: int) -> nn.Conv1d:
    weight = _tensor(weights, f"{name}/weight")
    out_width, in_width, kernel = weight.shape
    layer = nn.Conv1d(in_width, out_width, kernel, stride=stride, padding=1, device="meta")
    layer.load_state_dict({"weight": weight, "bias": _tensor(weights, f"{name}/bias")}, assign=True)
    return layer


def _norm(weights: Mapping[str, Array], name: str) -> nn.LayerNorm:
    weight = _tensor(weights, f"{name}/gamma")
    layer = nn.LayerNorm(len(weight), device="meta")
    layer.load_state_dict({"weight": weight, "bias": _tensor(weights, f"{name}/beta")}, assign=True)
    return layer
