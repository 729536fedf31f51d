"""The command line as a user runs it: what goes to stdout, what to stderr, and the exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import molregpt.asking
from molregpt.asking import guess_direction
from molregpt.cli import COMMANDS, parse, run
from molregpt.data.shipped import sample_pairs, shipped_pairs
from molregpt.records import Direction

ASPIRIN = "CC(=O)OC1=CC=CC=C1C(=O)O"
COPYING = ("--backend", "neighbour")


@pytest.fixture(autouse=True)
def _cache(index_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOLREGPT_CACHE", str(index_cache))
    monkeypatch.setenv("COLUMNS", "120")


def _write_table(path: Path, start: int, stop: int) -> Path:
    lines = [f"{pair.key}\t{pair.smiles}\t{pair.caption}\n" for pair in sample_pairs()[start:stop]]
    path.write_text("CID\tSMILES\tdescription\n" + "".join(lines))
    return path


def test_caption_as_a_process_prints_one_json_object_and_imports_nothing_heavy(index_cache: Path) -> None:
    code = (
        "import sys; from molregpt.cli import run; status = run(sys.argv[1:]);"
        "heavy = {'torch', 'transformers', 'matplotlib', 'nltk', 'pandas', 'httpx', 'jinja2'} & set(sys.modules);"
        "print(sorted(heavy), file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "caption", ASPIRIN, "--json", "--shots", "3", *COPYING],
        capture_output=True,
        text=True,
        env=os.environ | {"MOLREGPT_CACHE": str(index_cache)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["smiles"] == ASPIRIN
    assert answer["origin"] == "neighbour"
    assert answer["caption"] == answer["neighbours"][0]["caption"]
    assert len(answer["neighbours"]) == 3
    assert done.stderr.splitlines()[-1] == "[]"


def test_caption_prints_the_answer_first_and_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["caption", ASPIRIN, *COPYING]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].startswith("The molecule is ")
    assert lines[0] in {pair.caption for pair in shipped_pairs()}
    assert "Nearest molecules (learned)" in captured.out
    assert captured.err == ""


def test_caption_finds_the_molecule_itself_unless_told_not_to(capsys: pytest.CaptureFixture[str]) -> None:
    pair = shipped_pairs()[17]
    assert run(["caption", pair.smiles, "--json", *COPYING]) == 0
    assert json.loads(capsys.readouterr().out)["neighbours"][0]["key"] == pair.key
    assert run(["caption", pair.smiles, "--json", "--exclude-self", *COPYING]) == 0
    found = json.loads(capsys.readouterr().out)
    assert pair.key not in {near["key"] for near in found["neighbours"]}


def test_generate_finds_the_description_itself_unless_told_not_to(capsys: pytest.CaptureFixture[str]) -> None:
    caption = shipped_pairs()[17].caption
    assert run(["retrieve", caption, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["neighbours"][0]["caption"] == caption
    assert run(["retrieve", caption, "--json", "--exclude-self"]) == 0
    assert caption not in {near["caption"] for near in json.loads(capsys.readouterr().out)["neighbours"]}


def test_generate_answers_with_a_molecule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = _write_table(tmp_path / "pool.tsv", 0, 20)
    text = "The molecule is a steroid ester. It has a role as a plant metabolite."
    assert run(["generate", text, "--json", "--strategy", "char-bm25", "--pool", str(table), *COPYING]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["caption"] == text
    assert answer["smiles"] == answer["neighbours"][0]["smiles"]
    assert answer["strategy"] == "char-bm25"


@pytest.mark.parametrize(
    ("query", "direction"),
    [
        (ASPIRIN, "mol2cap"),
        ("C", "mol2cap"),
        ("[Na+].[Cl-]", "mol2cap"),
        ("C1CC", "mol2cap"),
        ("a steroid", "cap2mol"),
        ("CCO ethanol", "cap2mol"),
        ("penicillin", "cap2mol"),
    ],
)
def test_retrieve_tells_molecules_from_words(query: str, direction: Direction) -> None:
    assert guess_direction(query) == direction


def test_retrieve_searches_by_what_it_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = _write_table(tmp_path / "pool.tsv", 0, 20)
    pair = sample_pairs()[4]
    for query in (pair.smiles, pair.caption):
        assert run(["retrieve", query, "--k", "2", "--pool", str(table), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert len(found["neighbours"]) == 2
        assert found["neighbours"][0]["key"] == pair.key
    for query, scale in ((pair.smiles, "Similarity"), (pair.caption, "Score")):
        assert run(["retrieve", query, "--pool", str(table)]) == 0
        printed = capsys.readouterr().out
        assert pair.key in printed
        assert scale in printed


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["caption", "C1CC"], "not a SMILES that RDKit can read: 'C1CC': SMILES Parse Error: unclosed ring"),
        (["caption", "C(C)(C)(C)(C)C"], "valence"),
        (["caption", ""], "empty"),
        (["caption", "CCO", "--pool", "missing.tsv"], "missing.tsv: no such file"),
        (
            ["caption", "CCO", "--strategy", "bm25"],
            "strategy 'bm25' does not search by molecules; choose one of morgan",
        ),
        (["caption", "CCO", "--backend", "nobody"], "unknown back end 'nobody'"),
        (["caption", "CCO", "--model", "gpt"], "model 'gpt' needs a server"),
        (["caption", "CCO", "--shots", "0", "--backend", "neighbour"], "at least one retrieved example"),
        (["caption", "CCO", "--shots=-1"], "must not be negative"),
        (["generate", " "], "empty"),
        (["generate", "xyzzy qwertz"], "no description of the pool has a word of 'xyzzy qwertz'"),
        (["retrieve", "C1CC"], "unclosed ring"),
        (["evaluate", "mol2cap", "--test", "missing.tsv", "--out", "out"], "missing.tsv: no such file"),
        (["score", "mol2cap", "--test", "missing.tsv", "--predictions", "x", "--out", "out"], "missing.tsv: no such"),
        (["data", "chebi20", "out", "--source", "missing"], "missing: neither train.txt"),
        (["samples", "out", "--count", "0"], "1 to 100 samples"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("molregpt: ")
    assert told in captured.err


def test_a_model_that_fails_is_told_with_its_reasons(chat_server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    chat_server.say("no idea", '{"caption": ""}')
    arguments = ["generate", "a steroid", "--shots", "2", "--backend", chat_server.url, "--model", "tiny"]
    assert run([*arguments, "--repairs", "1"]) == 0
    last = capsys.readouterr().out.splitlines()[-3:]
    endpoint = f"{chat_server.url}/chat/completions"
    assert last[0] == (
        f"copied from the nearest neighbour, as the model gave no answer in 2 attempts (back end: tiny at {endpoint})"
    )
    assert last[1] == "attempt 1: the reply holds no JSON object"
    assert last[2].startswith("attempt 2: the JSON object does not fit the schema")


def test_evaluate_tells_where_a_models_answers_come_from(
    chat_server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test, pool = _write_table(tmp_path / "test.tsv", 0, 3), _write_table(tmp_path / "pool.tsv", 10, 20)
    chat_server.default = chat_server.step(chat_server.body("no idea"))
    chat_server.say('{"smiles": "CCO"}')
    arguments = ["evaluate", "cap2mol", "--test", str(test), "--pool", str(pool), "--out", str(tmp_path / "out")]
    assert run([*arguments, "--backend", chat_server.url, "--model", "tiny", "--repairs", "0"]) == 0
    printed = capsys.readouterr().out
    assert "Answers: 1 passed every check at once, 2 copied from the neighbour" in printed
    assert "max_tokens" not in printed


@pytest.mark.parametrize(("text", "told"), [("c1ccccc1O", True), ("a phenol", False), ("penicillin", False)])
def test_a_molecule_given_to_generate_is_told(text: str, told: bool, capsys: pytest.CaptureFixture[str]) -> None:
    run(["generate", text, "--strategy", "char-bm25", *COPYING])
    note = f"molregpt: {text!r} is a molecule where a description is expected; `caption` describes molecules\n"
    assert capsys.readouterr().err == (note if told else "")


def test_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"molregpt {version('molregpt')}\n"


@pytest.mark.parametrize("arguments", [["caption"], ["caption", "CCO", "--shots", "few"], ["nonsense"], []])
def test_a_wrong_command_line_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().out == ""


def test_a_fault_of_ours_is_status_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(molregpt.asking, "ask", fail)
    assert run(["caption", "CCO"]) == 1
    assert "a fault of the program" in capsys.readouterr().err


def test_every_command_has_help_with_its_options_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--help"])
    assert caught.value.code == 0
    overview = capsys.readouterr().out
    for command in COMMANDS:
        assert f" {command} " in overview
        with pytest.raises(SystemExit) as caught:
            parse([command, "--help"])
        assert caught.value.code == 0
        assert f"molregpt {command}" in capsys.readouterr().out


def test_evaluate_prints_scores_and_writes_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test, first = _write_table(tmp_path / "test.tsv", 0, 6), _write_table(tmp_path / "first.tsv", 10, 20)
    second = _write_table(tmp_path / "second.tsv", 20, 30)
    arguments = ["evaluate", "cap2mol", "--test", str(test), "--pool", str(first), "--pool", str(second)]
    out = tmp_path / "out"
    assert run([*arguments, "--out", str(out), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == json.loads((out / "scores.json").read_text())
    assert {path.name for path in out.iterdir()} == {"config.json", "scores.json", "rows.jsonl", "report.html"}
    assert len((out / "rows.jsonl").read_text().splitlines()) == 6
    assert run([*arguments, "--out", str(out), "--shots", "2"]) == 2
    assert "was begun with shots 10, now it is 2" in capsys.readouterr().err


def test_score_scores_predictions_made_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = _write_table(tmp_path / "test.tsv", 0, 4)
    lines = [f"{pair.key}\t{pair.smiles}\n" for pair in sample_pairs()[:4]]
    (tmp_path / "predictions.tsv").write_text("CID\tsmiles_prediction\n" + "".join(lines))
    arguments = ["score", "cap2mol", "--test", str(test), "--predictions", str(tmp_path / "predictions.tsv")]
    assert run([*arguments, "--out", str(tmp_path / "out"), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["exact"]["value"] == scores["morgan"]["value"] == 1.0
    assert (tmp_path / "out" / "scores.json").exists()


def test_indexes_are_built_ahead_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MOLREGPT_CACHE", str(tmp_path / "cache"))
    table = _write_table(tmp_path / "pool.tsv", 0, 10)
    assert run(["index", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"cache": str(tmp_path / "cache"), "indexes": []}
    assert run(["index", "build", "--pool", str(table)]) == 0
    capsys.readouterr()
    assert run(["index", "show", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["indexes"]
    pools: dict[str, list[str]] = {}
    for index in shown:
        pools.setdefault(index["pool"], []).append(index["name"].partition("_")[0])
    # The table itself, the names of its molecules, and those that ship.
    assert sorted(pools.values()) == [
        ["bm25-char", "bm25-chemistry", "canonical", "morgan-2-2048", "rdkit-0-2048"],
        ["bm25-pieces"],
        ["bm25-pieces", "morgan-2-2048"],
    ]
    assert all(index["size"] > 0 for index in shown)


def test_a_reader_that_goes_away_is_no_error(index_cache: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m molregpt retrieve CCO --k 200 --json | head -c 1; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        env=os.environ | {"MOLREGPT_CACHE": str(index_cache)},
        check=False,
    )
    assert done.stdout == "{"
    assert done.stderr == ""
    assert done.returncode == 0
