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


@pytest.mark.parametrize(("table", "shards", "with_codes"), [("pairs", "units", False), ("spoken", "extracted", True)])
def test_it_is_what_the_bundle_was_trained_on(table: str, shards: str, with_codes: bool) -> None:
    manifest = load(shipped_bundle()).manifest
    info, _ = read_extracted(FOLDER / shards)
    assert info.units == manifest.units
    assert info.codes == (manifest.codes if with_codes else None)
    train, dev = load_training_pairs(FOLDER / f"{table}.tsv", FOLDER / shards, with_codes=with_codes)
    # The first level has gone on from there, on more speech.
    stage = manifest.stages["other_levels" if with_codes else "translate"]
    assert len(train) == stage.trained_on.pairs
    assert dev
    spoken = [pair for pair in train if pair.source.runs is not None]
    assert all(np.ptp(pair.source.runs.units) < manifest.units.clusters for pair in spoken if pair.source.runs)


@pytest.mark.parametrize("table", ["pairs", "spoken"])
def test_nothing_of_the_tests_is_learned(table: str) -> None:
    rows = read_manifest(FOLDER / f"{table}.tsv")
    train = [row for row in rows if row.split == "train"]
    held_out = {(row.source_lang, row.source_text) for row in rows if row.split == "test"}
    assert held_out
    assert not held_out & {(row.source_lang, row.source_text) for row in train}
    assert not {row.speaker for row in train} & set(TEST_VOICES)
    prompts = {Path(row.source_audio).stem for row in train if row.speaker == "allison" and row.source_audio}
    assert prompts
    assert not prompts & {key.rpartition("/")[2] for key in read_test_ids()}


def test_a_stage_of_the_bundle_is_trained_further(tmp_path: Path) -> None:
    base = shipped_bundle() / "duration"
    words = ["train", "duration", str(FOLDER / "spoken.tsv"), str(FOLDER / "extracted"), str(tmp_path / "run")]
    options = ["--preset", "mini", "--steps", "1", "--batch-rows", "1", "--micro-batch-rows", "1", "--device", "cpu"]
    assert run([*words, *options, "--sequence-length", "384", "--base", str(base)]) == 0
    assert (tmp_path / "run" / "model" / "stage.json").is_file()
