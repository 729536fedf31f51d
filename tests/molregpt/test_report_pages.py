"""Pages need nothing but themselves, and nothing that a table or a model says is taken for markup."""

from __future__ import annotations

import json
import random
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molindex.smiles import parse_smiles
from molregpt.backends import BackendOptions
from molregpt.data.shipped import sample_pairs
from molregpt.database import Database
from molregpt.drawing import draw_molecule, shared_atoms
from molregpt.errors import InputError
from molregpt.evaluation.evaluate import evaluate_pairs
from molregpt.evaluation.options import EvaluationOptions
from molregpt.evaluation.results import Evaluation, score_rows
from molregpt.evaluation.rows import EvaluatedRow, Neighbour
from molregpt.evaluation.settings import RunSettings
from molregpt.records import Answer, Direction, Pair, Question
from molregpt.report.plots import plot_similarity
from molregpt.report.run_report import write_run_report
from molregpt.report.samples_page import make_samples
from molregpt.report.views import compare_texts

HOSTILE = "<script>alert('&\"')</script>"
ASPIRIN = "CC(=O)OC1=CC=CC=C1C(=O)O"


class Page(HTMLParser):
    """Tags, addresses and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.said: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def _evaluation(direction: Direction, answers: list[str]) -> tuple[Evaluation, Database]:
    pairs = sample_pairs()[: len(answers)]
    pool = [Pair("n-1", ASPIRIN, f"A neighbour. {HOSTILE}"), Pair(HOSTILE, "CCO", "ethanol")]
    question = Question(direction, "", ())
    rows = [
        EvaluatedRow(
            position, pair.key, question.source_of(pair), question.target_of(pair), Answer(answer, "model", 1),
            baseline=question.target_of(pool[0]), similarity=position / 10,
            neighbours=(Neighbour("n-1", 0.5), Neighbour(HOSTILE, 0.25)),
        )
        for position, (pair, answer) in enumerate(zip(pairs, answers, strict=True))
    ]  # fmt: skip
    settings = RunSettings(direction, "t", "p", f"server {HOSTILE}", "morgan", 2)
    return score_rows(settings, rows), Database(pool)


@pytest.mark.parametrize("direction", ["mol2cap", "cap2mol"])
def test_a_report_is_self_contained_and_escapes_everything(direction: Direction, tmp_path: Path) -> None:
    evaluation, database = _evaluation(direction, [HOSTILE, "CCO", "The molecule is an acid.", ASPIRIN])
    write_run_report(tmp_path / "report.html", evaluation, database)
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert "script" not in page.tags
    assert all(address.startswith("#") for address in page.addresses)
    assert not re.findall(r"https?://(?!www\.w3\.org/)", text)
    assert "@import" not in text
    said = "".join(page.said)
    assert HOSTILE in said  # shown, as text
    for score in evaluation.scores.metrics().values():
        assert f"{score.value:.3f}" in said or f"{score.value:.1f}" in said
    if direction == "cap2mol":
        assert "not a molecule that RDKit can read" in said
        assert f"{evaluation.scores.as_json()['invalid_predictions']}invalid answers" in said.replace("\n", "")


def test_settings_of_a_server_stand_at_the_end_of_a_report_alone(tmp_path: Path) -> None:
    evaluation, database = _evaluation("cap2mol", ["CCO"])
    identity = 'tiny at http://127.0.0.1:1/v1/chat/completions {"max_tokens":512}'
    evaluation = replace(evaluation, settings=replace(evaluation.settings, backend=identity))
    write_run_report(tmp_path / "report.html", evaluation, database)
    said = "".join(Page((tmp_path / "report.html").read_text()).said)
    assert "Answered by tiny at http://127.0.0.1:1/v1/chat/completions, grounded" in said
    assert "tinyback end" in said
    assert said.count("max_tokens") == 1
    assert said.index("max_tokens") > said.index("Where answers come from")


def test_a_report_shows_the_worst_rows_first_and_is_the_same_every_time(tmp_path: Path) -> None:
    pairs = sample_pairs()[:12]
    answers = [pair.smiles if number % 3 else "C" for number, pair in enumerate(pairs)]
    evaluation, database = _evaluation("cap2mol", answers)
    for name in ("one.html", "two.html"):
        write_run_report(tmp_path / name, evaluation, database)
    text = (tmp_path / "one.html").read_text()
    assert text == (tmp_path / "two.html").read_text()
    shown = re.findall(r'<header><span class="number">(\d+)</span>', text)
    assert len(shown) == 8
    assert set(shown[:4]) == {"1", "4", "7", "10"}
    assert text.count("exact match") >= 4


def test_samples_are_drawn_by_seed_and_scored_over_all(
    tmp_path: Path, index_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOLREGPT_CACHE", str(index_cache))
    described, proposed = make_samples(tmp_path, "neighbour", BackendOptions(), shots=3, count=2, seed=5)
    assert len(described.rows) == len(proposed.rows) == len(sample_pairs())
    text = (tmp_path / "index.html").read_text()
    drawn = re.findall(r'<header><span class="number">(\d+)</span>', text)
    assert drawn == 2 * [str(row + 1) for row in sorted(random.Random(5).sample(range(100), 2))]
    scores = json.loads((tmp_path / "mol2cap" / "scores.json").read_text())
    assert f"{scores['rougeL']['value']:.3f}" in text
    assert text.count('class="molecule"') >= 2 * (1 + 3) + 2 * (2 + 3)
    assert all(address.startswith("#") for address in Page(text).addresses)
    with pytest.raises(InputError, match="1 to 100 samples"):
        make_samples(tmp_path, "neighbour", BackendOptions(), count=101)


def test_a_drawing_is_well_formed_and_follows_the_theme() -> None:
    svg = draw_molecule(ASPIRIN, label=HOSTILE)
    assert svg is not None
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == HOSTILE
    assert "var(--atom-oxygen,#FF0000)" in svg
    assert "--atom-shared" not in svg
    # joining paths loses no line: 13 bonds, of which 5 are double and 4 change colour on the way
    plain = draw_molecule("C1CCCCC1")
    assert plain is not None
    assert plain.count("<path") == 1
    assert draw_molecule("C1CC") is None


def test_shared_surroundings_are_marked() -> None:
    ring, salicylic = parse_smiles("c1ccccc1CCCCN"), parse_smiles("c1ccccc1CCCCCl")
    atoms, bonds = shared_atoms(ring, salicylic)
    assert set(range(6)) <= set(atoms)  # the ring
    assert ring.GetNumAtoms() - 1 not in atoms  # the nitrogen
    assert atoms == sorted(atoms)
    assert bonds == sorted(bonds)
    assert shared_atoms(ring, parse_smiles("FS(F)(F)F")) == ([], [])
    svg = draw_molecule("c1ccccc1CCCCN", like="c1ccccc1CCCCCl")
    assert svg is not None
    assert "--atom-shared" in svg


words = st.lists(st.sampled_from(["a", "steroid", "acid", "that", "is", "\n", "  ", "é"]), max_size=14).map(" ".join)


@given(words, words)
def test_compared_pieces_are_the_answer_and_shared_ones_are_in_the_reference(answer: str, reference: str) -> None:
    pieces = compare_texts(answer, reference)
    assert "".join(piece.text for piece in pieces) == answer
    for piece in pieces:
        if piece.shared:
            assert len(piece.text.split()) >= 3
            assert " ".join(piece.text.split()) in " ".join(reference.split())


def test_a_plot_hides_no_row_from_its_means() -> None:
    svg = plot_similarity([0.1, 0.2, 0.9], [0.3, 0.4, 0.5], [0.1, 0.1, 0.1], x_label="near <&", y_label="good")
    root = ElementTree.fromstring(svg)
    assert "near <&" in "".join(root.itertext())
    assert "var(--accent)" in svg
    assert "http" not in svg
    same = [0.5] * 4000
    assert plot_similarity(same, same, same, x_label="x", y_label="y").count("<use") < 4000


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be used as a run folder"):
        evaluate_pairs(
            "mol2cap", sample_pairs()[:2], Database(sample_pairs()[2:9], cache=tmp_path), tmp_path / "file",
            "neighbour", EvaluationOptions(), BackendOptions(),
        )  # fmt: skip
