"""Out to a Llama folder, as `transformers`, vLLM, llama.cpp and CTranslate2 read it, and in from one.

A causal decoder with one codebook is a Llama: the same norms, rotary layout, gated feed-forward and grouped queries.
Only names differ, and that two projections are fused here.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unitlm.checkpoint import build_model, named_tensors
from unitlm.errors import InputError
from unitlm.files import Json, flush, read_json, write_json
from unitlm.model import Decoder, ModelConfig
from unitlm.settings import parse_settings

WEIGHTS = "model.safetensors"
OUTER = {"embedding": "model.embed_tokens", "norm": "model.norm", "head": "lm_head"}
INNER = {
    "attention_norm": "input_layernorm",
    "attention.output": "self_attn.o_proj",
    "feed_forward_norm": "post_attention_layernorm",
    "feed_forward.down": "mlp.down_proj",
}
"""Our names to Llama's: of the model, and within a layer."""
FUSED = {
    "attention.query_key_value": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "feed_forward.gate_up": ("mlp.gate_proj", "mlp.up_proj"),
}
"""Our fused projections within a layer to the ones they hold, in order of their rows."""


def export_llama(
    model: Decoder,
    folder: Path,
    *,
    maximum_length: int,
    begin: int | None = None,
    end: int | None = None,
    token_names: Sequence[str] | None = None,
) -> None:
    """Write a new Llama folder: `config.json`, `model.safetensors` and, with names, a tokenizer.

    Args:
        model: A causal decoder with one codebook, no stages and no conditions, no prefix LM; adapters merged.
        folder: Must not exist; it appears when it is complete.
        maximum_length: The longest sequence that the model should be trusted with.
        begin: Id that starts a sequence, if there is one.
        end: Id that ends it, if there is one.
        token_names: Every id's name, all different and without blanks (`Vocabulary.describe`). The tokenizer then
            reads and writes names with blanks in between.

    Raises:
        InputError: The model is not a Llama, the folder exists, or names do not fit.
    """
    config = model.config
    if not config.causal or config.prefix_lm or config.stages or config.conditions:
        raise InputError(
            "llama export: only a causal decoder without stages and conditions, and no prefix LM, is a Llama"
        )
    if folder.exists():
        raise InputError(f"{folder}: exists already")
    tensors = {name: value.detach() for name, value in named_tensors(model).items()}
    if any("lora_" in name or name.endswith(".prompt") for name in tensors):
        raise InputError("llama export: the model carries an adapter; merge a LoRA first, a prompt has no place there")
    staging = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    staging.mkdir(parents=True)
    try:
        save_file(_to_llama(tensors, config), staging / WEIGHTS, metadata={"format": "pt"})
        flush(staging / WEIGHTS)
        if token_names is not None:
            _write_tokenizer(staging, token_names, config.vocabulary_size, begin, end)
        write_json(staging / "config.json", _llama_config(model, maximum_length, begin, end))
        staging.replace(folder)
        flush(folder.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def import_llama(folder: Path) -> Decoder:
    """Read a Llama folder as a decoder, in float32 and in evaluation mode.

    Raises:
        InputError: A file is missing or damaged, or the model is no plain Llama (biases, scaled rotary positions, ...).
    """
    path = folder / "config.json"
    values = read_json(path)
    config = _model_config(values, path)
    llama = _read_weights(folder)
    tensors = {name: value.float() for name, value in _from_llama(llama, config, folder).items()}
    return build_model(config, tensors, str(folder))


def _to_llama(tensors: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    heads = [config.heads, config.key_value_heads, config.key_value_heads]
    sizes = {
        "attention.query_key_value": [count * config.head_width for count in heads],
        "feed_forward.gate_up": [config.feed_forward_width] * 2,
    }
    llama = {}
    for ours, theirs in OUTER.items():
        if f"{ours}.weight" in tensors:  # a tied head has no weight of its own
            llama[f"{theirs}.weight"] = tensors[f"{ours}.weight"]
    for layer in range(config.layers):
        for ours, theirs in INNER.items():
            llama[f"model.layers.{layer}.{theirs}.weight"] = tensors[f"layers.{layer}.{ours}.weight"]
        for ours, parts in FUSED.items():
            rows = torch.split(tensors[f"layers.{layer}.{ours}.weight"], sizes[ours])
            for theirs, part in zip(parts, rows, strict=True):
                llama[f"model.layers.{layer}.{theirs}.weight"] = part
    return {name: tensor.cpu().contiguous().clone() for name, tensor in llama.items()}


def _from_llama(llama: Mapping[str, Tensor], config: ModelConfig, folder: Path) -> dict[str, Tensor]:
    def take(name: str) -> Tensor:
        if f"{name}.weight" not in llama:
            raise InputError(f"{folder}: the weights lack {name}.weight")
        return llama[f"{name}.weight"]

    tensors = {f"{ours}.weight": take(theirs) for ours, theirs in OUTER.items() if not (ours == "head" and config.tied)}
    for layer in range(config.layers):
        for ours, theirs in INNER.items():
            tensors[f"layers.{layer}.{ours}.weight"] = take(f"model.layers.{layer}.{theirs}")
        for ours, parts in FUSED.items():
            rows = [take(f"model.layers.{layer}.{theirs}") for theirs in parts]
            tensors[f"layers.{layer}.{ours}.weight"] = torch.cat(rows)
    return tensors


def _llama_config(model: Decoder, maximum_length: int, begin: int | None, end: int | None) -> dict[str, Json]:
    config = model.config
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocabulary_size,
        "hidden_size": config.width,
        "intermediate_size": config.feed_forward_width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.key_value_heads,
        "head_dim": config.head_width,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_epsilon,
        # transformers 5 reads the second, everything older the first.
        "rope_theta": config.rope_base,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_base},
        "max_position_embeddings": maximum_length,
        "tie_word_embeddings": config.tied,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": begin,
        "eos_token_id": end,
        "torch_dtype": str(model.embedding.weight.dtype).removeprefix("torch."),
    }


