"""A tiny local model from tables to answers, by the commands that a user gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from molregpt.cli import run
from molregpt.data.shipped import sample_pairs
from molregpt.records import Pair

SHORT = sorted(sample_pairs(), key=lambda pair: len(pair.smiles) + len(pair.caption))[:12]
TINY = ["--width", "64", "--layers", "2", "--heads", "2", "--feed-forward-width", "128", "--dropout", "0"]
TINY += ["--batch-rows", "4", "--micro-batch-rows", "4", "--learning-rate", "3e-3", "--warmup-steps", "10"]
TINY += ["--passes", "2", "--shots", "2", "--depth", "4", "--longest", "256", "--checkpoint-every", "40"]


def write_table(path: Path, pairs: list[Pair]) -> Path:
    lines = [f"{pair.key}\t{pair.smiles}\t{pair.caption}\n" for pair in pairs]
    path.write_text("CID\tSMILES\tdescription\n" + "".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows twelve pairs by heart."""
    home = tmp_path_factory.mktemp("local")
    table, watched = write_table(home / "pairs.tsv", SHORT), write_table(home / "held_out.tsv", SHORT[:3])
    molecules = home / "molecules.tsv"
    molecules.write_text("SMILES\n" + "".join(f"{pair.smiles}\n" for pair in SHORT))
    arguments = ["train", "--pairs", str(table), "--held-out", str(watched), "--molecules", str(molecules)]
    arguments += ["--out", str(home / "run"), *TINY, "--steps", "200", "--decay-steps", "50"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOLREGPT_CACHE", str(home / "cache"))
        assert run(arguments) == 0
    return home / "run" / "model"


def answer(folder: Path, command: str, query: str, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    pool = str(folder.parents[1] / "pairs.tsv")
    arguments = [command, query, "--pool", pool, "--backend", str(folder), "--json", "--shots", "2"]
    assert run(arguments + (["--exclude-self"] if command == "caption" else [])) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_what_was_learned_by_heart_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = [answer(folder, "caption", pair.smiles, capsys) for pair in SHORT]
    right = sum(row["caption"] == pair.caption for row, pair in zip(told, SHORT, strict=True))
    assert right >= 10
    assert all(row["origin"] == "model" for row in told)


def test_every_drawn_molecule_can_be_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from molindex.smiles import parse_smiles

    for pair in SHORT[:4]:
        row = answer(folder, "generate", pair.caption + " It is rare.", capsys)
        parse_smiles(str(row["smiles"]))


def test_evaluate_names_the_model_by_its_weights(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = folder.parents[1]
    arguments = ["evaluate", "mol2cap", "--test", str(home / "held_out.tsv"), "--pool", str(home / "pairs.tsv")]
    assert run([*arguments, "--backend", str(folder), "--out", str(tmp_path / "out"), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["origins"]["model"] == 3
    assert scores["settings"]["backend"].startswith("local ")


def test_a_folder_that_is_no_model_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["caption", "CCO", "--backend", str(tmp_path)]) == 2
    assert "not a checkpoint" in capsys.readouterr().err
