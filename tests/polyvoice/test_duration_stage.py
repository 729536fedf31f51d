"""The duration model: what it is shown in both layouts, that it learns, and totals that are kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyvoice.errors import InputError
from polyvoice.spoken import SpokenPair, load_pairs, reverse
from polyvoice.stages.course import Course
from polyvoice.stages.duration.data import DurationQuery, DurationWriter, build_vocabulary, to_query
from polyvoice.stages.duration.decoding import DurationModel
from polyvoice.stages.duration.means import MeanDurations
from polyvoice.stages.duration.settings import DurationLayout, DurationSettings
from polyvoice.stages.duration.totals import scale_lengths
from polyvoice.stages.duration.training import train_duration
from polyvoice.stages.stage_folder import read_stage
from polyvoice.tasks import Direction
from speechunits.runs import Runs
from unitlm.metrics import read_metrics
from unitlm.model import ABSENT

COURSE = Course(
    steps=120,
    batch_rows=8,
    sequence_length=64,
    learning_rate=5e-3,
    optimizer="muon",
    warmup_steps=10,
    average_decay=0.9,
    precision="fp32",
    evaluate_every=0,
    checkpoint_every=0,
    device="cpu",
)
SETTINGS = DurationSettings(preset="tiny", layout=DurationLayout(longest_run=8), course=COURSE)


@pytest.fixture(scope="module")
def folder(toy_corpus: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_duration(*toy_corpus, tmp_path_factory.mktemp("duration") / "run", SETTINGS)


@pytest.fixture(scope="module")
def model(folder: Path) -> DurationModel:
    return DurationModel.load(folder)


@pytest.fixture(scope="module")
def pairs(toy_corpus: tuple[Path, Path]) -> list[SpokenPair]:
    return [each for pair in load_pairs(*toy_corpus, "train") for each in (pair, reverse(pair))]


def runs(units: list[int], lengths: list[int]) -> Runs:
    return Runs(np.array(units, np.int64), np.array(lengths, np.int64))


def test_durations_of_known_pairs_are_reproduced_alone_and_in_a_batch(
    model: DurationModel, pairs: list[SpokenPair]
) -> None:
    queries, wanted = zip(*map(to_query, pairs), strict=True)
    predicted = model.predict_batch(queries)
    right = np.concatenate([ours == theirs for ours, theirs in zip(predicted, wanted, strict=True)])
    assert right.mean() > 0.98
    for query, lengths in list(zip(queries, predicted, strict=True))[::7]:
        alone = model.predict(query.source, query.target_units, query.source_language, query.target_language)
        assert alone.tolist() == lengths.tolist()
        assert alone.dtype == np.int64


def test_the_paper_layout_learns_too_and_gives_one_length_a_unit(
    toy_corpus: tuple[Path, Path], pairs: list[SpokenPair], tmp_path: Path
) -> None:
    settings = replace(SETTINGS, layout=DurationLayout(layout="line", longest_run=8))
    settings = replace(settings, course=replace(COURSE, sequence_length=128, steps=60))
    model = DurationModel.load(train_duration(*toy_corpus, tmp_path / "run", settings))
    losses = [row["loss"] for row in read_metrics(tmp_path / "run" / "train") if "loss" in row]
    assert losses[-1] < 0.7 * losses[0]
    queries, wanted = zip(*map(to_query, pairs), strict=True)
    for lengths, expected in zip(model.predict_batch(queries), wanted, strict=True):
        assert lengths.shape == expected.shape
        assert lengths.min() >= 1


def test_a_finished_stage_says_what_it_is(folder: Path, model: DurationModel) -> None:
    card = read_stage(folder, "duration")
    assert {str(way) for way in card.directions} == {"zh-en", "en-zh", "en-es", "es-en"}
    assert card.units.clusters == 72
    assert card.trained_on.pairs == 20
    assert card.trained_on.step == COURSE.steps
    assert json.loads((folder / "stage.json").read_text())["settings"]["layout"]["longest_run"] == 8
    assert (folder / "mean_durations.json").is_file()


def test_what_the_model_cannot_know_is_refused(model: DurationModel, folder: Path, tmp_path: Path) -> None:
    some = runs([1, 2], [1, 1])
    for source, units, language, message in (
        (some, [1, 2], "fr", "language 'fr' is not one the model was trained on"),
        (some, [1, 72], "en", "units: the model knows 0 to 71"),
        (some, [], "en", "at least one unit"),
        (runs([], []), [1], "en", "at least one unit"),
    ):
        with pytest.raises(InputError, match=message):
            model.predict(source, np.array(units, np.int64), "zh", language)
    with pytest.raises(InputError, match="not a finished stage"):
        DurationModel.load(tmp_path)


def test_a_run_is_not_continued_with_another_layout(toy_corpus: tuple[Path, Path], folder: Path) -> None:
    with pytest.raises(InputError, match="begun with lookahead = 1, not 2"):
        train_duration(*toy_corpus, folder.parent, replace(SETTINGS, layout=DurationLayout(longest_run=8, lookahead=2)))


def test_aligned_examples_hold_what_the_drawing_says() -> None:
    settings = DurationLayout(longest_run=5, lookahead=1)
    vocabulary = build_vocabulary([Direction("zh", "en")], 10, settings)
    writer = DurationWriter(vocabulary, ("zh", "en"), settings)
    query = DurationQuery(runs([3, 4], [2, 9]), np.array([6, 7]), "zh", "en")
    example = writer.example("k", query, np.array([1, 4]))

    def name(index: int) -> str:
        return "-" if index == ABSENT else vocabulary.describe(index).replace("units.ahead", "ahead")

    assert [[name(index) for index in step] for step in example.ids] == [
        ["units:3", "ahead:4", "<begin>"],
        ["units:4", "ahead:6", "durations:2"],
        ["units:6", "ahead:7", "<begin>"],
        ["units:7", "-", "durations:1"],
        ["-", "-", "durations:4"],
    ]
    # A step's place in the mask is that of its target; the 9, cut to 5, has no place.
    assert example.loss_mask.tolist() == [False, True, False, True, True]
    assert example.conditions is not None
    assert example.conditions.tolist() == [0, 0, 1, 1, 1]
    noisy = writer.example("k", query, np.array([1, 4]), clean_source=False)
    assert noisy.ids.tolist() == example.ids.tolist()
    assert noisy.loss_mask.tolist() == [False, False, False, True, True]
    line = writer.line(query)
    known = example.ids[:-1].copy()
    known[3, 2] = ABSENT  # what the model itself is to write
    assert line.ids.tolist() == known.tolist()
    assert line.length == 2


@given(
    st.lists(st.floats(0.01, 100), min_size=1, max_size=30),
    st.integers(0, 500),
)
def test_scaled_lengths_add_up_and_keep_their_order(lengths: list[float], total: int) -> None:
    scaled = scale_lengths(np.array(lengths), total)
    assert scaled.sum() == max(total, len(lengths))
    assert scaled.min() >= 1
    order = np.argsort(lengths, kind="stable")
    assert (np.diff(scaled[order]) >= -1).all()  # equal up to rounding


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_lengths_that_fit_are_left_as_they_are(lengths: list[int]) -> None:
    array = np.array(lengths, np.int64)
    total = int(array.sum())
    assert scale_lengths(array, total).tolist() == lengths


def test_mean_durations_follow_the_tempo_of_the_source(tmp_path: Path) -> None:
    means = MeanDurations.fit([runs([0, 1], [2, 4]), runs([0], [4])], clusters=4)
    assert means.means.tolist() == pytest.approx([3, 4, 10 / 3, 10 / 3])
    slow, fast = runs([0, 1], [6, 8]), runs([1], [2])
    assert means.predict(slow, np.array([1, 0, 2])).tolist() == [8, 6, 7]
    assert means.predict(fast, np.array([1, 0])).tolist() == [2, 2]
    means.save(tmp_path)
    assert MeanDurations.load(tmp_path).means.tolist() == means.means.tolist()
    with pytest.raises(InputError, match="units lie in 0 to 3"):
        means.predict(slow, np.array([4]))
    with pytest.raises(InputError, match="no units to average"):
        MeanDurations.fit([], clusters=4)
