"""Choosing the next unit: greedy, seeds, nucleus against a plain reference, the alphabet, repetition."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unitlm.errors import InputError
from unitlm.sampling import Choices, Sampling, choose, draw, keep_top_k, keep_top_p

logit_rows = st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=12)


@given(logit_rows)
def test_temperature_zero_is_argmax_and_needs_no_randomness(row: list[float]) -> None:
    logits = torch.tensor([row])
    assert choose(logits, Sampling(), generator=None).item() == logits.argmax().item()


def test_the_same_seed_draws_the_same_units() -> None:
    logits = torch.randn(64, 30, generator=torch.Generator().manual_seed(0))
    sampling = Sampling(temperature=1.0, top_k=20, top_p=0.9)
    drawn = [choose(logits, sampling, torch.Generator().manual_seed(seed)).tolist() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_draws_follow_the_distribution() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    drawn = draw(logits.expand(40_000, 4), torch.Generator().manual_seed(0))
    frequencies = torch.bincount(drawn, minlength=4) / 40_000
    # Five standard deviations of a binomial share.
    torch.testing.assert_close(frequencies, logits.exp(), atol=5 * math.sqrt(0.25 / 40_000), rtol=0)


@given(logit_rows, st.integers(1, 12))
def test_top_k_keeps_the_k_largest(row: list[float], k: int) -> None:
    kept = [value for value in keep_top_k(torch.tensor([row]), k)[0].tolist() if value != -math.inf]
    threshold = sorted(row, reverse=True)[min(k, len(row)) - 1]
    assert sorted(kept) == sorted(value for value in torch.tensor(row).tolist() if value >= threshold)


@given(logit_rows, st.floats(0.05, 0.999))
def test_top_p_keeps_the_smallest_set_that_reaches_p(row: list[float], p: float) -> None:
    kept = (keep_top_p(torch.tensor([row], dtype=torch.float64), p)[0] != -math.inf).tolist()
    total = sum(math.exp(value) for value in row)
    mass = sorted((math.exp(value) / total for value in row), reverse=True)
    size = next(count for count in range(1, len(mass) + 1) if sum(mass[:count]) >= p or count == len(mass))
    # A tie or a sum that lies on p within rounding may fall either way.
    assert abs(sum(kept) - size) <= sum(abs(sum(mass[:count]) - p) < 1e-6 for count in range(len(mass) + 1))
    worst_kept = min(value for value, keep in zip(row, kept, strict=True) if keep)
    assert all(value <= worst_kept for value, keep in zip(row, kept, strict=True) if not keep)


@given(st.integers(0, 50), st.integers(1, 30), st.booleans(), st.integers(0, 2**32 - 1), st.floats(0, 5))
@settings(max_examples=60)
def test_nothing_outside_of_the_alphabet_can_be_chosen(
    start: int, size: int, has_end: bool, seed: int, temperature: float
) -> None:
    choices = Choices(start + 2, start + 2 + size, end=1 if has_end else None)
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(16, size + has_end, generator=generator) * 10
    ids = choices.to_ids(choose(logits, Sampling(temperature=temperature), generator)).tolist()
    allowed = {*range(start + 2, start + 2 + size), *([1] if has_end else [])}
    assert set(ids) <= allowed


def test_repetition_aware_sampling_leaves_a_loop() -> None:
    """One unit holds 60 % of the mass and the nucleus is that unit alone: plain nucleus sampling never leaves it."""
    logits = torch.log(torch.tensor([[0.6, 0.1, 0.1, 0.1, 0.1]]))
    looped = torch.zeros(1, 10, dtype=torch.int64)
    generator = torch.Generator().manual_seed(0)
    plain = Sampling(temperature=1.0, top_p=0.5)
    aware = Sampling(temperature=1.0, top_p=0.5, repetition_window=10, repetition_threshold=0.1)
    assert {choose(logits, plain, generator, looped).item() for _ in range(200)} == {0}
    drawn = [choose(logits, aware, generator, looped).item() for _ in range(200)]
    assert set(drawn) == {0, 1, 2, 3, 4}
    fresh = torch.tensor([[1, 2, 3, 4, 1, 2, 3, 4, 1, 2]])
    assert {choose(logits, aware, generator, fresh).item() for _ in range(50)} == {0}


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": -1},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"top_p": math.nan},
        {"top_k": -1},
        {"repetition_window": -1},
        {"repetition_threshold": 1.1},
    ],
)
def test_settings_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match="sampling: "):
        Sampling(**bad)  # type: ignore[arg-type]


def test_a_logit_that_is_no_number_leads_to_no_column_that_is_not_there() -> None:
    logits = torch.tensor([[0.0, math.nan, 1.0]])
    assert choose(logits, Sampling(temperature=1.0), torch.Generator().manual_seed(0)).item() in range(3)
