"""Decoding: batched = one by one, known lengths, beam search = exhaustive search, drafts = plain greedy."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from unitlm.alphabet import Units
from unitlm.beam import beam_search
from unitlm.drafts import DraftBook, generate_with_drafts
from unitlm.errors import InputError
from unitlm.generate import fill, generate
from unitlm.model import Decoder
from unitlm.sampling import Choices, Sampling
from unitlm.task import Task
from unitlm.vocabulary import Vocabulary

CHOICES = Choices(start=5, stop=40, end=1)
PROMPTS = [[7, 3, 20, 9], [12], [30, 31, 32, 33, 34, 35, 36], [4, 4]]


@torch.no_grad()
def greedy_reference(model: Decoder, prompt: list[int], choices: Choices, limit: int) -> tuple[list[int], float, bool]:
    """Greedy decoding with no cache and no batch: the whole sequence is read again for each unit."""
    written: list[int] = []
    score = 0.0
    allowed = [*range(choices.start, choices.stop), *([] if choices.end is None else [choices.end])]
    while len(written) < limit:
        logits = model(torch.tensor([[*prompt, *written]]))[0, -1, allowed]
        best = int(logits.argmax())
        score += float(F.log_softmax(logits, dim=-1)[best])
        if allowed[best] == choices.end:
            return written, score, True
        written.append(allowed[best])
    return written, score, choices.end is None


@pytest.mark.parametrize("seed", range(4))
def test_batched_greedy_equals_one_by_one_without_cache(make_decoder: Callable[..., Decoder], seed: int) -> None:
    model = make_decoder(seed)
    for prompt, got in zip(PROMPTS, generate(model, PROMPTS, CHOICES, limit=20), strict=True):
        written, score, ended = greedy_reference(model, prompt, CHOICES, limit=20)
        assert (list(got.ids), got.ended) == (written, ended)
        assert got.log_probability == pytest.approx(score, abs=1e-4)


def test_rows_that_end_early_leave_without_disturbing_the_others(make_decoder: Callable[..., Decoder]) -> None:
    model = make_decoder(2)
    with torch.no_grad():  # an end token that becomes likely, so that rows end at many different steps
        model.head.weight[1] = model.head.weight[5:40].mean(dim=0) + 0.25
    prompts = [[random.Random(row).randrange(2, 40) for _ in range(1 + row % 5)] for row in range(12)]
    together = generate(model, prompts, CHOICES, limit=40)
    assert len({len(row.ids) for row in together}) > 3
    assert [row.ids for row in together] == [generate(model, [prompt], CHOICES, limit=40)[0].ids for prompt in prompts]


def test_known_lengths_are_met_exactly(make_decoder: Callable[..., Decoder]) -> None:
    lengths = [0, 5, 17, 3]
    rows = generate(make_decoder(), PROMPTS, Choices(5, 40, end=None), lengths=lengths)
    assert [len(row.ids) for row in rows] == lengths
    assert all(row.ended for row in rows)
    written, _, _ = greedy_reference(make_decoder(), PROMPTS[2], Choices(5, 40, end=None), limit=17)
    assert list(rows[2].ids) == written


def test_sampling_repeats_with_its_seed(make_decoder: Callable[..., Decoder]) -> None:
    def sample(seed: int) -> list[tuple[int, ...]]:
        generator = torch.Generator().manual_seed(seed)
        sampling = Sampling(temperature=1.0, repetition_window=10)
        return [
            row.ids
            for row in generate(make_decoder(), PROMPTS, CHOICES, limit=15, sampling=sampling, generator=generator)
        ]

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, -0.5])
@pytest.mark.parametrize("prompts", [[[9, 10]], [[9, 10], [11, 12, 13], [3]]], ids=["one", "views"])
@pytest.mark.parametrize("seed", range(3))
@torch.no_grad()
def test_beam_search_equals_exhaustive_search_on_a_toy(
    make_decoder: Callable[..., Decoder], seed: int, prompts: list[list[int]], length_penalty: float
) -> None:
    model, choices, limit = make_decoder(seed), Choices(5, 8, end=1), 4
    candidates = []
    for length in range(limit + 1):
        for units in itertools.product(range(5, 8), repeat=length):
            written = [*units, 1]
            each = []
            for prompt in prompts:
                logits = model(torch.tensor([[*prompt, *written]]))[0][len(prompt) - 1 : -1, [5, 6, 7, 1]]
                each.append(F.softmax(logits, dim=-1))
            mean = torch.stack(each).prod(dim=0) ** (1 / len(each))
            mean = mean / mean.sum(dim=-1, keepdim=True)
            columns = [{5: 0, 6: 1, 7: 2, 1: 3}[unit] for unit in written]
            score = sum(float(mean[i, column].log()) for i, column in enumerate(columns))
            candidates.append((score / (length + 1) ** length_penalty, units, score))
    candidates.sort(key=lambda candidate: -candidate[0])
    everything = 4 ** (limit + 1)
    found = beam_search(model, prompts, choices, beams=everything, limit=limit, length_penalty=length_penalty)
    for (_, units, score), hypothesis in zip(candidates[:10], found, strict=False):
        assert hypothesis.ids == units
        assert hypothesis.log_probability == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize("limit", [3, 50])
@pytest.mark.parametrize("seed", range(4))
def test_one_beam_is_greedy_decoding_for_one_view_and_for_equal_ones(
    make_decoder: Callable[..., Decoder], seed: int, limit: int
) -> None:
    model = make_decoder(seed)
    with torch.no_grad():  # an end token that comes sooner or later
        model.head.weight[1] = model.head.weight[5:40].mean(dim=0) + 0.3
    for prompt in PROMPTS:
        [greedy] = generate(model, [prompt], CHOICES, limit=limit)
        for prompts in ([prompt], [prompt, prompt, prompt]):
            [found] = beam_search(model, prompts, CHOICES, beams=1, limit=limit, length_penalty=1.0)
            assert (found.ids, found.ended) == (greedy.ids, greedy.ended)
            assert found.log_probability == pytest.approx(greedy.log_probability, abs=1e-3)


def test_many_beams_find_what_is_more_probable(make_decoder: Callable[..., Decoder]) -> None:
    gains = []
    for seed in range(8):
        model = make_decoder(seed)
        with torch.no_grad():
            model.head.weight[1] = model.head.weight[5:40].mean(dim=0) + 0.5
        narrow, wide = (beam_search(model, [[3, 4]], CHOICES, beams=beams, limit=40)[0] for beams in (1, 16))
        if narrow.ended:
            gains.append(wide.log_probability - narrow.log_probability)
    assert len(gains) > 2
    assert min(gains) > -1e-3
    assert max(gains) > 0.1


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_drafts_never_change_the_output(make_decoder: Callable[..., Decoder], data: st.DataObject) -> None:
    model = make_decoder(data.draw(st.integers(0, 5)))
    prompt = data.draw(st.sampled_from(PROMPTS))
    plain = generate(model, [prompt], CHOICES, limit=24)[0]
    # Drafts made of pieces of the true output, torn and shuffled, and of noise.
    pieces = st.integers(0, len(plain.ids)).flatmap(lambda at: st.just(plain.ids[at : at + 9]))
    noise = st.lists(st.integers(5, 39), max_size=6).map(tuple)
    drafts = data.draw(
        st.lists(st.lists(st.one_of(pieces, noise), max_size=4).map(lambda parts: sum(parts, ())), max_size=3)
    )
    lookahead = data.draw(st.integers(1, 20))
    drafted = generate_with_drafts(model, prompt, CHOICES, drafts, limit=24, lookahead=lookahead)
    assert drafted.continuation.ids == plain.ids
    assert drafted.continuation.ended == plain.ended
    assert drafted.continuation.log_probability == pytest.approx(plain.log_probability, abs=1e-3)
    assert drafted.calls <= len(plain.ids) + 1


def test_a_good_draft_saves_most_calls(decoder: Decoder) -> None:
    plain = generate(decoder, [[7, 8]], CHOICES, limit=48)[0]
    assert len(plain.ids) == 48
    perfect = generate_with_drafts(decoder, [7, 8], CHOICES, [plain.ids], limit=48, lookahead=16)
    assert perfect.continuation.ids == plain.ids
    assert perfect.calls <= 2 + 48 // 16
    wrong_unit = 5 if plain.ids[20] != 5 else 6
    one_error = [*plain.ids[:20], wrong_unit, *plain.ids[21:]]
    mended = generate_with_drafts(decoder, [7, 8], CHOICES, [one_error], limit=48, lookahead=16)
    assert mended.continuation.ids == plain.ids
    assert mended.calls <= 12
    assert generate_with_drafts(decoder, [7, 8], CHOICES, [], limit=48).calls == 48


def test_a_proposal_goes_on_where_the_last_one_left_off() -> None:
    book = DraftBook([(1, 2, 3, 9, 1, 2, 4), (7, 2, 5)])
    assert book.propose([], 2) == ()
    assert book.propose([1, 2], 3) == (3, 9, 1)
    assert book.propose([1, 2, 3, 9, 1, 2], 3) == (4,)
    assert book.propose([7, 2], 3) == (5,)
    assert book.propose([8], 3) == ()


def test_a_chain_is_filled_link_by_link(make_decoder: Callable[..., Decoder]) -> None:
    task = Task.parse("go {a:x} via {b:y!} to {c:x!}")
    vocabulary = Vocabulary.build([Units("x", 6), Units("y", 5)], [task])
    model = make_decoder(1, vocabulary_size=vocabulary.size)
    cases = [{"a": [1, 2]}, {"a": [3]}]
    examples = [[{"a": [0], "b": [1], "c": [2]}], []]
    filled = fill(model, vocabulary, task, cases, limit=4, examples=examples)
    for case, shown, values in zip(cases, examples, filled, strict=True):
        first = generate(model, [task.prompt(case, vocabulary, shown).ids], Choices.of(vocabulary, "y"), limit=4)[0]
        assert values["b"] == vocabulary.decode("y", first.ids)
        second_prompt = task.prompt({**case, "b": values["b"]}, vocabulary, shown)
        second = generate(model, [second_prompt.ids], Choices.of(vocabulary, "x"), limit=4)[0]
        assert values["c"] == vocabulary.decode("x", second.ids)


def test_a_link_that_is_given_for_some_cases_is_written_for_the_others_only(
    make_decoder: Callable[..., Decoder],
) -> None:
    task = Task.parse("go {a:x} via {b:y!} to {c:x!}")
    vocabulary = Vocabulary.build([Units("x", 6), Units("y", 5)], [task])
    model = make_decoder(1, vocabulary_size=vocabulary.size)
    cases = [{"a": [1], "b": [4, 4]}, {"a": [2]}]
    together = fill(model, vocabulary, task, cases, limit=3)
    assert together[0]["b"] == [4, 4]
    assert together == [fill(model, vocabulary, task, [case], limit=3)[0] for case in cases]
    with pytest.raises(InputError, match="2 cases, but examples for 1"):
        fill(model, vocabulary, task, cases, limit=3, examples=[[]])


def test_drafts_and_beams_keep_to_the_limit(make_decoder: Callable[..., Decoder]) -> None:
    model = make_decoder(2)
    with torch.no_grad():  # an end token that comes early, and drafts that go on behind it
        model.head.weight[1] = model.head.weight[5:40].mean(dim=0) + 0.3
    whole = generate(model, [[7, 8]], CHOICES, limit=30)[0]
    assert whole.ended
    for limit in range(len(whole.ids) + 3):
        plain = generate(model, [[7, 8]], CHOICES, limit=limit)[0]
        drafted = generate_with_drafts(
            model, [7, 8], CHOICES, [[*whole.ids, *range(5, 40)]], limit=limit, lookahead=1000
        )
        assert (drafted.continuation.ids, drafted.continuation.ended) == (plain.ids, plain.ended)
        assert all(len(found.ids) <= limit for found in beam_search(model, [[7, 8]], CHOICES, beams=50, limit=limit))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_weights_of_another_type_decode(make_decoder: Callable[..., Decoder], dtype: torch.dtype) -> None:
    lengths = [6, 0, 3, 6]
    rows = generate(make_decoder().to(dtype), PROMPTS, Choices(5, 40, end=None), lengths=lengths)
    assert [len(row.ids) for row in rows] == lengths


def test_decoding_under_autocast_takes_rows_of_unequal_length(decoder: Decoder) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        rows = generate(decoder, PROMPTS, Choices(5, 40, end=None), lengths=[6] * len(PROMPTS))
    assert [len(row.ids) for row in rows] == [6] * len(PROMPTS)


def test_calls_that_make_no_sense_are_refused(decoder: Decoder) -> None:
    with pytest.raises(InputError, match="give a limit"):
        generate(decoder, [[1]], CHOICES)
    with pytest.raises(InputError, match="known lengths need"):
        generate(decoder, [[1]], CHOICES, lengths=[3])
    with pytest.raises(InputError, match="known lengths need"):
        generate(decoder, [[1]], Choices(5, 40, end=None), lengths=[3], limit=2)
    with pytest.raises(InputError, match="a length must not be negative, got -1"):
        generate(decoder, [[1], [2]], Choices(5, 40, end=None), lengths=[-1, 3])
    with pytest.raises(InputError, match="the limit must not be negative, got -3"):
        generate(decoder, [[1]], CHOICES, limit=-3)
    with pytest.raises(InputError, match="none may be empty"):
        generate(decoder, [[1], []], CHOICES, limit=3)
    with pytest.raises(InputError, match="at least one prompt"):
        generate(decoder, [], Choices(5, 40, end=None), lengths=[])
    for foreign in (-1, 40):
        with pytest.raises(InputError, match=rf"id {foreign} at position 1 of prompt 1 is not in 0\.\.39"):
            generate(decoder, [[1], [2, foreign]], CHOICES, limit=3)
    with pytest.raises(InputError, match=r"choices: ids 30\.\.59 and end 1 are not all in the model's 0\.\.39"):
        generate(decoder, [[1]], Choices(30, 60, end=1), limit=3)
    with pytest.raises(InputError, match="lookahead must not be negative"):
        generate_with_drafts(decoder, [1], CHOICES, [], limit=3, lookahead=-1)
    with pytest.raises(InputError, match="beams must be at least 1"):
        beam_search(decoder, [[1]], CHOICES, beams=0, limit=3)
    with pytest.raises(InputError, match="end token"):
        beam_search(decoder, [[1]], Choices(5, 8, end=None), beams=2, limit=3)
    with pytest.raises(InputError, match="outside of the alphabet"):
        generate_with_drafts(decoder, [1], CHOICES, [[2]], limit=3)
