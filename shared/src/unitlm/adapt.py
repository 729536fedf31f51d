"""Adapting a trained decoder with few parameters: LoRA and prompt tuning.

Both change the model in place and freeze everything it had, so that the training loop trains and saves the new
parameters only. The names of the base's own weights do not change, and neither do their values: an adapter on disk
says by a hash which base it belongs to, and goes onto no other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unitlm.checkpoint import Checkpoint, hash_tensors, named_tensors, read_checkpoint, write_checkpoint
from unitlm.errors import InputError
from unitlm.files import Json
from unitlm.model import Decoder
from unitlm.settings import parse_settings

KIND = "adapter"
OWN_NAMES = ("lora_down", "lora_up", "prompt")
"""Last parts of the names of an adapter's parameters."""


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adaptation (LoRA, arXiv 2106.09685).

    Attributes:
        rank: Rank of each update.
        alpha: The update is scaled by alpha / rank.
        targets: Projections of a layer that get one. A fused projection gets one update for all it holds.

    Raises:
        InputError: A value is out of range.
    """

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ("attention.query_key_value", "attention.output")

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha <= 0.0 or not self.targets:
            raise InputError("LoRA config: rank and alpha must be above 0, and there must be a target")


@dataclass(frozen=True)
class PromptConfig:
    """Prompt tuning (arXiv 2104.08691).

    Attributes:
        length: Number of learned vectors.

    Raises:
        InputError: A value is out of range.
    """

    length: int = 16

    def __post_init__(self) -> None:
        if self.length < 1:
            raise InputError(f"prompt config: length must be at least 1, got {self.length}")


class LoraLinear(nn.Module):
    """A frozen linear map plus a learned one of low rank."""

    def __init__(self, base: nn.Linear, config: LoraConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.weight, self.bias = base.weight, base.bias
        self.scale = config.alpha / config.rank
        shape = (config.rank, base.in_features)
        # Drawn on the CPU: one seed gives one adapter on every device.
        bound = 1.0 / math.sqrt(base.in_features)
        down = torch.empty(shape).uniform_(-bound, bound, generator=generator)
        self.lora_down = nn.Parameter(down.to(base.weight))
        self.lora_up = nn.Parameter(base.weight.new_zeros(base.out_features, config.rank))  # zero: starts as the base

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., in] to [..., out]."""
        update = F.linear(F.linear(x, self.lora_down), self.lora_up)
        return F.linear(x, self.weight, self.bias) + self.scale * update

    def merged(self) -> nn.Linear:
        """One plain linear map that does the same."""
        weight = self.weight.detach() + self.scale * (self.lora_up @ self.lora_down).detach()
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=self.bias is not None, device="meta")
        linear.weight, linear.bias = nn.Parameter(weight), self.bias
        return linear


class PromptEmbedding(nn.Module):
    """A frozen embedding whose ids go on beyond the vocabulary: those are the learned vectors.

    So a prompt is ids like any other: packing, the cache and decoding need to know nothing of it.
    """

    def __init__(self, base: nn.Embedding, config: PromptConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = base.weight
        # The paper's section 3.1: vectors of real tokens are a better start than noise.
        chosen = torch.randint(base.num_embeddings, (config.length,), generator=generator)
        self.prompt = nn.Parameter(base.weight.detach()[chosen.to(base.weight.device)].clone())

    def forward(self, ids: Tensor) -> Tensor:
        """Look up ids of any shape: [...] to [..., D]."""
        size = len(self.weight)
        ordinary = F.embedding(ids.clamp(max=size - 1), self.weight)
        learned = F.embedding((ids - size).clamp(min=0), self.prompt)
        return torch.where((ids < size).unsqueeze(-1), ordinary, learned)


def add_lora(model: Decoder, config: LoraConfig, generator: torch.Generator) -> None:
    """Freeze `model` and give it low-rank updates, which are zero at first.

    Args:
        model: Changed in place.
        config: Rank, scale and targets.
        generator: On the CPU; draws the starting values.

    Raises:
        InputError: There is an adapter already, or no such projection.
    """
    _expect_no_adapter(model)
    model.requires_grad_(False)
    for layer in model.layers:
        for target in config.targets:
            try:
                base = layer.get_submodule(target)
            except AttributeError as error:
                raise InputError(f"LoRA config: a layer has no {target!r}") from error
            if not isinstance(base, nn.Linear):
                raise InputError(f"LoRA config: {target!r} is not a linear projection")
            layer.set_submodule(target, LoraLinear(base, config, generator))


def merge_lora(model: Decoder) -> None:
    """Fold the updates into the weights, in place: the same function, as a plain decoder, free to be trained again."""
    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLinear):
            model.set_submodule(name, module.merged())
    model.requires_grad_(True)


