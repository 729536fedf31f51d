"""Training examples of the local model: what they show, what they teach, and that they are the same every time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import unitlm.errors
from molindex.smiles import canonical_smiles
from molregpt.data.shipped import sample_pairs
from molregpt.database import Database
from molregpt.errors import InputError
from molregpt.local.corpus import compile_within, make_example, respell, write_molecule_shards, write_pair_shards
from molregpt.local.facts import state_facts
from molregpt.local.language import ALL_TASKS, ANSWERS, TASKS, build_vocabulary, fill_slots
from molregpt.local.settings import CorpusConfig
from molregpt.records import Direction, Pair
from unitlm.shards import Example, ShardSet
from unitlm.vocabulary import Vocabulary

PAIRS = sample_pairs()[:60]
NAMES = {pair.smiles: f"name-{pair.key}" for pair in PAIRS[::2]}
DIRECTIONS: tuple[Direction, ...] = ("mol2cap", "cap2mol")


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return build_vocabulary([pair.caption for pair in PAIRS], [pair.smiles for pair in PAIRS])


def slots_of(direction: Direction, pair: Pair) -> dict[str, object]:
    return dict(fill_slots(direction, pair.smiles, pair.caption, NAMES.get(pair.smiles, "")))


def read(example: Example, vocabulary: Vocabulary) -> tuple[int, list[dict[str, object]]]:
    """Which task line an example is, and its cases."""
    for number, task in enumerate(ALL_TASKS):
        if int(example.ids[1]) == vocabulary.word(task.words[0]):
            return number, [dict(case) for case in task.decode(example.ids.tolist(), vocabulary)]
    raise AssertionError("no task line begins like this")


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_an_example_is_the_pair_after_its_nearest_neighbours(direction: Direction, vocabulary: Vocabulary) -> None:
    config = CorpusConfig(nearest_share=1.0, respelled_share=0.0, unnamed_share=0.0, scrambled_share=0.0, longest=4096)
    example = make_example(direction, PAIRS[0], PAIRS[1:8], NAMES, vocabulary, config, 0, 0)
    assert example is not None
    _, cases = read(example, vocabulary)
    shown = (PAIRS[3], PAIRS[2], PAIRS[1], PAIRS[0])  # the nearest last
    assert cases == [slots_of(direction, pair) for pair in shown]
    unnamed = make_example(direction, PAIRS[0], PAIRS[1:8], {}, vocabulary, config, 0, 0)
    assert unnamed is not None
    _, cases = read(unnamed, vocabulary)
    assert [case.get("name", "") for case in cases] == [""] * 4


def test_some_examples_have_no_names_at_all(vocabulary: Vocabulary) -> None:
    config = CorpusConfig(unnamed_share=0.5, scrambled_share=0.0, longest=4096)
    named = []
    for row in range(40):
        example = make_example("mol2cap", PAIRS[0], PAIRS[2:8:2], NAMES, vocabulary, config, 0, row)
        assert example is not None
        named.append({case["name"] != "" for case in read(example, vocabulary)[1]})
    assert sorted(set(map(tuple, named))) == [(False,), (True,)]
    assert 8 < named.count({True}) < 32


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_scrambled_pieces_are_the_same_throughout_an_example(direction: Direction, vocabulary: Vocabulary) -> None:
    whole = CorpusConfig(longest=4096).without_chance()
    scrambled = replace(whole, scrambled_share=1.0, itself_share=0.0)
    start, stop = vocabulary.span(ANSWERS[direction])
    moved = 0
    for row in range(5):
        plain, other = (
            make_example(direction, PAIRS[row], PAIRS[10:13], NAMES, vocabulary, config, 0, row)
            for config in (whole, scrambled)
        )
        assert plain is not None
        assert other is not None
        outside = (plain.ids < start) | (plain.ids >= stop)
        assert (other.ids[outside] == plain.ids[outside]).all()
        assert set(other.ids[~outside].tolist()) <= set(range(start, stop))
        stands_for = set(zip(plain.ids.tolist(), other.ids.tolist(), strict=True))
        assert len(stands_for) == len(set(plain.ids.tolist())) == len(set(other.ids.tolist()))
        moved += int((other.ids != plain.ids).sum())
        assert other.loss_mask.sum() > plain.loss_mask.sum()  # the neighbours' answers are learned too
    assert moved > 50


def test_scrambled_examples_can_show_the_pair_itself(vocabulary: Vocabulary) -> None:
    config = CorpusConfig(scrambled_share=1.0, itself_share=1.0, respelled_share=0.0, longest=4096)
    for row in range(10):
        example = make_example("mol2cap", PAIRS[0], PAIRS[1:13], NAMES, vocabulary, config, 1, row)
        assert example is not None
        *shown, asked = read(example, vocabulary)[1]
        assert asked in shown


def test_draws_differ_between_passes_and_repeat_with_their_seed(vocabulary: Vocabulary) -> None:
    def draw(seed: int, number: int) -> list[int]:
        config = CorpusConfig(
            nearest_share=0.0, respelled_share=1.0, scrambled_share=0.0, longest=4096, corpus_seed=seed
        )
        example = make_example("mol2cap", PAIRS[0], PAIRS[1:13], NAMES, vocabulary, config, number, 0)
        assert example is not None
        _, cases = read(example, vocabulary)
        assert canonical_smiles(str(cases[-1]["molecule"])) == canonical_smiles(PAIRS[0].smiles)
        return example.ids.tolist()

    assert draw(0, 1) == draw(0, 1)
    assert draw(0, 1) != draw(0, 2)
    assert draw(0, 1) != draw(1, 1)


def test_the_least_similar_neighbours_leave_first(vocabulary: Vocabulary) -> None:
    query, *near = (fill_slots("mol2cap", pair.smiles, pair.caption, NAMES.get(pair.smiles, "")) for pair in PAIRS[:4])
    task = TASKS["mol2cap"]
    lengths = [len(task.compile(query, vocabulary, near[:count]).ids) for count in range(4)]

    def count_shown(longest: int) -> int:
        example = compile_within(task, query, near, vocabulary, longest=longest, learn_examples=False, key="")
        return -1 if example is None else len(read(example, vocabulary)[1]) - 1

    assert [count_shown(length) for length in lengths] == [0, 1, 2, 3]
    assert [count_shown(length - 1) for length in lengths] == [-1, 0, 1, 2]


def test_no_example_shows_its_own_molecule(tmp_path: Path, vocabulary: Vocabulary) -> None:
    pool = Database(PAIRS, cache=tmp_path / "cache")
    config = CorpusConfig(passes=2, rows_per_shard=25, longest=4096, learned_passes=1, scrambled_share=0.0)
    shards = write_pair_shards(tmp_path / "pairs", PAIRS, pool, NAMES, vocabulary, config)
    assert len(shards) == 2 * 2 * 3
    by_key = {pair.key: pair for pair in PAIRS}
    found = ShardSet(*shards)
    seen = 0
    for index in range(len(found)):
        shard = found.load(index)
        for row in range(found.infos[index].rows):
            example = shard[row]
            pair = by_key[example.key]
            _, cases = read(example, vocabulary)
            shown = [canonical_smiles(str(case["molecule"])) for case in cases]
            assert shown[-1] == canonical_smiles(pair.smiles)
            assert shown[-1] not in shown[:-1]
            # learned are the answers of all cases in the first pass, of the query alone in the second
            ends = int((example.ids[example.loss_mask] == vocabulary.end).sum())
            assert ends == (len(cases) if index < len(shards) // 2 else 1)
            seen += 1
    assert seen == 2 * 2 * len(PAIRS)
    before = [path.read_bytes() for path in shards]
    shards[3].unlink()
    assert [
        path.read_bytes() for path in write_pair_shards(tmp_path / "pairs", PAIRS, pool, NAMES, vocabulary, config)
    ] == before


def test_shards_of_other_inputs_are_not_taken_for_these(tmp_path: Path, vocabulary: Vocabulary) -> None:
    """Of the same number: what is held out, names, and molecules alone are known by what they are."""
    pool = Database(PAIRS, cache=tmp_path / "cache")
    config = CorpusConfig(passes=1, longest=4096, learned_passes=1, scrambled_share=0.0)

    def write_pairs(held_out: list[Pair], names: dict[str, str]) -> None:
        write_pair_shards(tmp_path / "pairs", held_out, pool, names, vocabulary, config)

    def write_molecules(smiles: list[str], names: dict[str, str]) -> None:
        write_molecule_shards(tmp_path / "molecules", smiles, names, vocabulary, config)

    for _ in range(2):
        write_pairs(PAIRS[:2], {"C": "methane"})
        write_molecules(["CCN"], {"C": "methane"})
    for held_out, names in ((PAIRS[2:4], {"C": "methane"}), (PAIRS[:2], {"C": "carbane"})):
        with pytest.raises(unitlm.errors.InputError, match="made from other inputs"):
            write_pairs(held_out, names)
    for smiles, names in ((["CCO"], {"C": "methane"}), (["CCN"], {"C": "carbane"})):
        with pytest.raises(unitlm.errors.InputError, match="made from other inputs"):
            write_molecules(smiles, names)


def test_exercises_spell_or_rewrite_and_count(tmp_path: Path, vocabulary: Vocabulary) -> None:
    smiles = ["CCO", "OCCO", "c1ccccc1O"]
    config = CorpusConfig(respelled_share=0.0)
    [path] = write_molecule_shards(tmp_path, smiles, {"CCO": "ethanol"}, vocabulary, config)
    shard = ShardSet(path).load(0)
    read_back = [read(shard[row], vocabulary) for row in range(ShardSet(path).infos[0].rows)]
    # Molecules are dealt out in any order, the exercises of one stay together.
    read_back.sort(key=lambda one: smiles.index(str(one[1][0]["molecule"])))
    assert [number for number, _ in read_back] == [2, 3, 4, 3, 4]
    assert read_back[0][1] == [{"molecule": "CCO", "name": "ethanol"}]
    facts = "C2H6O2; 0 rings, 0 aromatic; 0 stereocentres; alcohol 2"
    assert read_back[2][1] == [{"molecule": "OCCO", "facts": facts}]
    for (_, [case]), molecule in zip(read_back[1::2], smiles[1:], strict=True):
        assert case["molecule"] == molecule
        assert canonical_smiles(str(case["other"])) == canonical_smiles(molecule)


@pytest.mark.parametrize(
    ("smiles", "facts"),
    [
        (
            "CC(=O)OC1=CC=CC=C1C(=O)O",
            "C9H8O4; 1 rings, 1 aromatic; 0 stereocentres; carboxylic acid 1, ester 1, ",
        ),
        ("C[C@H](N)C(=O)[O-]", "C3H6NO2-; 0 rings, 0 aromatic; 1 stereocentres; carboxylic acid 1, primary amine 1"),
        ("[Na+].[Cl-]", "ClNa; 0 rings, 0 aromatic; 0 stereocentres"),
    ],
)
def test_facts_say_what_is_in_a_molecule(smiles: str, facts: str) -> None:
    assert str(state_facts(smiles)).startswith(facts)


def test_no_facts_of_what_is_no_molecule() -> None:
    assert state_facts("C1CC") is None


@given(st.sampled_from(PAIRS), st.integers(0, 2**31 - 1))
def test_another_spelling_is_the_same_molecule(pair: object, seed: int) -> None:
    smiles = pair.smiles  # type: ignore[attr-defined]
    assert canonical_smiles(respell(smiles, seed)) == canonical_smiles(smiles)


@pytest.mark.parametrize(
    "bad", [{"passes": 0}, {"depth": 2, "shots": 3}, {"nearest_share": 1.5}, {"scrambled_share": -0.1}]
)
def test_settings_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match="corpus config: "):
        CorpusConfig(**bad)  # type: ignore[arg-type]
