"""HuBERT (arXiv 2106.07447) from fairseq checkpoints: the features of one transformer layer.

fairseq's own model does the work. Two things are arranged differently from its `extract_features`: the convolutions run
on each waveform by itself, because HuBERT-base normalises over time (group norm) and would count padding as sound, and
only the transformer runs on a padded batch, under a mask of whole frames. So a batch gives what single calls give.
"""

import dataclasses
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from speechunits.audio import Waveform, resample
from speechunits.batching import batches_by_length
from speechunits.encoders.fairseq_checkpoint import ConvLayer, HubertCheckpoint, read_hubert_checkpoint
from speechunits.errors import InputError
from speechunits.kmeans import Features

if TYPE_CHECKING:
    from fairseq.models.hubert import HubertModel

# 100 s: where fairseq's dump_hubert_feature.py cuts long audio, so long files get the published labels too.
_LONGEST_PIECE = 1_600_000


def load_fairseq_hubert(path: Path, layer: int, *, device: str = "cpu", batch_frames: int = 6_000) -> "HubertEncoder":
    """Load a fairseq HuBERT checkpoint as an encoder; nothing in the file is executed.

    Args:
        path: a pre-trained checkpoint, for example `hubert_base_ls960.pt`.
        layer: transformer layer to read, 1 is the first (PolyVoice-like systems: HuBERT-base 6, mHuBERT 11).
        device: torch device.
        batch_frames: most frames in one padded batch; 6,000 are two minutes.

    Raises:
        InputError: the file is not a HuBERT checkpoint, or has no such layer, or the device cannot be used.
    """
    checkpoint = read_hubert_checkpoint(path)
    try:
        model = _build_model(checkpoint, layer)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    try:
        model.to(device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise InputError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error
    return HubertEncoder(model, checkpoint, layer, batch_frames)


class HubertEncoder:
    """A `SpeechEncoder`; made by `load_fairseq_hubert`."""

    def __init__(self, model: "HubertModel", checkpoint: HubertCheckpoint, layer: int, batch_frames: int) -> None:
        self._model = model
        self._layer = layer
        self._normalize = checkpoint.normalize
        self._batch_frames = batch_frames
        self.sample_rate_hz: int = checkpoint.sample_rate_hz
        self.frame_rate_hz: float = checkpoint.sample_rate_hz / hop(checkpoint.conv_layers)
        self.shortest_samples: int = receptive_field(checkpoint.conv_layers)
        self.dimension: int = int(model.encoder.embedding_dim)
        self.identity: str = f"fairseq-hubert sha256:{checkpoint.sha256[:16]} layer {layer}"

    def encode(self, waveforms: Sequence[Waveform]) -> list[Features]:
        """Return `[T, D]` float32 per waveform, in the order given.

        Waveforms of other rates are resampled. Audio over 100 s is cut there, as fairseq's scripts cut it.

        Raises:
            InputError: a waveform is shorter than one frame (25 ms for published models).
        """
        pieces: list[tuple[int, Tensor]] = []  # (index of the waveform, samples [T])
        for index, waveform in enumerate(waveforms):
            pieces.extend((index, piece) for piece in self._cut(waveform))
        features: list[Tensor] = [torch.empty(0)] * len(pieces)
        for batch in batches_by_length([piece.numel() for _, piece in pieces], self._samples_per_batch()):
            encoded = self._encode_batch([pieces[position][1] for position in batch])
            for position, values in zip(batch, encoded, strict=True):
                features[position] = values
        joined: list[list[Tensor]] = [[] for _ in waveforms]
        for (index, _), values in zip(pieces, features, strict=True):
            joined[index].append(values)
        return [torch.cat(parts).numpy() for parts in joined]

    def _samples_per_batch(self) -> int:
        return int(self._batch_frames * self.sample_rate_hz / self.frame_rate_hz)

    def _cut(self, waveform: Waveform) -> Iterator[Tensor]:
        """Yield the pieces that are encoded by themselves; a last piece below one frame has no feature."""
        samples = torch.tensor(resample(waveform, self.sample_rate_hz).samples)
        if samples.numel() < self.shortest_samples:
            raise InputError(
                f"a waveform of {waveform.duration_s:.4f} s is shorter than one frame"
                f" ({self.shortest_samples / self.sample_rate_hz:.4f} s)"
            )
        if self._normalize:
            samples = F.layer_norm(samples, samples.shape)
        for piece in torch.split(samples, _LONGEST_PIECE):
            if piece.numel() >= self.shortest_samples:
                yield piece

    @torch.inference_mode()
    def _encode_batch(self, pieces: list[Tensor]) -> list[Tensor]:
        """Encode pieces `[T]`, about equally long, into features `[frames, D]` on the CPU."""
        device = next(self._model.parameters()).device
        frames = [self._convolve(piece.to(device)) for piece in pieces]  # each [frames, D]
        lengths = torch.tensor([len(piece) for piece in frames], device=device)
        padded = pad_sequence(frames, batch_first=True)  # [B, frames, D]
        padding = torch.arange(padded.shape[1], device=device) >= lengths[:, None]  # [B, frames]
        encoded, _ = self._model.encoder(padded, padding_mask=padding, layer=self._layer - 1)
        return [row[: len(piece)].float().cpu() for row, piece in zip(encoded, frames, strict=True)]

    def _convolve(self, samples: Tensor) -> Tensor:
        features: Tensor = self._model.feature_extractor(samples[None]).transpose(1, 2)  # [1, frames, conv width]
        features = self._model.layer_norm(features)
        if self._model.post_extract_proj is not None:
            features = self._model.post_extract_proj(features)
        return features[0]  # [frames, D]


def receptive_field(conv_layers: Sequence[ConvLayer]) -> int:
    """Return how many samples one frame sees: 400 for HuBERT."""
    samples = 1
    for layer in reversed(conv_layers):
        samples = (samples - 1) * layer.stride + layer.kernel
    return samples


def hop(conv_layers: Sequence[ConvLayer]) -> int:
    """Return how many samples lie between frames: 320 for HuBERT."""
    return int(np.prod([layer.stride for layer in conv_layers]))


def _build_model(checkpoint: HubertCheckpoint, layer: int) -> "HubertModel":
    """Build fairseq's model from the checkpoint's options, cut above `layer`, in evaluation mode."""
    with _logging_left_alone():
        from fairseq.models.hubert import HubertConfig, HubertModel
        from fairseq.tasks.hubert_pretraining import HubertPretrainingConfig

    known = {field.name for field in dataclasses.fields(HubertConfig)}
    options: dict[str, Any] = {name: value for name, value in checkpoint.options.items() if name in known}
    # Rendered from parsed numbers: fairseq passes this text to eval.
    options["conv_feature_layers"] = str([dataclasses.astuple(conv) for conv in checkpoint.conv_layers])
    options["label_rate"] = 1.0  # only pre-training aligns labels with frames
    layers = options.get("encoder_layers", HubertConfig.encoder_layers)
    if not 1 <= layer <= layers:
        raise InputError(f"layer {layer} is not one of its layers 1 to {layers}")
    task = HubertPretrainingConfig(sample_rate=checkpoint.sample_rate_hz)
    try:
        with warnings.catch_warnings():
            # torch deprecates the weight norm whose parameter names the published weights have.
            warnings.simplefilter("ignore", FutureWarning)
            model = HubertModel(HubertConfig(**options), task, [None])
        model.remove_pretraining_modules()
        model.load_state_dict(checkpoint.weights, strict=True)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"its options and weights do not make a HuBERT: {str(error).splitlines()[0]}") from error
    del model.encoder.layers[layer:]
    return model.eval()


@contextmanager
def _logging_left_alone() -> Iterator[None]:
    """Keep fairseq from opening the root logger at level INFO while it is imported.

    `logging.basicConfig`, which it calls, does nothing when there is a handler.
    """
    root = logging.getLogger()
    placeholder = logging.NullHandler()
    root.addHandler(placeholder)
    try:
        yield
    finally:
        root.removeHandler(placeholder)
