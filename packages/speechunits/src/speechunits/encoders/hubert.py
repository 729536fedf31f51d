"""HuBERT (arXiv 2106.07447) from fairseq checkpoints: the features of one transformer layer.

fairseq's own model does the work; only its batches are arranged differently from its `extract_features`: see `batched`.
"""

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from speechunits.devices import require_device
from speechunits.encoders.batched import BatchedEncoder, most_frames
from speechunits.encoders.fairseq_checkpoint import ConvLayer, HubertCheckpoint, read_hubert_checkpoint
from speechunits.encoders.fairseq_import import logging_left_alone
from speechunits.errors import InputError

if TYPE_CHECKING:
    from fairseq.models.hubert import HubertModel


def load_fairseq_hubert(
    path: Path, layer: int, *, device: str = "cpu", batch_frames: int | None = None
) -> "HubertEncoder":
    """Load a fairseq HuBERT checkpoint as an encoder; nothing in the file is executed.

    Args:
        path: a pre-trained checkpoint, for example `hubert_base_ls960.pt`.
        layer: transformer layer to read, 1 is the first (PolyVoice-like systems: HuBERT-base 6, mHuBERT 11).
        device: torch device.
        batch_frames: most frames in one padded batch; by default what suits the device.

    Raises:
        InputError: the file is not a HuBERT checkpoint, or has no such layer, or the device cannot be used.
    """
    checkpoint = read_hubert_checkpoint(path)
    try:
        model = _build_model(checkpoint, layer)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    model.requires_grad_(False).to(require_device(device))
    return HubertEncoder(model, checkpoint, layer, batch_frames or most_frames(device))


class HubertEncoder(BatchedEncoder):
    """A `SpeechEncoder`; made by `load_fairseq_hubert`."""

    def __init__(self, model: "HubertModel", checkpoint: HubertCheckpoint, layer: int, batch_frames: int) -> None:
        super().__init__(batch_frames)
        self._model = model
        self._layer = layer
        self._normalize = checkpoint.normalize
        self.sample_rate_hz = checkpoint.sample_rate_hz
        self.frame_rate_hz = checkpoint.sample_rate_hz / hop(checkpoint.conv_layers)
        self.shortest_samples = receptive_field(checkpoint.conv_layers)
        self.dimension = int(model.encoder.embedding_dim)
        self.identity = f"fairseq-hubert sha256:{checkpoint.sha256[:16]} layer {layer}"

    def _normalise(self, samples: Tensor) -> Tensor:
        return F.layer_norm(samples, samples.shape) if self._normalize else samples

    def _convolve(self, samples: Tensor) -> Tensor:
        device = next(self._model.parameters()).device
        features: Tensor = self._model.feature_extractor(samples[None].to(device))  # [1, conv width, frames]
        features = self._model.layer_norm(features.transpose(1, 2))
        if self._model.post_extract_proj is not None:
            features = self._model.post_extract_proj(features)
        return features[0]  # [frames, D]

    def _transform(self, frames: Tensor, padding: Tensor | None) -> Tensor:
        encoded: Tensor = self._model.encoder(frames, padding_mask=padding, layer=self._layer - 1)[0]
        return encoded


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
    with logging_left_alone():
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
