"""A tiny local model from tables to answers, by the commands that a user gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from molregpt.cli import run
from molregpt.data.shipped import sample_pairs
from molregpt.local.language import TASKS, fill_slots
from molregpt.local.model import load_local_model
from molregpt.records import Pair, Question
from unitlm.checkpoint import read_manifest

SHORT = sorted(sample_pairs(), key=lambda pair: len(pair.smiles) + len(pair.caption))[:12]
TINY = ["--width", "64", "--layers", "2", "--heads", "2", "--feed-forward-width", "128", "--dropout", "0"]
TINY += ["--batch-rows", "4", "--micro-batch-rows", "4", "--learning-rate", "3e-3", "--warmup-steps", "10"]
TINY += ["--passes", "2", "--shots", "2", "--depth", "4", "--longest", "256", "--checkpoint-every", "40"]
TINY += ["--recital-steps", "0", "--scrambled-share", "0"]  # they learn by heart


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
    # With two neighbours that say otherwise, what is put together need not be the first answer, word for word.
    assert sum(row["origin"] == "model" for row in told) >= 10


def test_every_drawn_molecule_can_be_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from molindex.smiles import parse_smiles

    for pair in SHORT[:4]:
        row = answer(folder, "generate", pair.caption + " It is rare.", capsys)
        parse_smiles(str(row["smiles"]))


def test_molecules_lead_back_to_the_caption_as_the_whole_sequence_says(folder: Path) -> None:
    model = load_local_model(folder)
    caption, molecules = SHORT[0].caption, [pair.smiles for pair in SHORT[:4]]
    for smiles, told in zip(molecules, model.round_trip(caption, molecules), strict=True):
        whole = TASKS["mol2cap"].compile(fill_slots("mol2cap", smiles, caption, ""), model.vocabulary)
        ids, learned = torch.tensor(whole.ids), torch.tensor(whole.loss_mask)
        with torch.inference_mode():
            gains = model.decoder(ids[None, :-1])[0].log_softmax(dim=-1)[torch.arange(len(ids) - 1), ids[1:]]
        assert told == pytest.approx(float(gains[learned[1:]].mean()), abs=0.05)  # answered with 8-bit weights


def test_evaluate_names_the_model_by_its_weights(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = folder.parents[1]
    arguments = ["evaluate", "mol2cap", "--test", str(home / "held_out.tsv"), "--pool", str(home / "pairs.tsv")]
    assert run([*arguments, "--backend", str(folder), "--out", str(tmp_path / "out"), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["origins"]["model"] >= 2
    assert sum(scores["origins"].values()) == 3
    assert scores["settings"]["backend"].startswith("local ")


def test_training_goes_on_from_a_finished_model(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # What was said of another molecule, which the base does not say of this one.
    own = [Pair(pair.key, pair.smiles, other.caption) for pair, other in zip(SHORT[:4], SHORT[4:8], strict=True)]
    table = write_table(tmp_path / "pairs.tsv", own)
    arguments = ["train", "--pairs", str(table), "--held-out", str(table), "--base", str(folder), "--dropout", "0"]
    course = [
        "--steps",
        "40",
        "--decay-steps",
        "10",
        "--warmup-steps",
        "5",
        "--learning-rate",
        "3e-3",
        "--batch-rows",
        "4",
    ]
    corpus = ["--micro-batch-rows", "4", "--passes", "2", "--shots", "2", "--depth", "4", "--longest", "256"]
    corpus += ["--scrambled-share", "0"]
    assert run([*arguments, "--out", str(tmp_path / "run"), *course, *corpus]) == 0
    capsys.readouterr()
    ours = tmp_path / "run" / "model"
    told = [answer(ours, "caption", pair.smiles, capsys)["caption"] for pair in own]
    assert sum(said == pair.caption for said, pair in zip(told, own, strict=True)) >= 3
    before, after = read_manifest(folder), read_manifest(ours)
    assert after["config"] == before["config"]  # of the base, though the options would make another shape
    assert after["metadata"]["base"] == load_local_model(folder).digest
    without = [word for word in arguments if word not in ("--base", str(folder))]
    assert run([*without, "--out", str(tmp_path / "run"), *course, *corpus]) == 2
    assert "as its base, not none" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["lora", "prompt"])
def test_an_adapter_learns_what_the_base_does_not_know(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    # The user's own wording, which is in no caption of the base.
    own = [Pair(pair.key, pair.smiles, f"Sample {pair.key} of our cupboard.") for pair in SHORT[:4]]
    table = write_table(tmp_path / "own.tsv", own)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    arguments = ["adapt", "--base", str(folder), "--pairs", str(table), "--held-out", str(table)]
    arguments += ["--out", str(tmp_path / "out"), "--method", method, "--rank", "16", "--prompt-length", "4"]
    rate = {"lora": "5e-3", "prompt": "2e-2"}[method]
    assert run([*arguments, "--steps", "60", "--batch-rows", "1", "--learning-rate", rate]) == 0
    adapted = capsys.readouterr().out.strip()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    local = load_local_model(Path(adapted))
    [tokens] = [local.read(Question("mol2cap", own[0].smiles, ())).ids]
    assert (tokens[0] >= local.vocabulary.size) == (method == "prompt")
    scores = {}
    for name, model in (("base", load_local_model(folder)), ("adapted", local)):
        trips = [model.round_trip(pair.caption, [pair.smiles])[0] for pair in own]
        scores[name] = sum(trips) / len(trips)
    assert scores["adapted"] > scores["base"] + 0.5
    assert run(["caption", own[0].smiles, "--pool", str(table), "--backend", adapted, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["caption"]


def test_an_adapter_is_refused_on_an_adapter(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_table(tmp_path / "own.tsv", SHORT[:3])
    arguments = ["adapt", "--pairs", str(table), "--held-out", str(table), "--out", str(tmp_path / "out")]
    assert run([*arguments, "--base", str(folder), "--steps", "1", "--batch-rows", "1"]) == 0
    adapted = capsys.readouterr().out.strip()
    assert run([*arguments[:-1], str(tmp_path / "again"), "--base", adapted]) == 2
    assert "adapt its base" in capsys.readouterr().err


def test_tuning_improves_the_score_it_tunes_and_is_kept_in_the_card(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    from molregpt.local.model import TUNED, load_local_model
    from molregpt.local.training import with_tuning
    from molregpt.local.tuning import tune

    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    pool, other = (
        write_table(tmp_path / "pool.tsv", SHORT),
        [
            Pair(pair.key, pair.smiles, pair.caption)
            for pair in sorted(sample_pairs(), key=lambda pair: len(pair.smiles))
        ],
    )
    watched = write_table(tmp_path / "watched.tsv", [pair for pair in other if pair not in SHORT][:6])
    found = tune(copy, [pool], watched, rows=6, seed=0)
    tuned_model = load_local_model(copy)
    for stage, tuned in found.molecules.items():
        assert tuned.before <= tuned.after <= tuned.best_possible + 1e-9
        assert tuned_model.weights(stage) == tuned.weights
    assert found.captions.before <= found.captions.after
    assert tuned_model.composing.model == found.captions.share
    assert run(["caption", SHORT[0].smiles, "--pool", str(pool), "--backend", str(copy), "--json"]) == 0
    # The training that made it may be given again; another one of the same place begins anew.
    card = {key: value for key, value in tuned_model.card.items() if key not in TUNED}
    assert with_tuning(copy, card) == tuned_model.card
    assert with_tuning(copy, {**card, "steps": 0}) == {**card, "steps": 0}


@pytest.mark.parametrize(
    ("entry", "command", "told"),
    [
        ({"composing": {"trust": 1.0}}, "caption", "the model's card: composing"),
        ({"composing": {"model": 1.5}}, "caption", "a share of 1.5 is not between 0 and 1"),
        ({"ranking": {"cap2mol": {"trust": 1.0}}}, "generate", "the model's card: ranking of cap2mol"),
    ],
)
def test_a_damaged_card_is_told_and_not_answered_by_a_copy(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    entry: dict[str, object],
    command: str,
    told: str,
) -> None:
    import shutil

    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    manifest = json.loads((copy / "checkpoint.json").read_text())
    manifest["metadata"] |= entry
    (copy / "checkpoint.json").write_text(json.dumps(manifest))
    pool, query = str(folder.parents[1] / "pairs.tsv"), SHORT[0].smiles if command == "caption" else SHORT[0].caption
    assert run([command, query, "--pool", pool, "--backend", str(copy)]) == 2
    assert told in capsys.readouterr().err


def test_a_folder_that_is_no_model_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["caption", "CCO", "--backend", str(tmp_path)]) == 2
    assert "not a checkpoint" in capsys.readouterr().err
