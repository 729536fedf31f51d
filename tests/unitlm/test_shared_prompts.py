"""Rows that go on from one prompt read it where it lies once, and write what they would with a prompt of their own."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unitlm.beam import beam_search
from unitlm.cache import SHARED_MULTIPLE, KeyValueCache
from unitlm.engine.attention_tiles import SLOTS
from unitlm.engine.decoder import PackedDecoder
from unitlm.generate import generate, prefill
from unitlm.language_model import LanguageModel
from unitlm.model import Decoder
from unitlm.sampling import Choices
from unitlm.scoring import score_continuations

CHOICES = Choices(5, 30, end=3)


def make_prompts(*lengths: int) -> list[list[int]]:
    random = np.random.default_rng(sum(lengths))
    return [random.integers(4, 40, length).tolist() for length in lengths]


def step(model: LanguageModel, cache: KeyValueCache, ids: list[int]) -> torch.Tensor:
    """The next token of each row is read; its state [B, D]."""
    with torch.inference_mode():
        states = model.transform(model.embed(torch.tensor(ids).unsqueeze(1)), cache=cache).squeeze(1)
    cache.advance(1)
    return states


def test_slots_are_shared_in_as_many_as_attention_takes_together() -> None:
    assert SHARED_MULTIPLE % SLOTS == 0


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=3), data=st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_shared_prompt_gives_the_same_to_the_last_bit(
    make_decoder: Callable[..., Decoder], lengths: list[int], data: st.DataObject
) -> None:
    packed = PackedDecoder(make_decoder(), "int8")
    prompts = make_prompts(*lengths)
    rows = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=5))
    _, cache = prefill(packed, prompts, 3)
    shared = cache.chosen(torch.tensor(rows))
    own = [cache.chosen(torch.tensor([row])) for row in rows]
    for ids in ([7, 9, 11, 13, 15], [8, 8, 8, 9, 9], [20, 21, 22, 23, 24]):
        together = step(packed, shared, ids[: len(rows)])
        for place, (token, alone) in enumerate(zip(ids, own, strict=False)):
            assert torch.equal(step(packed, alone, [token])[0], together[place])


def test_a_prompt_is_held_once(make_decoder: Callable[..., Decoder]) -> None:
    _, cache = prefill(PackedDecoder(make_decoder(), "fp32"), make_prompts(40), 4)
    copies = cache.copies(3)
    assert (copies.homes.tolist(), copies.shared.tolist()) == ([0, 0, 0], [0, 32, 32])
    assert not copies.keys[:, 1:, :, :32].any()
    assert torch.equal(copies.keys[:, 2, :, 32:40], cache.keys[:, 0, :, 32:40])


@pytest.mark.parametrize("lengths", [(45,), (20, 37), (33, 5, 64)])
def test_samples_beams_and_scores_are_those_of_the_decoder(
    make_decoder: Callable[..., Decoder], lengths: tuple[int, ...]
) -> None:
    model = make_decoder(2)
    packed, prompts = PackedDecoder(model, "fp32"), make_prompts(*lengths)
    greedy = [generate(one, prompts * 2, CHOICES, limit=12, samples=2) for one in (packed, model)]
    assert [row.ids for row in greedy[0]] == [row.ids for row in greedy[1]]
    beams = [beam_search(one, prompts, CHOICES, beams=4, limit=9) for one in (packed, model)]
    assert [row.ids for row in beams[0]] == [row.ids for row in beams[1]]
    answers = [[5, 6, 7], [], [28, 8]]
    scores = [score_continuations(one, *prefill(one, prompts[:1], 10), CHOICES, answers) for one in (packed, model)]
    np.testing.assert_allclose(*([row.log_probability for row in rows] for rows in scores), atol=1e-3)


def test_rows_go_their_own_ways(make_decoder: Callable[..., Decoder]) -> None:
    """Copied from each other, cut into the prompt, chosen again, or handed to the decoder in torch."""
    model = make_decoder(4)
    packed, prompts = PackedDecoder(model, "fp32"), make_prompts(40, 21)
    _, cache = prefill(packed, prompts, 6)
    changed = cache.chosen(torch.tensor([0, 1, 0, 1]))
    step(packed, changed, [5, 6, 7, 8])
    changed.reorder(torch.tensor([1, 0]), [40, 21])
    assert changed.shared.tolist() == [0, 0, 32, 16]  # prompts are shared on
    expected = prefill(packed, [[*prompts[0], 7], [*prompts[1], 8], [*prompts[0], 5], [*prompts[1], 6]], 3)[1]
    again = changed.chosen(torch.tensor([3, 3, 0]))
    expected_again = expected.chosen(torch.tensor([3, 3, 0]))
    torch.testing.assert_close(step(packed, again, [9, 10, 11]), step(packed, expected_again, [9, 10, 11]))
    torch.testing.assert_close(step(model, again, [9, 10, 11]), step(packed, expected_again, [9, 10, 11]))

    for lengths in ([10, 20, 40], [10, 40, 40]):  # also where only the row is cut in which the others read
        cut = cache.copies(3)
        cut.truncate(torch.tensor(lengths))
        ids = [12, 13, 14]
        expected = prefill(packed, [prompts[0][:length] for length in lengths], 3)[1]
        torch.testing.assert_close(step(packed, cut, ids), step(packed, expected, ids))
