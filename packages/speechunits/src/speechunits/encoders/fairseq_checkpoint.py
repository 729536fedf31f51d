"""Read a published fairseq HuBERT checkpoint without running what is in the pickle.

Published checkpoints hold `cfg` (plain containers) or, older ones, `args` (argparse.Namespace), then `model` (tensors)
and `task_state` (fairseq Dictionary objects). torch's weights-only reader refuses the Namespace and the Dictionary:
the first is allowed, for it does nothing, and the second is mapped to an empty class. The configuration is not trusted
either: fairseq evaluates `conv_feature_layers` as Python.
"""

import argparse
import ast
import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from speechunits.errors import InputError

# fairseq's own default, for checkpoints that leave it out.
_HUBERT_CONV_LAYERS = "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"
_LONGEST_STACK = 64
# Parts that only pre-training needs: the projection onto cluster embeddings, and the embeddings.
_PRETRAINING_WEIGHTS = ("final_proj.", "label_embs_concat", "target_glu.")


@dataclass(frozen=True)
class ConvLayer:
    """One layer of the convolutional feature extractor: width, kernel and stride in steps of its input."""

    width: int
    kernel: int
    stride: int


@dataclass(frozen=True, eq=False)
class HubertCheckpoint:
    """What a checkpoint says about the model.

    Attributes:
        options: fields of fairseq's HubertConfig as stored; the convolution layers are given apart.
        conv_layers: the feature extractor, input side first.
        sample_rate_hz: of the audio it was trained on.
        normalize: whether each waveform is brought to zero mean and unit variance first.
        weights: state of the model without the parts that only pre-training needs.
        sha256: hexadecimal digest of the file.
    """

    options: Mapping[str, object]
    conv_layers: tuple[ConvLayer, ...]
    sample_rate_hz: int
    normalize: bool
    weights: Mapping[str, Tensor]
    sha256: str


class _InertDictionary:
    """Takes the place of fairseq's Dictionary, whose symbols are not needed to extract features."""


def read_hubert_checkpoint(path: Path) -> HubertCheckpoint:
    """Read a fairseq HuBERT checkpoint onto the CPU.

    Args:
        path: for example `hubert_base_ls960.pt` or `mhubert_base_vp_en_es_fr_it3.pt`.

    Raises:
        InputError: the file is missing, asks for code to be run, or is not a pre-trained HuBERT.
    """
    state = _load_weights_only(path)
    try:
        model_options, task_options = _split_options(state)
        conv_layers = parse_conv_layers(str(model_options.get("conv_feature_layers", _HUBERT_CONV_LAYERS)))
        weights = state["model"]
        if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
            raise InputError("'model' is not a mapping of tensors")
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return HubertCheckpoint(
        options={name: value for name, value in model_options.items() if name != "conv_feature_layers"},
        conv_layers=conv_layers,
        sample_rate_hz=int(task_options.get("sample_rate", 16_000)),
        normalize=bool(task_options.get("normalize", False)),
        weights={name: value for name, value in weights.items() if not name.startswith(_PRETRAINING_WEIGHTS)},
        sha256=digest,
    )


def parse_conv_layers(text: str) -> tuple[ConvLayer, ...]:
    """Read fairseq's notation for convolution layers: lists of (width, kernel, stride), joined by + and repeated by *.

    Raises:
        InputError: anything else stands in the text.
    """
    try:
        layers = tuple(ConvLayer(*layer) for layer in _layers_of(ast.parse(text, mode="eval").body))
    except (SyntaxError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"conv_feature_layers {text[:80]!r} is not a list of (width, kernel, stride)") from error
    if not 1 <= len(layers) <= _LONGEST_STACK:
        raise InputError(f"conv_feature_layers has {len(layers)} layers")
    return layers


def _layers_of(node: ast.expr) -> list[tuple[int, int, int]]:
    match node:
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _layers_of(left) + _layers_of(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=ast.Constant(value=int(times))) if 0 < times <= _LONGEST_STACK:
            return _layers_of(left) * times
        case ast.List() | ast.Tuple():
            layers = ast.literal_eval(node)
            if all(len(layer) == 3 and all(type(size) is int and size > 0 for size in layer) for layer in layers):
                return list(layers)
    raise ValueError("not in the notation")


def _load_weights_only(path: Path) -> Mapping[str, Any]:
    inert: list[Any] = [argparse.Namespace, (_InertDictionary, "fairseq.data.dictionary.Dictionary")]
    try:
        with torch.serialization.safe_globals(inert):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except pickle.UnpicklingError as error:
        # torch's message is a page long; the part after "WeightsUnpickler error:" names what was refused.
        reason = str(error).partition("WeightsUnpickler error: ")[2].partition(" was not an allowed")[0].splitlines()
        raise InputError(f"{path}: refused: {reason[0] if reason else 'not a checkpoint of plain data'}") from error
    # A damaged file fails in torch's reader of opcodes, in whatever way its operands do not fit.
    except Exception as error:
        raise InputError(f"{path}: not a torch checkpoint") from error
    if not isinstance(state, Mapping) or "model" not in state:
        raise InputError(f"{path}: not a fairseq checkpoint: it has no 'model'")
    return state


def _split_options(state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of model and task, from `cfg` or from the flat `args` of older files."""
    configuration = state.get("cfg")
    if isinstance(configuration, dict):
        model, task = configuration.get("model"), configuration.get("task")
        if isinstance(model, argparse.Namespace):
            model = vars(model)
        if not isinstance(model, dict) or not isinstance(task, dict):
            raise InputError("its cfg lacks 'model' or 'task'")
        architecture = model.get("_name") or model.get("arch")
    elif isinstance(state.get("args"), argparse.Namespace):
        model = task = vars(state["args"])
        architecture = model.get("arch")
    else:
        raise InputError("not a fairseq checkpoint: it has neither 'cfg' nor 'args'")
    if architecture != "hubert":
        raise InputError(f"a fairseq checkpoint of architecture {architecture!r}, not a pre-trained 'hubert'")
    return model, task