def _model_config(values: Mapping[str, Json], path: Path) -> ModelConfig:
    rope = values.get("rope_parameters") or values.get("rope_scaling") or {}
    rope = rope if isinstance(rope, dict) else {}
    plain = {
        "model_type": ("llama", values.get("model_type")),
        "hidden_act": ("silu", values.get("hidden_act", "silu")),
        "attention_bias": (False, values.get("attention_bias", False)),
        "mlp_bias": (False, values.get("mlp_bias", False)),
        "rope_type": ("default", rope.get("rope_type", rope.get("type", "default"))),
    }
    for key, (wanted, value) in plain.items():
        if value != wanted:
            raise InputError(f"{path}: {key} is {value!r}, only {wanted!r} can be read")
    names = {
        "vocabulary_size": "vocab_size",
        "width": "hidden_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "feed_forward_width": "intermediate_size",
    }
    found: dict[str, Json] = {ours: values[theirs] for ours, theirs in names.items() if theirs in values}
    # What is absent has the default of transformers' LlamaConfig.
    found["key_value_heads"] = values.get("num_key_value_heads") or found.get("heads")
    found["rope_base"] = rope.get("rope_theta") or values.get("rope_theta") or 10_000.0
    found["norm_epsilon"] = values.get("rms_norm_eps", 1e-6)
    found["tied"] = values.get("tie_word_embeddings", False)
    config = parse_settings(ModelConfig, found, f"{path} as a model config")
    if values.get("head_dim") not in (None, config.head_width):
        raise InputError(f"{path}: head_dim is {values['head_dim']!r}, only {config.head_width} can be read")
    return config


def _read_weights(folder: Path) -> dict[str, Tensor]:
    index = folder / f"{WEIGHTS}.index.json"
    files = {WEIGHTS}
    if index.exists():
        places = read_json(index).get("weight_map")
        if not isinstance(places, dict):
            raise InputError(f"{index}: no weight_map")
        files = {Path(str(place)).name for place in places.values()}
    tensors: dict[str, Tensor] = {}
    for name in sorted(files):
        if not (folder / name).is_file():
            raise InputError(f"{folder / name}: missing (weights in pickled files are not read)")
        try:
            tensors |= load_file(folder / name)
        except SafetensorError as error:
            raise InputError(f"{folder / name}: not a whole safetensors file ({error})") from error
    return tensors


def _write_tokenizer(folder: Path, names: Sequence[str], size: int, begin: int | None, end: int | None) -> None:
    """A tokenizer of whole names."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    if len(names) != size or len(set(names)) != size or any(len(name.split()) != 1 for name in names):
        raise InputError(f"llama export: token names must be {size} different ones without blanks")
    tokenizer = Tokenizer(models.WordLevel({name: index for index, name in enumerate(names)}, unk_token=names[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    special: dict[str, Json] = {
        key: names[index] for key, index in (("bos_token", begin), ("eos_token", end)) if index is not None
    }
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **special})
