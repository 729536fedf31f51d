"""Passages that are said again and again, from which a new model learns to copy."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molregpt.data.shipped import sample_pairs
from molregpt.local import training
from molregpt.local.recitals import make_recital, write_recitals
from molregpt.local.settings import CorpusConfig, Course, Size, TrainSettings
from molregpt.local.training import train_local
from unitlm.alphabet import Bytes
from unitlm.shards import ShardSet
from unitlm.vocabulary import Vocabulary


@given(st.integers(0, 2**31 - 1), st.integers(20, 300))
def test_a_recital_repeats_and_only_what_was_said_before_is_learned(seed: int, longest: int) -> None:
    recital = make_recital((7, 40), longest, np.random.default_rng(seed), "key")
    assert recital.ids.shape == recital.loss_mask.shape == (longest,)
    assert recital.ids.min() >= 7
    assert recital.ids.max() < 40
    length = int((~recital.loss_mask).sum())
    assert 5 <= length <= max(5, longest // 4)
    assert (recital.ids[length:] == recital.ids[:-length]).all()
    assert recital.loss_mask[length:].all()


def test_recitals_are_of_every_alphabet_and_the_same_again(tmp_path: Path) -> None:
    vocabulary = Vocabulary([Bytes("text"), Bytes("smiles")])
    first, second = (
        [
            shard[row].ids.tolist()
            for shard in [ShardSet(*write_recitals(tmp_path / name, 6, vocabulary, 40, seed=3)).load(0)]
            for row in range(6)
        ]
        for name in ("one", "two")
    )
    assert first == second
    spans = [vocabulary.span(name) for name in ("text", "smiles")]
    for number, ids in enumerate(first):
        start, stop = spans[number % 2]
        assert all(start <= token < stop for token in ids)


def test_a_new_model_learns_to_copy_first_and_one_with_a_base_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOLREGPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(training, "RECITAL_STEPS", 3)
    table = tmp_path / "pairs.tsv"
    rows = [f"{pair.key}\t{pair.smiles}\t{pair.caption}\n" for pair in sample_pairs()[:6]]
    table.write_text("CID\tSMILES\tdescription\n" + "".join(rows))
    course = Course(steps=2, batch_rows=2, micro_batch_rows=2, warmup_steps=1, decay_steps=0)
    settings = TrainSettings(Size(32, 1, 2, 64), course, CorpusConfig(passes=1, longest=192))

    def learn(name: str, base: Path | None = None, recital_steps: int | None = None) -> bytes:
        chosen = replace(settings, course=replace(course, recital_steps=recital_steps))
        model = train_local([table], table, tmp_path / name, chosen, base=base)
        return next(model.glob("*.safetensors")).read_bytes()

    def steps_of_copying(name: str) -> int:
        text = (tmp_path / name / "copying" / "run.json").read_text()
        return int(json.loads(text)["train"]["steps"])

    first = learn("first")
    assert steps_of_copying("first") == 3
    assert learn("again", recital_steps=3) == first
    assert learn("without", recital_steps=0) != first
    assert not (tmp_path / "without" / "copying").exists()
    base = tmp_path / "first" / "model"
    plain = learn("on", base)
    assert not (tmp_path / "on" / "copying").exists()
    assert learn("on-copying", base, recital_steps=2) != plain
    assert steps_of_copying("on-copying") == 2
