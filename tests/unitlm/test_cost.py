"""The formulas of cost: parameters and state exactly a real decoder's, the rest as torch counts it."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from unitlm.cost import (
    activation_bytes,
    count_parameters,
    estimate_memory,
    logit_bytes,
    training_flops,
    training_seconds,
)
from unitlm.ema import WeightAverage
from unitlm.model import Decoder, ModelConfig
from unitlm.optimizer import Optimizers

SMALL: dict[str, Any] = {
    "vocabulary_size": 500,
    "width": 128,
    "layers": 3,
    "heads": 4,
    "key_value_heads": 2,
    "feed_forward_width": 320,
}
SHAPES = [
    ModelConfig(**SMALL),
    ModelConfig(**{**SMALL, "key_value_heads": 4, "layers": 1}, tied=False, dropout=0.1),
    ModelConfig(**SMALL, causal=False, stages=7, conditions=2),
]
ROWS, STEPS = 2, 64


def run_once(config: ModelConfig) -> tuple[Decoder, torch.Tensor]:
    """A fresh decoder, and its loss on one batch."""
    model = Decoder(config).train()
    ids = torch.randint(0, config.vocabulary_size, (ROWS, STEPS))
    logits = model(ids, stage=torch.zeros(ROWS, dtype=torch.long) if config.stages else None)
    return model, F.cross_entropy(logits.float().flatten(0, 1), ids.flatten(), reduction="none").sum()


@pytest.mark.parametrize("config", SHAPES)
def test_parameters_are_those_of_the_decoder(config: ModelConfig) -> None:
    with torch.device("meta"):
        model = Decoder(config)
    counted = count_parameters(config)
    assert counted.total == sum(value.numel() for value in model.parameters())
    matrices = {name: value.numel() for name, value in model.layers[0].named_parameters() if value.dim() == 2}
    assert counted.layer == sum(size for name, size in matrices.items() if "norm" not in name)
    assert counted.head == model.head.weight.numel()
    assert counted.vectors == sum(value.numel() for value in model.parameters() if value.dim() == 1)


@pytest.mark.parametrize("config", SHAPES)
def test_arithmetic_is_what_torch_counts(config: ModelConfig) -> None:
    # The plain implementation of attention, whose products the counter sees.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run_once(config)[1].backward()  # type: ignore[no-untyped-call]
    assert counter.get_total_flops() == ROWS * STEPS * training_flops(config, STEPS)


def test_arithmetic_is_six_a_parameter_and_token_where_models_are_large() -> None:
    large = ModelConfig(4_000, 2_048, 36, 16, 4, 5_504)
    assert training_flops(large, 1) == pytest.approx(6 * count_parameters(large).total, rel=1e-3)
    assert training_flops(large, 768) == pytest.approx(6 * count_parameters(large).total, rel=0.1)
    assert training_flops(large, 768, scored_ids=0) < training_flops(large, 768)


@pytest.mark.parametrize("config", SHAPES)
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_state_is_what_a_step_leaves_behind(config: ModelConfig, optimizer: Literal["adamw", "muon"]) -> None:
    model = Decoder(config)
    parameters = dict(model.named_parameters())
    optimizers = Optimizers(parameters, optimizer, weight_decay=0.1, betas=(0.9, 0.95), device=torch.device("cpu"))
    for value in parameters.values():
        value.grad = torch.ones_like(value)
    gradients = sum(value.grad.nbytes for value in parameters.values() if value.grad is not None)
    optimizers.step(1e-3)
    averages = WeightAverage(parameters, 0.9)
    memory = estimate_memory(config, 0, optimizer=optimizer, precision="fp32")
    assert memory.weights == sum(value.nbytes for value in parameters.values())
    assert memory.gradients == gradients
    assert memory.optimizer == sum(
        value.nbytes for name, value in optimizers.tensors().items() if not name.startswith("step/")
    )
    assert memory.average == sum(value.nbytes for value in averages.tensors.values())
    assert memory.total == memory.weights + memory.gradients + memory.optimizer + memory.average


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("config", [SHAPES[0], SHAPES[2]])  # a CPU keeps the masks of dropout in another type
def test_activations_are_what_autograd_keeps(config: ModelConfig, precision: Literal["fp32", "bf16"]) -> None:
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
    ):
        model, _ = run_once(config)
    for value in model.parameters():
        kept.pop(value.untyped_storage().data_ptr(), None)
    logarithms = 4 * config.vocabulary_size
    expected = ROWS * STEPS * (activation_bytes(config, precision=precision, fused_norm=False) + logarithms)
    copies = estimate_memory(config, 0, precision=precision).copies
    # Angles, indices and roots of mean squares are the rest.
    assert sum(kept.values()) == pytest.approx(expected + copies, rel=0.02)


def test_sharding_divides_the_state_and_nothing_else() -> None:
    config = SHAPES[0]
    whole = estimate_memory(config, 1_000)
    parts = estimate_memory(config, 1_000, devices=8, sharded=True)
    for name in ("weights", "gradients", "optimizer", "average"):
        assert getattr(parts, name) == -(-getattr(whole, name) // 8)
    assert (parts.activations, parts.logits) == (whole.activations, whole.logits)
    assert estimate_memory(config, 1_000, devices=8) == whole
    assert whole.logits == 1_000 * logit_bytes(config) == 1_000 * 10 * 500


def test_time_is_arithmetic_over_speed() -> None:
    assert training_seconds(8e15, devices=8, device_tflops=100, utilisation=0.4) == pytest.approx(25.0)
