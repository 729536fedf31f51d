"""fairseq's HubertModel in small, its masked prediction, and its checkpoint.

The model is fairseq's own; only the loss is computed in another order. fairseq compares each frame with a copy of all
label embeddings, with the right one in front, which takes gigabytes for a thousand labels; one matrix product gives
the same numbers (tested).

Letters in shapes: B crop, T frame, N sample, D model width, L set of labels, V labels of a set.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from polyvoice.errors import InputError
from speechunits.encoders.fairseq_checkpoint import parse_conv_layers
from speechunits.encoders.fairseq_import import logging_left_alone
from speechunits.encoders.geometry import HOP_SAMPLES, SAMPLE_RATE_HZ, WINDOW_SAMPLES
from speechunits.encoders.hubert import hop, receptive_field
from speechunits.files import write_atomically

if TYPE_CHECKING:
    from fairseq.models.hubert import HubertModel

    from polyvoice.stages.encoder.settings import HubertShape, Masking

_FRAME_RATE_HZ = SAMPLE_RATE_HZ / HOP_SAMPLES
_TASK: Mapping[str, object] = {"sample_rate": SAMPLE_RATE_HZ, "normalize": True, "label_rate": _FRAME_RATE_HZ}


@dataclass(frozen=True)
class Prediction:
    """How well labels were predicted.

    Attributes:
        loss: weighted mean over frames and sets of labels, in nats; carries gradients.
        weight: what it was divided by.
        masked: hidden frames times sets.
        masked_correct: of these, how many were named right.
        heard: other frames times sets.
        heard_correct: of these, how many were named right.
    """

    loss: Tensor
    weight: float
    masked: int
    masked_correct: Tensor
    heard: int
    heard_correct: Tensor


def build_hubert(shape: HubertShape, masking: Masking, clusters: Sequence[int]) -> HubertModel:
    """Make a fresh model; the weights depend on torch's random state.

    Args:
        shape: its sizes.
        masking: only the temperature is part of the model.
        clusters: labels of each set.

    Raises:
        InputError: the convolutions do not have HuBERT's frames.
        speechunits.errors.InputError: they are not in fairseq's notation.
    """
    with logging_left_alone():
        from fairseq.models.hubert import HubertConfig, HubertModel
        from fairseq.tasks.hubert_pretraining import HubertPretrainingConfig

    conv_layers = parse_conv_layers(shape.conv_layers)
    if (hop(conv_layers), receptive_field(conv_layers)) != (HOP_SAMPLES, WINDOW_SAMPLES):
        raise InputError(
            f"conv_layers: a frame every {hop(conv_layers)} samples through {receptive_field(conv_layers)}; "
            f"it has to be one every {HOP_SAMPLES} through {WINDOW_SAMPLES}"
        )
    with warnings.catch_warnings():
        # torch deprecates the weight norm whose parameter names published weights have.
        warnings.simplefilter("ignore", FutureWarning)
        # Of a dictionary of labels the model asks the length only.
        labels = [range(count) for count in clusters]
        return HubertModel(HubertConfig(**_options(shape, masking)), HubertPretrainingConfig(**_TASK), labels)


def draw_mask(rows: int, frames: int, masking: Masking, generator: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Draw which frames are hidden: spans at random starts, which may overlap (HuBERT, section 3.2; wav2vec 2.0).

    Args:
        rows: B.
        frames: T.
        masking: length of the spans and their share.
        generator: all chance.

    Returns:
        `[B, T]`, true where hidden; every row has as many spans, so that rows weigh about the same.
    """
    mask = np.zeros((rows, frames), dtype=np.bool_)
    length = min(masking.mask_frames, frames)
    # Rounded at random, so that short crops are masked as much as long ones on average.
    spans = int(masking.mask_share * frames / length + generator.random())
    for row in mask:
        for start in generator.choice(frames - length + 1, min(spans, frames - length + 1), replace=False):
            row[start : start + length] = True
    return mask


