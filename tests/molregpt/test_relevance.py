"""How alike answers are, what can be checked of them, and how much a neighbour's answer is worth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from molindex.smiles import parse_smiles
from molregpt.assets import asset
from molregpt.cli import run
from molregpt.data.shipped import sample_pairs, shipped_pairs
from molregpt.database import Database
from molregpt.errors import InputError
from molregpt.records import DIRECTIONS, Direction, Example, Pair
from molregpt.relevance import network
from molregpt.relevance.checks import check_properties
from molregpt.relevance.figures import describe_neighbours
from molregpt.relevance.likeness import caption_similarities, count_word_ngrams, molecule_similarities
from molregpt.relevance.molecules import compare_scored, profile_molecule
from molregpt.relevance.network import ASSET, Network, Relevance, parse_relevance, shipped_relevance
from molregpt.retrieval.strategies import STANDARD, create_retriever

CAPTION = "The molecule is a monocarboxylic acid and a member of phenols."


def leave_unnamed(_smiles: str) -> str:
    return ""


def test_captions_are_alike_by_their_ngrams() -> None:
    other = "It has a role as an antibacterial agent."
    table = caption_similarities([CAPTION, CAPTION.upper()], [CAPTION, other])
    assert table.shape == (2, 2)
    assert table[0, 0] == table[1, 0] == 1.0
    assert 0.0 < table[0, 1] < 0.2
    # words a b against a c: one of two words, none of the pairs; both lack longer n-grams
    assert caption_similarities(["a b"], ["a c"])[0, 0] == pytest.approx((0.5 + 0.0 + 1.0 + 1.0) / 4)
    assert caption_similarities(["a"], []).shape == (1, 0)


@given(st.lists(st.text("ab c", max_size=12), min_size=1, max_size=4))
def test_similarity_of_captions_is_symmetric_and_bounded(texts: list[str]) -> None:
    table = caption_similarities(texts, texts)
    assert (table == table.T).all()
    assert ((table >= 0.0) & (table <= 1.0)).all()
    assert (table.diagonal() == 1.0).all()


def test_molecules_are_alike_by_their_fingerprints() -> None:
    table = molecule_similarities(["CCO", "c1ccccc1"], ["OCC", "CCCO", "c1ccccc1"])
    assert table[0, 0] == table[1, 2] == 1.0
    assert table[0, 2] < table[0, 1] < 1.0


@pytest.mark.parametrize(
    ("caption", "smiles", "share"),
    [
        ("The molecule is a chlorobenzene.", "Clc1ccccc1", 1.0),
        ("The molecule is a chlorobenzene.", "Brc1ccccc1", 0.5),
        ("The molecule is an organofluorine compound.", "FC(F)F", 1.0),
        ("The molecule is a monocarboxylic acid anion. It is a conjugate base of an acetic acid.", "CC(=O)[O-]", 1.0),
        ("The molecule is a monocarboxylic acid anion. It is a conjugate base of an acetic acid.", "CC(=O)O", 0.0),
        ("The molecule is a citrate(3-).", "OC(CC([O-])=O)(CC([O-])=O)C([O-])=O", 1.0),
        ("The molecule is a citrate(3-).", "OC(CC([O-])=O)(CC([O-])=O)C(O)=O", 0.0),
        ("The molecule is an ammonium ion, an organic cation.", "C[NH3+]", 1.0),
        ("The molecule is a zwitterion. It is a conjugate base of a glycinium.", "[NH3+]CC([O-])=O", 1.0),
        ("The molecule is an alkane.", "CC", 1.0),
    ],
)
def test_what_a_caption_says_of_elements_and_charge_is_checked(caption: str, smiles: str, share: float) -> None:
    assert check_properties(caption, parse_smiles(smiles)) == share


@given(st.text("ab ,", max_size=12), st.text("ab ,", max_size=12))
def test_overlap_of_captions_is_that_of_their_multisets(left: str, right: str) -> None:
    expected = []
    for one, other in zip(count_word_ngrams(left), count_word_ngrams(right), strict=True):
        total = one.total() + other.total()
        expected.append(2.0 * (one & other).total() / total if total else 1.0)
    assert caption_similarities([left], [right])[0, 0] == pytest.approx(np.mean(expected))


def test_profiles_compare_as_the_molecules_do() -> None:
    smiles = ["CCO", "CCCO", "c1ccccc1", "CC(=O)Oc1ccccc1C(=O)O"]
    profiles = [profile_molecule(one, "") for one in smiles]
    assert compare_scored(profiles, profiles[:2]) == pytest.approx(molecule_similarities(smiles, smiles[:2]))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_figures_are_of_the_readable_neighbours(direction: Direction) -> None:
    pairs = sample_pairs()[:6]
    query = pairs[0].smiles if direction == "mol2cap" else pairs[0].caption
    broken = Example(Pair("x", "C1CC", "The molecule is broken."), 0.5)
    found = [Example(pair, 1.0 / rank) for rank, pair in enumerate(pairs, start=1)]
    described = describe_neighbours(direction, query, [found[0], broken, *found[1:]], leave_unnamed)
    assert described.examples == tuple(found)
    assert len(described.figures) == 6
    assert described.among.diagonal() == pytest.approx(1.0)
    assert np.isfinite(described.figures).all()
    # The query beside itself is as alike as can be.
    likeness = slice(1, 9) if direction == "mol2cap" else slice(2, 9)
    assert described.figures[0, likeness] == pytest.approx(1.0)
    assert (described.figures[1:, likeness] <= 1.0).all()
    assert describe_neighbours(direction, query, [broken], leave_unnamed).examples == ()


def test_the_network_computes_what_torch_computes() -> None:
    generator = torch.Generator().manual_seed(0)
    layers = [torch.nn.Linear(5, 8), torch.nn.Linear(8, 8), torch.nn.Linear(8, 1)]
    figures = torch.randn(7, 5, generator=generator)
    mean, scale = np.full(5, 0.5, np.float32), np.full(5, 2.0, np.float32)
    weights = [layer.weight.detach().numpy() for layer in layers]
    biases = [layer.bias.detach().numpy() for layer in layers]
    network = Network(mean, scale, (weights[0], weights[1], weights[2]), (biases[0], biases[1], biases[2]))
    model = torch.nn.Sequential(layers[0], torch.nn.SiLU(), layers[1], torch.nn.SiLU(), layers[2], torch.nn.Sigmoid())
    expected = model((figures - 0.5) / 2.0)[:, 0].detach().numpy()
    assert network.estimate(figures.double().numpy()) == pytest.approx(expected, abs=1e-6)


def test_a_file_of_relevance_is_read_back_and_others_are_refused(tmp_path: Path) -> None:
    shipped = shipped_relevance()
    shipped.save(tmp_path / "copy.safetensors")
    copy = parse_relevance((tmp_path / "copy.safetensors").read_bytes(), "copy")
    for direction in DIRECTIONS:
        figures = np.random.default_rng(0).normal(size=(3, len(shipped.networks[direction].mean)))
        assert (copy.networks[direction].estimate(figures) == shipped.networks[direction].estimate(figures)).all()
    for wrong in (b"", b"x" * 100, (tmp_path / "copy.safetensors").read_bytes()[:-8]):
        with pytest.raises(InputError, match=r"here: not a file of `molregpt relevance`"):
            parse_relevance(wrong, "here")


def test_a_file_of_other_figures_is_refused_and_what_was_learned_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    data = asset(ASSET).read_bytes()
    shipped = parse_relevance(data, "shipped")
    first = shipped.networks["mol2cap"]
    other = Relevance({**shipped.networks, "mol2cap": replace(first, mean=first.mean + 1.0)})
    assert shipped.digest == parse_relevance(data, "again").digest != other.digest
    monkeypatch.setattr(network, "FORMAT", 2)
    with pytest.raises(InputError, match="here: version 1 of the figures; this program knows 2"):
        parse_relevance(data, "here")


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Database:
    return Database(shipped_pairs(), cache=tmp_path_factory.mktemp("pool"))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_what_ships_finds_better_answers_than_the_standard_strategy(direction: Direction, pool: Database) -> None:
    """On the hundred test questions, which were not learned from."""
    overlaps: dict[str, list[float]] = {}
    for name in (STANDARD[direction], "learned"):
        retriever = create_retriever(name, pool, direction)
        for pair in sample_pairs():
            query = pair.smiles if direction == "mol2cap" else pair.caption
            [best] = retriever.retrieve(query, 1, pool.rows_of(smiles=pair.smiles))
            if direction == "mol2cap":
                overlap = caption_similarities([best.pair.caption], [pair.caption])
            else:
                overlap = molecule_similarities([best.pair.smiles], [pair.smiles])
            overlaps.setdefault(name, []).append(float(overlap[0, 0]))
    means = {name: float(np.mean(values)) for name, values in overlaps.items()}
    assert means["learned"] > means[STANDARD[direction]] + 0.01


def test_sorted_neighbours_are_the_same_ones(pool: Database) -> None:
    query = sample_pairs()[0].smiles
    found = create_retriever("morgan", pool, "mol2cap").retrieve(query, 20)
    learned = create_retriever("learned", pool, "mol2cap").retrieve(query, 20)
    assert {one.pair.key for one in learned} == {one.pair.key for one in found}
    expected = [one.similarity for one in learned]
    assert expected == sorted(expected, reverse=True)
    assert all(0.0 <= value <= 1.0 for value in expected)
    assert create_retriever("learned", pool, "mol2cap").retrieve(query, 3) == learned[:3]


def test_the_command_learns_which_of_twins_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two kinds of molecules and captions; a neighbour of the same kind has the whole answer."""
    rows = [(f"a{n}", "C" * n + "O", "It is an alcohol.") for n in range(3, 33)]
    rows += [(f"b{n}", "C" * n + "Cl", "A chloride that is toxic.") for n in range(3, 33)]
    table, held_out = tmp_path / "pairs.tsv", tmp_path / "held_out.tsv"
    for path, kept in ((table, rows[::2] + rows[1::4]), (held_out, rows[3::4])):
        path.write_text("CID\tSMILES\tdescription\n" + "".join("\t".join(row) + "\n" for row in kept))
    arguments = ["relevance", str(tmp_path / "out"), "--pairs", str(table), "--held-out", str(held_out)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOLREGPT_CACHE", str(tmp_path / "cache"))
        assert run([*arguments, "--epochs", "20", "--batch", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["mol2cap", "cap2mol"]
    assert "of the chosen 1.0000" in lines[0]
    assert isinstance(parse_relevance((tmp_path / "out").read_bytes(), "out"), Relevance)
    assert run([*arguments[:-2], "--held-out", str(tmp_path / "absent.tsv")]) == 2
