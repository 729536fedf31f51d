"""Adapters: nothing at first, alone in training and on disk, bound to their base."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from unitlm.adapt import (
    LoraConfig,
    PromptConfig,
    add_lora,
    add_prompt,
    load_adapter,
    merge_lora,
    prompt_ids,
    save_adapter,
)
from unitlm.checkpoint import hash_tensors, load_model, named_tensors, read_checkpoint, save_model
from unitlm.errors import InputError
from unitlm.model import Decoder
from unitlm.objective import causal_objective
from unitlm.shards import Example, ShardSet, write_shards
from unitlm.train import train
from unitlm.train_config import TrainConfig

IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])
LORA = LoraConfig(rank=2, alpha=6.0, targets=("attention.query_key_value", "feed_forward.down"))
CONFIG = TrainConfig(
    steps=12,
    batch_rows=4,
    micro_batch_rows=2,
    sequence_length=24,
    learning_rate=0.05,
    device="cpu",
    tensorboard=False,
    checkpoint_every=6,
)
MakeDecoder = Callable[..., Decoder]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def disturb(model: Decoder) -> None:
    """Give the trainable parameters values as training would."""
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=seeded(len(name))) * 0.2)


@pytest.mark.parametrize("tied", [True, False])
def test_new_lora_is_identity_and_merging_keeps_the_function(tied: bool, make_decoder: MakeDecoder) -> None:
    base, model = make_decoder(tied=tied), make_decoder(tied=tied)
    add_lora(model, LORA, seeded())
    assert torch.equal(model(IDS), base(IDS))
    disturb(model)
    adapted = model(IDS)
    assert not torch.allclose(adapted, base(IDS), atol=1e-2)
    merge_lora(model)
    torch.testing.assert_close(model(IDS), adapted, rtol=1e-4, atol=1e-5)
    assert named_tensors(model).keys() == named_tensors(base).keys()
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_update_is_the_scaled_product(make_decoder: MakeDecoder) -> None:
    base, model = make_decoder(), make_decoder()
    add_lora(model, LORA, seeded())
    disturb(model)
    tensors = named_tensors(model)
    name = "layers.1.feed_forward.down"
    update = 3.0 * tensors[f"{name}.lora_up"] @ tensors[f"{name}.lora_down"]
    assert torch.linalg.matrix_rank(update) == 2
    merge_lora(model)
    torch.testing.assert_close(named_tensors(model)[f"{name}.weight"], named_tensors(base)[f"{name}.weight"] + update)


@pytest.mark.parametrize("method", ["lora", "prompt"])
def test_only_the_adapter_is_trained_and_saved(method: str, make_decoder: MakeDecoder, tmp_path: Path) -> None:
    model = make_decoder(seed=1)
    before = hash_tensors(named_tensors(model))
    config = LORA if method == "lora" else PromptConfig(3)
    add_lora(model, LORA, seeded()) if method == "lora" else add_prompt(model, PromptConfig(3), seeded())
    prefix = list(prompt_ids(model))
    assert prefix == ([] if method == "lora" else [40, 41, 42])
    rows = [np.array([*prefix, *((np.arange(10) * 3 + start) % 40)], np.int32) for start in range(20)]
    examples = [Example(str(n), ids, np.arange(len(ids)) > len(prefix)) for n, ids in enumerate(rows)]
    write_shards(tmp_path / "shards", [examples], lambda part: part)
    shards = ShardSet(tmp_path / "shards")
    result = train(model, causal_objective, CONFIG, tmp_path / "run", shards, held_out=shards)

    own = {name for name, value in model.named_parameters() if value.requires_grad}
    assert own
    assert read_checkpoint(result.checkpoint).parts["model"].keys() == own
    assert hash_tensors({name: value for name, value in named_tensors(model).items() if name not in own}) == before
    with pytest.raises(InputError, match="kind 'adapted-decoder'"):
        load_model(result.checkpoint)
    started = make_decoder(seed=1)
    if method == "prompt":
        add_prompt(started, PromptConfig(3), seeded())
    ids, untrained = torch.from_numpy(rows[0]).long(), started
    trained_loss, first_loss = (
        float(torch.nn.functional.cross_entropy(m(ids[None, :-1])[0, len(prefix) :], ids[len(prefix) + 1 :]))
        for m in (model.requires_grad_(False), untrained.requires_grad_(False))
    )
    assert trained_loss < first_loss

    save_adapter(tmp_path / "adapter", model, config, {"task": "counting"})
    fresh = make_decoder(seed=1)
    assert load_adapter(tmp_path / "adapter", fresh) == config
    assert torch.equal(fresh(ids[None]), model(ids[None]))
    assert {name for name, value in fresh.named_parameters() if value.requires_grad} == own
    assert read_checkpoint(tmp_path / "adapter").metadata["task"] == "counting"


def test_adapter_run_goes_on_where_it_stopped(make_decoder: MakeDecoder, tmp_path: Path) -> None:
    ids = (np.arange(12) % 40).astype(np.int32)
    write_shards(tmp_path / "shards", [[Example("e", ids, np.ones(12, np.bool_))] * 8], lambda part: part)
    ends = []
    for name in ("through", "resumed"):
        for attempt in range(1 if name == "through" else 2):
            model = make_decoder()
            add_lora(model, LORA, seeded())
            if name == "resumed" and attempt == 1:  # as if killed just before the end
                (tmp_path / name / "checkpoints" / "step-00000012" / "checkpoint.json").unlink()
            train(model, causal_objective, CONFIG, tmp_path / name, ShardSet(tmp_path / "shards"))
        ends.append(hash_tensors(named_tensors(model)))
    assert ends[0] == ends[1]
    other = make_decoder(seed=9)
    add_lora(other, LORA, seeded())
    with pytest.raises(InputError, match=r"model\.frozen"):
        train(other, causal_objective, CONFIG, tmp_path / "resumed", ShardSet(tmp_path / "shards"))


def test_prompt_leaves_ordinary_ids_alone(make_decoder: MakeDecoder) -> None:
    base, model = make_decoder(tied=True), make_decoder(tied=True)
    add_prompt(model, PromptConfig(2), seeded())
    assert torch.equal(model(IDS), base(IDS))
    assert model(IDS).shape[-1] == 40, "prompt ids are read, never written"
    prefixed = model(torch.cat([torch.tensor([list(prompt_ids(model))]), IDS], dim=1))
    # A fresh prompt copies real tokens' vectors, so the base says the same about those tokens.
    copies = [int((base.embedding.weight == vector).all(1).nonzero()[0]) for vector in model.embedding.prompt]
    torch.testing.assert_close(prefixed, base(torch.cat([torch.tensor([copies]), IDS], dim=1)))


def test_adapter_refuses_another_base(make_decoder: MakeDecoder, tmp_path: Path) -> None:
    model = make_decoder()
    add_lora(model, LORA, seeded())
    save_adapter(tmp_path, model, LORA)
    other = make_decoder()
    with torch.no_grad():
        other.norm.weight[0] += 1e-6
    with pytest.raises(InputError, match="another base model"):
        load_adapter(tmp_path, other)
    merge_lora(model)
    load_adapter(tmp_path, make_decoder())
    save_model(tmp_path / "model", make_decoder())
    with pytest.raises(InputError, match="expected 'adapter'"):
        load_adapter(tmp_path / "model", make_decoder())


def test_misuse_is_refused(make_decoder: MakeDecoder, tmp_path: Path) -> None:
    model = make_decoder()
    with pytest.raises(InputError, match="has none"):
        save_adapter(tmp_path, model, LORA)
    for target, message in (("attention.quarry", "no 'attention.quarry'"), ("attention_norm", "not a linear")):
        with pytest.raises(InputError, match=message):
            add_lora(make_decoder(), replace(LORA, targets=(target,)), seeded())
    add_lora(model, LORA, seeded())
    for again in (lambda: add_lora(model, LORA, seeded()), lambda: add_prompt(model, PromptConfig(), seeded())):
        with pytest.raises(InputError, match="one already"):
            again()
    with pytest.raises(InputError, match="rank"):
        LoraConfig(rank=0)
    with pytest.raises(InputError, match="length"):
        PromptConfig(0)
