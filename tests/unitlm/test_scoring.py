"""Continuations scored in one pass are what plain decoding says of them."""

from __future__ import annotations

import pytest
import torch

from unitlm.errors import InputError
from unitlm.generate import generate, prefill
from unitlm.language_model import pack_decoder
from unitlm.model import Decoder, ModelConfig
from unitlm.sampling import Choices, Sampling
from unitlm.scoring import score_continuations

CONFIG = ModelConfig(vocabulary_size=30, width=32, layers=2, heads=4, key_value_heads=2, feed_forward_width=48)
CHOICES = Choices(10, 25, end=1)
PROMPT = [0, 3, 12, 4, 20]


@pytest.fixture(scope="module")
def model() -> Decoder:
    decoder = Decoder(CONFIG)
    decoder.reset_parameters(torch.Generator().manual_seed(3))
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(2.0)  # away from the uniform distribution, which would hide mistakes
    return decoder.eval()


def test_written_continuations_have_the_probability_with_which_they_were_written(model: Decoder) -> None:
    drawn = generate(
        model,
        [PROMPT] * 40,
        CHOICES,
        limit=20,
        sampling=Sampling(temperature=1.0),
        generator=torch.Generator().manual_seed(0),
    )
    ended = [one for one in drawn if one.ended]
    assert len({len(one.ids) for one in ended}) > 2
    hidden, cache = prefill(model, [PROMPT], 20)
    before = cache.keys.clone(), cache.lengths.clone()
    scored = score_continuations(model, hidden, cache, CHOICES, [one.ids for one in ended])
    assert [one.ids for one in scored] == [one.ids for one in ended]
    for one, wanted in zip(scored, ended, strict=True):
        assert one.log_probability == pytest.approx(wanted.log_probability, abs=1e-4)
    assert torch.equal(cache.keys, before[0])
    assert torch.equal(cache.lengths, before[1])


@pytest.mark.parametrize("packed", [False, True])
def test_each_continuation_may_have_a_prompt_of_its_own(model: Decoder, packed: bool) -> None:
    one = pack_decoder(model, "fp32") if packed else model
    prompts, said = [PROMPT, [0, 5], [0, 3, 12, 4, 20, 9, 2]], [[12, 13, 14], [], [20]]
    together = score_continuations(one, *prefill(one, prompts, 4), CHOICES, said)
    for prompt, ids, found in zip(prompts, said, together, strict=True):
        [alone] = score_continuations(one, *prefill(one, [prompt], 4), CHOICES, [ids])
        assert found.ids == alone.ids
        assert found.log_probability == pytest.approx(alone.log_probability, abs=1e-4)
    with pytest.raises(InputError, match="one prompt or 2, got 3"):
        score_continuations(one, *prefill(one, prompts, 4), CHOICES, said[:2])


def test_all_continuations_of_one_unit_and_the_end_share_the_probability(model: Decoder) -> None:
    hidden, cache = prefill(model, [PROMPT], 1)
    nothing, *ones = score_continuations(model, hidden, cache, CHOICES, [[], *([unit] for unit in range(10, 25))])
    ends = [one.log_probability for one in ones]
    assert nothing.log_probability < 0.0
    # p(end) + sum of p(unit, end) stays below one by what goes on longer
    assert 0.0 < torch.tensor([nothing.log_probability, *ends]).exp().sum() < 1.0


def test_what_cannot_be_written_is_refused(model: Decoder) -> None:
    hidden, cache = prefill(model, [PROMPT], 2)
    assert score_continuations(model, hidden, cache, CHOICES, []) == []
    with pytest.raises(InputError, match="outside of the alphabet"):
        score_continuations(model, hidden, cache, CHOICES, [[25]])
    with pytest.raises(InputError, match="end token"):
        score_continuations(model, hidden, cache, Choices(10, 25, end=None), [[12]])