def add_prompt(model: Decoder, config: PromptConfig, generator: torch.Generator) -> None:
    """Freeze `model` and give it learned vectors, whose ids `prompt_ids` tells; put them before each example's own.

    Args:
        model: Changed in place.
        config: How many.
        generator: On the CPU; chooses the tokens to start from.

    Raises:
        InputError: There is an adapter already.
    """
    _expect_no_adapter(model)
    model.requires_grad_(False)
    model.set_submodule("embedding", PromptEmbedding(model.embedding, config, generator))


def prompt_ids(model: Decoder) -> range:
    """Ids of the learned vectors of a model with a prompt; none without."""
    embedding: nn.Module = model.embedding
    size = model.config.vocabulary_size
    return range(size, size + len(embedding.prompt)) if isinstance(embedding, PromptEmbedding) else range(0)


def save_adapter(
    folder: Path, model: Decoder, config: LoraConfig | PromptConfig, metadata: Mapping[str, Json] | None = None
) -> None:
    """Write the adapter alone, with the hash of the base it belongs to.

    Args:
        folder: Where; an adapter already there is replaced.
        model: A decoder that `add_lora` or `add_prompt` changed.
        config: What it was changed with.
        metadata: Anything else worth keeping.

    Raises:
        InputError: The model has no adapter.
    """
    base, own = _split(model)
    if not own:
        raise InputError("adapter: the model has none")
    method = "lora" if isinstance(config, LoraConfig) else "prompt"
    about: dict[str, Json] = {**(metadata or {}), "base": hash_tensors(base)}
    write_checkpoint(folder, Checkpoint(KIND, {"method": method, **asdict(config)}, about, {KIND: own}))


def load_adapter(folder: Path, model: Decoder) -> LoraConfig | PromptConfig:
    """Put an adapter from disk onto its base, in place.

    Returns:
        What the adapter was made with.

    Raises:
        InputError: The folder holds no adapter, it belongs to another base, or the model has one already.
    """
    checkpoint = read_checkpoint(folder, kind=KIND, parts=(KIND,))
    _expect_no_adapter(model)
    base, _ = _split(model)
    if hash_tensors(base) != checkpoint.metadata.get("base"):
        raise InputError(f"{folder}: the adapter belongs to another base model")
    values = dict(checkpoint.config)
    method = values.pop("method", None)
    generator = torch.Generator().manual_seed(0)  # what it draws is overwritten
    config: LoraConfig | PromptConfig
    if method == "lora":
        config = parse_settings(LoraConfig, values, f"{folder}: config")
        add_lora(model, config, generator)
    elif method == "prompt":
        config = parse_settings(PromptConfig, values, f"{folder}: config")
        add_prompt(model, config, generator)
    else:
        raise InputError(f"{folder}: unknown method {method!r}")
    _, own = _split(model)
    stored = checkpoint.parts[KIND]
    if {name: tensor.shape for name, tensor in own.items()} != {name: tensor.shape for name, tensor in stored.items()}:
        raise InputError(f"{folder}: the adapter's tensors do not fit its config")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(stored[name])
    return config


def _split(model: Decoder) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The base's tensors and the adapter's."""
    tensors = named_tensors(model)
    own = {name: tensor for name, tensor in tensors.items() if name.rpartition(".")[2] in OWN_NAMES}
    return {name: tensor for name, tensor in tensors.items() if name not in own}, own


def _expect_no_adapter(model: Decoder) -> None:
    if _split(model)[1]:
        raise InputError("adapter: the model has one already; merge it first, or load the base anew")
