"""The model that ships: small, to the point, and never an unreadable molecule."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from molregpt.backends import create_backend
from molregpt.cli import run
from molregpt.data.shipped import sample_pairs, shipped_pairs
from molregpt.database import Database
from molregpt.local.model import load_local_model
from molregpt.local.shipped import shipped_model
from molregpt.records import Direction, Question
from molregpt.relevance.likeness import caption_similarities, molecule_similarities
from molregpt.retrieval.strategies import create_retriever

QUESTIONS = sample_pairs()[:32]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Database:
    return Database(shipped_pairs(), cache=tmp_path_factory.mktemp("pool"))


def test_it_is_small_and_says_what_it_was_made_of() -> None:
    folder = shipped_model()
    assert sum(path.stat().st_size for path in folder.iterdir()) < 24e6
    model = load_local_model(folder)
    assert sum(value.numel() for value in model.decoder.parameters()) < 25e6
    assert {"pairs", "molecules", "names", "steps", "held_out_loss", "ranking", "composing"} <= set(model.card)
    assert "2,800 rows" in (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["mol2cap", "cap2mol"])
def test_its_answers_are_nearer_to_the_right_ones_than_to_those_of_other_questions(
    direction: Direction, pool: Database
) -> None:
    """On test rows of ChEBI-20; how much nearer than copied ones is too much to ask of twelve."""
    retriever, backend = create_retriever("learned", pool, direction), create_backend("local")
    said, wanted = [], []
    for pair in QUESTIONS[:12]:
        query, right = (pair.smiles, pair.caption) if direction == "mol2cap" else (pair.caption, pair.smiles)
        question = Question(direction, query, tuple(retriever.retrieve(query, 10, pool.rows_of(smiles=pair.smiles))))
        said.append(asyncio.run(backend.answer(question)).text)
        wanted.append(right)
    compare = caption_similarities if direction == "mol2cap" else molecule_similarities
    table = compare(said, wanted)
    others = table[~np.eye(len(table), dtype=bool)]
    assert table.diagonal().mean() > others.mean() + 0.15


def test_it_answers_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "pool.tsv"
    table.write_text(
        "CID\tSMILES\tdescription\n" + "".join(f"{one.key}\t{one.smiles}\t{one.caption}\n" for one in QUESTIONS[:30])
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOLREGPT_CACHE", str(tmp_path / "cache"))
        assert run(["caption", QUESTIONS[30].smiles, "--pool", str(table), "--json", "--backend", "local"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["backend"].startswith("local ")
    assert answer["strategy"] == "learned"
    assert answer["caption"].startswith("The molecule is ")