def predict_labels(model: HubertModel, sound: Tensor, labels: Tensor, mask: Tensor, masking: Masking) -> Prediction:
    """Hide frames, run the model, and compare what it says of every frame with the labels.

    Args:
        model: in training mode for dropout.
        sound: `[B, N]` at 16 kHz, not normalized.
        labels: `[L, B, T]` int64, T the frames of N samples.
        mask: `[B, T]` bool, true where hidden.
        masking: weights and temperature.
    """
    encoded = _encode(model, sound, mask)  # [B, T, D]
    projected = model.final_proj(encoded).chunk(len(labels), dim=-1)
    weights = torch.where(mask, masking.masked_weight, masking.heard_weight)  # [B, T]
    losses, correct = torch.zeros((), device=sound.device), torch.zeros_like(labels, dtype=torch.bool)
    for index, embeddings in enumerate(model.label_embs_concat.split(model.num_classes)):
        logits = label_logits(projected[index], embeddings, masking.label_temperature)  # [B, T, V]
        loss = F.cross_entropy(logits.flatten(0, 1), labels[index].flatten(), reduction="none")
        losses = losses + (loss * weights.flatten()).sum()
        correct[index] = logits.argmax(dim=-1) == labels[index]
    weight = float(weights.sum()) * len(labels)
    hidden = int(mask.sum()) * len(labels)
    return Prediction(
        loss=losses / max(weight, 1.0),
        weight=weight,
        masked=hidden,
        masked_correct=(correct & mask).sum(),
        heard=labels.numel() - hidden,
        heard_correct=(correct & ~mask).sum(),
    )


def label_logits(projected: Tensor, embeddings: Tensor, temperature: float) -> Tensor:
    """Return cosines by temperature (HuBERT, equation 3): `[..., C]` and `[V, C]` -> `[..., V]` float32."""
    directions = F.normalize(projected.float(), dim=-1)
    return directions @ F.normalize(embeddings.float(), dim=-1).T / temperature


def write_hubert(
    path: Path, model: HubertModel, shape: HubertShape, masking: Masking, clusters: Sequence[int], steps: int
) -> None:
    """Write a checkpoint in fairseq's layout, atomically; weights in float16, the rest plain containers.

    `load_fairseq_hubert` reads it, and so does fairseq itself.

    Args:
        path: the file to write.
        model: from `build_hubert` with the same shape, masking and clusters.
        shape: its sizes.
        masking: for the temperature.
        clusters: labels of each set.
        steps: that it was trained.
    """
    names = [f"labels{index}" for index in range(len(clusters))]
    state = {
        "args": None,
        "cfg": {
            "model": {"_name": "hubert", **_options(shape, masking)},
            "task": {"_name": "hubert_pretraining", "data": "", "labels": names, **_TASK},
        },
        "model": {name: value.detach().cpu().half() for name, value in model.state_dict().items()},
        # fairseq asks these for their length only, as above, and unpickles nothing.
        "task_state": {"dictionaries": [[str(label) for label in range(count)] for count in clusters]},
        "optimizer_history": [{"optimizer_name": "adam", "lr_scheduler_state": {}, "num_updates": steps}],
        "extra_state": {},
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, buffer.getvalue())


def _options(shape: HubertShape, masking: Masking) -> dict[str, Any]:
    """Fields of fairseq's HubertConfig. Masks are drawn by us; fairseq's own would draw from numpy's global state."""
    return {
        "label_rate": _FRAME_RATE_HZ,
        "conv_feature_layers": shape.conv_layers,
        "encoder_layers": shape.layers,
        "encoder_embed_dim": shape.width,
        "encoder_ffn_embed_dim": shape.feed_forward_width,
        "encoder_attention_heads": shape.heads,
        "layer_norm_first": shape.norm_first,
        "conv_pos": shape.position_kernel,
        "conv_pos_groups": shape.position_groups,
        "final_dim": shape.label_width,
        "untie_final_proj": True,
        "dropout": shape.dropout,
        "attention_dropout": shape.dropout,
        "dropout_input": shape.dropout,
        "logit_temp": masking.label_temperature,
    }


def _encode(model: HubertModel, sound: Tensor, mask: Tensor) -> Tensor:
    """Return `[B, T, D]`: fairseq's forward pass with a given mask."""
    normalized = F.layer_norm(sound, sound.shape[-1:])
    features = model.layer_norm(model.forward_features(normalized).transpose(1, 2))  # [B, T, conv width]
    if model.post_extract_proj is not None:
        features = model.post_extract_proj(features)
    features = model.dropout_input(features)
    hidden = torch.where(mask[..., None], model.mask_emb.to(features.dtype), features)
    encoded: Tensor
    encoded, _ = model.encoder(hidden)
    return encoded
