"""Lines of aligned steps: decoding through the cache = reading the whole line anew for each id; best of n."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from unitlm.aligned import AlignedLine, generate_aligned
from unitlm.checkpoint import load_model
from unitlm.errors import InputError
from unitlm.generate import Continuation, best_of, generate
from unitlm.model import ABSENT, Decoder, ModelConfig
from unitlm.objective import causal_objective
from unitlm.sampling import Choices, Sampling, choose
from unitlm.shards import Example, ShardSet, write_shards
from unitlm.train import train
from unitlm.train_config import TrainConfig

CHOICES = Choices(start=20, stop=40, end=None)
PROMPTS, LENGTHS = (6, 1, 3, 1), (9, 4, 0, 1)


def make_lines(conditions: bool = True, codebooks: int = 3) -> list[AlignedLine]:
    """Lines of unequal prompts and lengths: guides of ids 0..19, written ids 20..39."""
    generator = np.random.default_rng(0)
    lines = []
    for prompt, length in zip(PROMPTS, LENGTHS, strict=True):
        steps = prompt - 1 + max(length, 1)
        ids = generator.integers(0, 20, (steps, codebooks))
        ids[:, -1] = generator.integers(20, 40, steps)
        ids[prompt:, -1] = ABSENT
        ids[0, 0] = ABSENT
        lines.append(AlignedLine(ids, length, generator.integers(-1, 3, steps) if conditions else None))
    return lines


@torch.no_grad()
def naive(
    model: Decoder, line: AlignedLine, sampling: Sampling, generator: torch.Generator | None = None
) -> tuple[list[int], float]:
    """One line, no cache: everything is read again for each id."""
    ids = torch.from_numpy(line.ids.copy()).unsqueeze(0)
    conditions = None if line.conditions is None else torch.from_numpy(line.conditions).unsqueeze(0)
    first = len(line.ids) - line.length
    columns: list[int] = []
    score = 0.0
    for step in range(first, first + line.length):
        if columns:
            ids[0, step, -1] = CHOICES.start + columns[-1]
        logits = model(
            ids[:, : step + 1],
            conditions=None if conditions is None else conditions[:, : step + 1],
            prompt=torch.arange(step + 1).unsqueeze(0) <= first,
        )[:, -1, CHOICES.start : CHOICES.stop]
        recent = torch.tensor([columns[-sampling.repetition_window :]], dtype=torch.int64).reshape(1, -1)
        column = int(choose(logits, sampling, generator, recent))
        score += float(F.log_softmax(logits, dim=-1)[0, column])
        columns.append(column)
    return [CHOICES.start + column for column in columns], score


@pytest.mark.parametrize("conditions", [True, False])
@pytest.mark.parametrize("prefix_lm", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_batched_equals_reading_everything_anew(
    make_decoder: Callable[..., Decoder], seed: int, prefix_lm: bool, conditions: bool
) -> None:
    model = make_decoder(seed, conditions=3 if conditions else 0, prefix_lm=prefix_lm)
    lines = make_lines(conditions)
    written = generate_aligned(model, lines, CHOICES)
    assert tuple(len(row.ids) for row in written) == LENGTHS
    for line, row in zip(lines, written, strict=True):
        ids, score = naive(model, line, Sampling())
        assert list(row.ids) == ids
        assert row.log_probability == pytest.approx(score, abs=1e-4)
        assert row.ended


def test_sampling_alone_in_the_batch_equals_the_naive_loop_draw_for_draw(make_decoder: Callable[..., Decoder]) -> None:
    model, line = make_decoder(1, conditions=3), make_lines()[0]
    # A window and a threshold at which second draws do happen.
    sampling = Sampling(temperature=1.3, top_p=0.8, repetition_window=4, repetition_threshold=0.2)
    for seed in range(5):
        (row,) = generate_aligned(
            model, [line], CHOICES, sampling=sampling, generator=torch.Generator().manual_seed(seed)
        )
        ids, score = naive(model, line, sampling, torch.Generator().manual_seed(seed))
        assert list(row.ids) == ids
        assert row.log_probability == pytest.approx(score, abs=1e-4)


def test_guides_and_conditions_of_a_step_change_what_follows_only(make_decoder: Callable[..., Decoder]) -> None:
    model, line = make_decoder(0, conditions=3), make_lines()[0]
    before = generate_aligned(model, [line], CHOICES)[0]
    late = len(line.ids) - 2
    for changed in (
        replace(
            line, ids=np.where(np.arange(len(line.ids))[:, None] == [late, late, -1], (line.ids + 7) % 20, line.ids)
        ),
        replace(
            line, conditions=np.where(np.arange(len(line.ids)) == late, (line.conditions + 1) % 3, line.conditions)
        ),
    ):
        after = generate_aligned(model, [changed], CHOICES)[0]
        assert after.ids[:-2] == before.ids[:-2]
        assert after.log_probability != pytest.approx(before.log_probability, abs=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AlignedLine(np.full((4, 2), 3), 3), "must be absent"),
        (lambda: AlignedLine(np.full((4, 2), ABSENT), 5), "5 steps to write, but the line has 4"),
        (lambda: AlignedLine(np.full((4, 2), ABSENT), 1, np.zeros(3, np.int64)), "3 conditions for 4 steps"),
        (lambda: AlignedLine(np.zeros((0, 2), np.int64), 0), "at least one step"),
    ],
)
def test_impossible_lines_are_refused(make: Callable[[], AlignedLine], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_lines_that_the_model_cannot_read_are_refused(make_decoder: Callable[..., Decoder]) -> None:
    model, line = make_decoder(conditions=3), make_lines()[0]
    with pytest.raises(InputError, match=r"id that is not in 0\.\.39"):
        generate_aligned(model, [replace(line, ids=np.where(line.ids == ABSENT, ABSENT, line.ids + 30))], CHOICES)
    with pytest.raises(InputError, match=r"condition that is not in 0\.\.2"):
        generate_aligned(model, [replace(line, conditions=np.full(len(line.ids), 3))], CHOICES)
    with pytest.raises(InputError, match="line 1 has other codebooks"):
        generate_aligned(model, [line, make_lines(codebooks=2)[0]], CHOICES)
    with pytest.raises(InputError, match="no end token"):
        generate_aligned(model, [line], replace(CHOICES, end=1))
    with pytest.raises(InputError, match="at least one line"):
        generate_aligned(model, [], CHOICES)


def test_trained_lines_are_written_back(tmp_path: Path) -> None:
    """What is written is guide + last written, modulo 10: neither alone would do, and no unit shift is off by one."""

    def sums(guides: np.ndarray) -> np.ndarray:
        return np.cumsum(guides) % 10

    def examples(part: range) -> list[Example]:
        made = []
        for seed in part:
            guides = np.random.default_rng(seed).integers(0, 3, 12)
            ids = np.full((13, 2), ABSENT, np.int32)
            ids[:12, 0], ids[1:, 1] = guides, 3 + sums(guides)
            made.append(Example(str(seed), ids, np.arange(13) > 0))
        return made

    write_shards(tmp_path / "shards", [range(1000)], examples, codebooks=2)
    model = Decoder(_config())
    model.reset_parameters(torch.Generator().manual_seed(0))
    config = TrainConfig(
        steps=100,
        batch_rows=16,
        micro_batch_rows=16,
        sequence_length=24,
        learning_rate=1e-2,
        tensorboard=False,
        device="cpu",
        warmup_steps=10,
    )
    result = train(model, causal_objective, config, tmp_path / "run", ShardSet(tmp_path / "shards"))
    model = load_model(result.checkpoint)
    guides = np.random.default_rng(5000).integers(0, 3, 12)
    ids = np.stack((guides, np.full(12, ABSENT)), axis=1)
    (row,) = generate_aligned(model, [AlignedLine(ids, 12)], Choices(3, 13, None))
    assert [unit - 3 for unit in row.ids] == sums(guides).tolist()


def _config() -> ModelConfig:
    return ModelConfig(13, width=32, layers=2, heads=4, key_value_heads=2, feed_forward_width=64)


def test_best_of_compares_means_and_prefers_what_ended() -> None:
    short, long = Continuation((1,), -3.0, True), Continuation((1, 2, 3, 4, 5), -6.0, True)
    assert best_of([short, long]) is long
    assert best_of([Continuation((1, 2), -0.1, False), short]) is short


def test_samples_are_drawn_and_the_best_is_returned(make_decoder: Callable[..., Decoder]) -> None:
    model, prompts, choices = make_decoder(2), [[7, 3, 20], [12]], Choices(5, 40, end=1)
    sampling = Sampling(temperature=1.0)

    def draw(rows: list[list[int]], samples: int) -> list[Continuation]:
        generator = torch.Generator().manual_seed(3)
        return generate(
            model, rows, choices, lengths=None, limit=12, samples=samples, sampling=sampling, generator=generator
        )

    # Repeating the prompts by hand draws the same candidates: one stream of chance, rows in the same order.
    candidates = draw([prompt for prompt in prompts for _ in range(5)], 1)
    assert len({row.ids for row in candidates[:5]}) > 1
    assert draw(prompts, 5) == [best_of(candidates[:5]), best_of(candidates[5:])]
    with pytest.raises(InputError, match="samples must be at least 1"):
        draw(prompts, 0)


def test_samples_of_aligned_lines_keep_their_guides(make_decoder: Callable[..., Decoder]) -> None:
    """At temperature 0 all samples are alike, so n of them are what one is."""
    model, lines = make_decoder(1, conditions=3), make_lines()
    one, three = generate_aligned(model, lines, CHOICES), generate_aligned(model, lines, CHOICES, samples=3)
    assert [row.ids for row in three] == [row.ids for row in one]
