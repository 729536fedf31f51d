"""The units and codes that ship: they train the stages, fit the bundle that ships, and hold nothing of its tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polyvoice.bundle import load
from polyvoice.bundle.shipped import shipped_bundle
from polyvoice.cli.main import run
from polyvoice.corpus.asterisk import read_test_ids
from polyvoice.corpus.manifest import read_manifest
from polyvoice.corpus.speak.voices import TEST_VOICES
from polyvoice.spoken import load_training_pairs
from speechunits.extracted import read_extracted

FOLDER = Path(__file__).parents[2] / "polyvoice" / "first-corpus"


@pytest.mark.parametrize(
    ("name", "table", "shards"),
    [
        ("translate", "last-training/pairs", "last-training/units"),
        ("duration", "pairs", "units"),
        # The first level has gone on from there, on more speech.
        ("other_levels", "spoken", "extracted"),
    ],
)
def test_it_is_what_the_bundle_was_trained_on(name: str, table: str, shards: str) -> None:
    manifest = load(shipped_bundle()).manifest
    with_codes = name == "other_levels"
    info, _ = read_extracted(FOLDER / shards)
    assert info.units == manifest.units
    assert info.codes == (manifest.codes if with_codes else None)
    train, dev = load_training_pairs(FOLDER / f"{table}.tsv", FOLDER / shards, with_codes=with_codes)
    assert len(train) == manifest.stages[name].trained_on.pairs
    assert dev
    spoken = [pair for pair in train if pair.source.runs is not None]
    assert all(np.ptp(pair.source.runs.units) < manifest.units.clusters for pair in spoken if pair.source.runs)


@pytest.mark.parametrize("table", ["pairs", "spoken", "last-training/pairs"])
def test_nothing_of_the_tests_is_learned(table: str) -> None:
    rows = read_manifest(FOLDER / f"{table}.tsv")
    train = [row for row in rows if row.split == "train"]
    # Those of the last training are the ones of all pairs.
    whole = read_manifest(FOLDER / "pairs.tsv") if table == "last-training/pairs" else rows
    held_out = {(row.source_lang, row.source_text) for row in whole if row.split == "test"}
    assert held_out
    assert not held_out & {(row.source_lang, row.source_text) for row in train}
    assert not {row.speaker for row in train} & set(TEST_VOICES)
    # A prompt may be there faster, or in pieces: agent-user.es.0.9, agent-user.2.es.1.0.
    prompts = {
        Path(row.source_audio).name.split(".")[0] for row in train if row.speaker == "allison" and row.source_audio
    }
    assert prompts
    assert not prompts & {name for key in read_test_ids() for name in (key.rpartition("/")[2], key.replace("/", "_"))}


def test_a_stage_of_the_bundle_is_trained_further(tmp_path: Path) -> None:
    base = shipped_bundle() / "duration"
    words = ["train", "duration", str(FOLDER / "spoken.tsv"), str(FOLDER / "extracted"), str(tmp_path / "run")]
    options = ["--preset", "mini", "--steps", "1", "--batch-rows", "1", "--micro-batch-rows", "1", "--device", "cpu"]
    assert run([*words, *options, "--sequence-length", "384", "--base", str(base)]) == 0
    assert (tmp_path / "run" / "model" / "stage.json").is_file()
