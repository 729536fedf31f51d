"""The prefix LM: prompts seen both ways in training and decoding alike."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from unitlm.alphabet import Units
from unitlm.beam import beam_search
from unitlm.cache import KeyValueCache
from unitlm.checkpoint import load_model, save_model
from unitlm.data import Batch, DataPosition, Packer, Packing
from unitlm.drafts import generate_with_drafts
from unitlm.errors import InputError
from unitlm.generate import fill, generate, prefill
from unitlm.llama import export_llama
from unitlm.model import Decoder, ModelConfig
from unitlm.objective import causal_objective
from unitlm.sampling import Choices
from unitlm.shards import Example, ShardSet, write_shard
from unitlm.task import Task
from unitlm.vocabulary import Vocabulary

CHOICES = Choices(start=5, stop=40, end=1)
PROMPTS = [[7, 3, 20, 9], [12], [30, 31, 32, 33, 34, 35, 36], [4, 4]]
TOLERANCE = 2e-5


def marks(count: int, steps: int) -> torch.Tensor:
    return (torch.arange(steps) < count).unsqueeze(0)


def test_gradients_show_that_prompts_see_both_ways_and_the_rest_does_not(make_decoder: Callable[..., Decoder]) -> None:
    model = make_decoder(prefix_lm=True)
    for position, expected in [(0, 4), (2, 4), (3, 4), (4, 5), (6, 7)]:
        embedded = torch.randn(1, 8, 32, requires_grad=True)
        model.transform(embedded, prompt=marks(4, 8))[0, position].sum().backward()
        assert embedded.grad is not None
        seen = embedded.grad[0].abs().sum(dim=-1) > 0
        assert seen.tolist() == [step < expected for step in range(8)]


@pytest.mark.parametrize("static", [False, True])
def test_cached_steps_equal_the_whole_sequence(make_decoder: Callable[..., Decoder], static: bool) -> None:
    model = make_decoder(prefix_lm=True)
    ids, lengths = torch.randint(0, 40, (3, 12), generator=torch.Generator().manual_seed(1)), torch.tensor([5, 1, 3])
    cache = KeyValueCache(model.config, batch=3, capacity=14, static=static)
    model(ids[:, :5], prompt=torch.arange(5) < lengths.unsqueeze(1), cache=cache)
    cache.advance(lengths)
    for steps in (1, 3, 1):
        now = torch.stack([ids[row, length : length + steps] for row, length in enumerate(cache.lengths.tolist())])
        logits = model(now, cache=cache)
        for row, length in enumerate(cache.lengths.tolist()):
            whole = model(ids[row : row + 1, : length + steps], prompt=marks(int(lengths[row]), length + steps))
            torch.testing.assert_close(logits[row], whole[0, length:], atol=TOLERANCE, rtol=0)
        cache.advance(steps)


@torch.no_grad()
def greedy_reference(model: Decoder, prompt: list[int], prefix: int, limit: int) -> list[int]:
    written: list[int] = []
    allowed = [*range(CHOICES.start, CHOICES.stop), 1]
    while len(written) < limit:
        ids = [*prompt, *written]
        logits = model(torch.tensor([ids]), prompt=marks(prefix, len(ids)))[0, -1, allowed]
        best = allowed[int(logits.argmax())]
        if best == 1:
            break
        written.append(best)
    return written


@pytest.mark.parametrize("seed", range(3))
def test_decoding_equals_reading_everything_anew(make_decoder: Callable[..., Decoder], seed: int) -> None:
    model, causal = make_decoder(seed, prefix_lm=True), make_decoder(seed)
    written = [list(row.ids) for row in generate(model, PROMPTS, CHOICES, limit=15)]
    assert written == [greedy_reference(model, prompt, len(prompt), 15) for prompt in PROMPTS]
    assert written != [list(row.ids) for row in generate(causal, PROMPTS, CHOICES, limit=15)]
    prefixes = [2, 1, 4, 0]
    shorter = generate(model, PROMPTS, CHOICES, limit=15, prefixes=prefixes)
    for row, prompt, prefix in zip(shorter, PROMPTS, prefixes, strict=True):
        assert list(row.ids) == greedy_reference(model, prompt, prefix, 15)
    drafted = generate_with_drafts(model, PROMPTS[0], CHOICES, [written[0]], limit=15)
    assert list(drafted.continuation.ids) == written[0]


@pytest.mark.parametrize("prefixes", [None, [0, 0], [2, 1], [3, 4]])
@pytest.mark.parametrize("prompts", [[[9, 10, 11]], [[9, 10, 11], [12, 9, 8, 30]]], ids=["one", "views"])
@torch.no_grad()
def test_beam_search_equals_exhaustive_search(
    make_decoder: Callable[..., Decoder], prompts: list[list[int]], prefixes: list[int] | None
) -> None:
    model, choices, limit = make_decoder(3, prefix_lm=True), Choices(5, 8, end=1), 3
    columns = {5: 0, 6: 1, 7: 2, 1: 3}
    given = [len(prompt) for prompt in prompts] if prefixes is None else prefixes[: len(prompts)]
    candidates = []
    for length in range(limit + 1):
        for units in itertools.product(range(5, 8), repeat=length):
            each = []
            for prompt, prefix in zip(prompts, given, strict=True):
                ids = [*prompt, *units, 1]
                logits = model(torch.tensor([ids]), prompt=marks(prefix, len(ids)))[0][:, list(columns)]
                each.append(F.log_softmax(logits[len(prompt) - 1 : -1], dim=-1))
            scores = F.log_softmax(torch.stack(each).mean(dim=0), dim=-1)
            candidates.append((sum(float(scores[n, columns[unit]]) for n, unit in enumerate([*units, 1])), units))
    candidates.sort(reverse=True)
    found = beam_search(
        model, prompts, choices, beams=4**limit * 4, limit=limit, prefixes=None if prefixes is None else given
    )
    assert [hypothesis.ids for hypothesis in found[:10]] == [units for _, units in candidates[:10]]
    best = [score for score, _ in candidates[:10]]
    assert [hypothesis.log_probability for hypothesis in found[:10]] == pytest.approx(best, abs=1e-4)


def packed_batch(folder: Path) -> tuple[Batch, list[Example]]:
    """Three documents in one row and one in another, each with a prompt of its own length."""
    generator = np.random.default_rng(0)
    examples = []
    for number, (prompt, learned) in enumerate([(4, 3), (1, 5), (6, 2), (3, 4)]):
        mask = np.arange(prompt + learned) >= prompt
        mask[-2] = number != 1  # a gap in what is learned does not make a prompt of what precedes it
        examples.append(Example(str(number), generator.integers(0, 40, len(mask)).astype(np.int32), mask))
    write_shard(folder / "s.parquet", examples)
    packer = Packer(ShardSet(folder), Packing(rows=2, length=20))
    layout, _ = next(packer.layouts(DataPosition(0), epochs=1))
    return layout.build(), examples


@torch.no_grad()
def test_packed_training_is_what_decoding_sees(make_decoder: Callable[..., Decoder], tmp_path: Path) -> None:
    model = make_decoder(prefix_lm=True)
    batch, examples = packed_batch(tmp_path)
    loss, weight = causal_objective(model, batch, torch.Generator())
    expected = 0.0
    for example in examples:
        prompt, ids = int(example.loss_mask.argmax()), example.ids.tolist()
        hidden, cache = prefill(model, [ids[:prompt]], len(ids))
        for step in range(prompt, len(ids)):
            if example.loss_mask[step]:
                expected -= float(F.log_softmax(model.project(hidden), dim=-1)[0, ids[step]])
            hidden = model.transform(model.embed(torch.tensor([[ids[step]]])), cache=cache)[:, 0]
            cache.advance(1)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(weight) == sum(example.loss_mask.sum() for example in examples)


def test_later_links_of_a_chain_are_no_prompt(make_decoder: Callable[..., Decoder]) -> None:
    """What the model wrote itself was causal in training, so it is when the next slot is filled in."""
    task = Task.parse("from {a:units} by {b:units!} to {c:units!}")
    vocabulary = Vocabulary.build([Units("units", 30)], [task])
    model = make_decoder(4, vocabulary_size=vocabulary.size, prefix_lm=True)
    given, example = {"a": [1, 2, 3]}, {"a": [5], "b": [6], "c": [7, 8]}
    (filled,) = fill(model, vocabulary, task, [given], limit=6, examples=[[example]])
    first = task.prompt(given, vocabulary, [example]).ids
    second = task.prompt({**given, "b": filled["b"]}, vocabulary, [example]).ids
    (expected,) = generate(model, [second], Choices.of(vocabulary, "units"), limit=6, prefixes=[len(first)])
    assert filled["c"] == vocabulary.decode("units", expected.ids)
    everything = generate(model, [second], Choices.of(vocabulary, "units"), limit=6)[0]
    assert everything.log_probability != pytest.approx(expected.log_probability, abs=1e-6)


def test_the_switch_is_stored_and_guarded(make_decoder: Callable[..., Decoder], tmp_path: Path) -> None:
    model = make_decoder(prefix_lm=True)
    save_model(tmp_path / "model", model)
    assert load_model(tmp_path / "model").config.prefix_lm
    with pytest.raises(InputError, match="and no prefix LM, is a Llama"):
        export_llama(model, tmp_path / "llama", maximum_length=20)
    with pytest.raises(InputError, match="which positions are prompt"):
        model(torch.tensor([[3, 4]]))
    with pytest.raises(InputError, match="prefix_lm is for causal models"):
        ModelConfig(8, 8, 1, 1, 1, 8, causal=False, prefix_lm=True)
    cache = KeyValueCache(model.config, batch=1, capacity=8)
    model(torch.tensor([[3, 4]]), prompt=marks(2, 2), cache=cache)
    cache.advance(2)
    with pytest.raises(InputError, match="a prompt is read in one pass"):
        model(torch.tensor([[3, 4]]), prompt=marks(2, 2), cache=cache)


def test_other_models_do_not_care_where_prompts_are(make_decoder: Callable[..., Decoder]) -> None:
    model, ids = make_decoder(), torch.tensor([[3, 4, 5, 6]])
    torch.testing.assert_close(model(ids, prompt=marks(3, 4)), model(ids), atol=0, rtol=0)
