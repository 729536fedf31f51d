"""Weights carried over to another vocabulary: what says the same, what it begins as, and what stays as it was."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unitlm.alphabet import Alphabet, Bytes, Pieces, Smiles, Units
from unitlm.carrying import carry_weights, trace_ids
from unitlm.generate import generate
from unitlm.model import Decoder, ModelConfig
from unitlm.sampling import Choices
from unitlm.vocabulary import Vocabulary

LINES = ["the train arrives at ten", "the bus arrives at nine", "火车十点到", "le train arrive à dix heures"] * 3


@cache
def vocabulary(pieces: int, units: int = 9, *words: str) -> Vocabulary:
    text = Pieces.train("text", LINES, pieces)
    return Vocabulary([Units("units", units), text, Smiles("smiles", ["[nH]"])], words or ("say", "as"))


def make_model(size: int, seed: int, *, tied: bool = True) -> Decoder:
    config = ModelConfig(
        vocabulary_size=size, width=16, layers=2, heads=2, key_value_heads=2, feed_forward_width=32, tied=tied
    )
    model = Decoder(config)
    model.reset_parameters(torch.Generator().manual_seed(seed))
    return model.eval()


@pytest.mark.parametrize("tied", [True, False])
def test_with_the_same_vocabulary_all_stays(tied: bool) -> None:
    ids = vocabulary(300)
    assert trace_ids(ids, ids) == [[index] for index in range(ids.size)]
    mine, fresh = (make_model(ids.size, seed, tied=tied).state_dict() for seed in (0, 1))
    carried = carry_weights(mine, fresh, ids, ids)
    assert carried.keys() == mine.keys()
    for name, value in mine.items():
        torch.testing.assert_close(carried[name], value, rtol=0, atol=0)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from([256, 270, 330]), st.sampled_from([256, 330]))
def test_pieces_are_spelled_by_the_bytes_that_they_are(text: str, before: int, after: int) -> None:
    old, new = vocabulary(before), vocabulary(after)
    traced = trace_ids(new, old)
    spelled = [part for index in new.encode("text", text) for part in traced[index]]
    assert old.decode("text", spelled) == text


def test_marks_words_and_units_are_found_by_what_they_say() -> None:
    old, new = vocabulary(300), vocabulary(320, 12, "sing", "as", "say")
    traced = trace_ids(new, old)
    assert len(traced) == new.size
    assert [traced[new.word(word)] for word in ("say", "as", "sing")] == [[old.word("say")], [old.word("as")], []]
    assert traced[new.end] == [old.end]
    assert traced[new.opening("text")] == [old.opening("text")]
    units, had = new.span("units"), old.span("units")
    assert traced[slice(*units)] == [[index] for index in range(*had)] + [[], [], []]


@pytest.mark.parametrize(
    ("new", "old", "said", "spelled"),
    [
        (Bytes("text"), Bytes("text"), "é", [[195], [169]]),
        (Smiles("text", ["[nH]", "Cl"]), Smiles("text", ["Cl"]), "Cl[nH]", [[94], [58, 77, 39, 60]]),
        (Bytes("text"), Units("text", 256), "a", [[]]),
        (Units("text", 3), Bytes("text"), [1], [[]]),
        (Pieces.train("text", LINES, 256), Bytes("text"), "a", [[]]),
        (Smiles("text"), Bytes("text"), "C", [[]]),
    ],
)
def test_each_kind_is_spelled_in_its_own(new: Alphabet, old: Alphabet, said: str, spelled: list[list[int]]) -> None:
    assert [new.spell(index, old) for index in new.encode(said)] == spelled


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_goes_on_writing_units_as_before_and_new_pieces_are_means(tied: bool) -> None:
    old, new = vocabulary(270), vocabulary(330, 9, "as", "say", "sing")
    before = make_model(old.size, 0, tied=tied)
    after = make_model(new.size, 1, tied=tied)
    fresh = {name: value.clone() for name, value in after.state_dict().items()}
    after.load_state_dict(carry_weights(before.state_dict(), fresh, new, old))

    def write(model: Decoder, ids: Vocabulary) -> list[int]:
        prompt = [ids.begin, ids.word("say"), ids.opening("units"), *ids.encode("units", [3, 1, 4]), ids.end]
        [said] = generate(model, [prompt], Choices.of(ids, "units", known_length=True), lengths=[12])
        return list(ids.decode("units", said.ids))  # type: ignore[arg-type]

    assert write(after, new) == write(before, old)
    table = after.embedding.weight
    assert torch.equal(table[new.word("sing")], fresh["embedding.weight"][new.word("sing")])
    several = [
        (index, parts)
        for index, parts in enumerate(trace_ids(new, old))
        if len(parts) > 1 and index >= new.span("text")[0]
    ]
    assert several
    for index, parts in several:
        torch.testing.assert_close(table[index], before.embedding.weight[parts].mean(dim=0))
