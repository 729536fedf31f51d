"""Recordings that ship: unseen by any model, whole, and of every direction."""

from collections import Counter
from itertools import product

import pytest

from polyvoice.bundle.shipped import Recordings, shipped_recordings
from polyvoice.corpus.asterisk import read_test_ids
from polyvoice.corpus.manifest import read_manifest
from polyvoice.corpus.phrasebook.grammar import list_fillers, realise
from polyvoice.corpus.phrasebook.templates import load_templates
from polyvoice.corpus.speak.voices import split_voices
from speechunits.audio import read_audio

TEMPLATES = (  # of which the sentences are
    "numbers.person_has",
    "numbers.sum",
    "numbers.times",
    "school.new_words",
    "time.ago",
    "time.event_date",
    "time.it_is",
    "time.see_time",
    "travel.go_to_city",
    "travel.here_is",
    "travel.leaves_at",
    "travel.stay_city",
    "travel.this_bag_heavy",
    "travel.ticket_price",
    "weather.city_now",
    "weather.city_will",
    "weather.degrees_city",
    "weather.how_is",
    "weather.month",
    "weather.will_it",
)
# Each with how many rows of each direction it has, and how long the shortest is.
SETS: tuple[tuple[Recordings, int, float], ...] = (("few", 6, 1.2), ("test", 20, 0.8))


def test_no_model_was_trained_on_them() -> None:
    rows = [row for which, *_ in SETS for row in read_manifest(shipped_recordings(which))]
    assert rows
    templates = [template for template in load_templates() if template.name in TEMPLATES]
    phrases = [realise(template, words) for template in templates for words in product(*list_fillers(template))]
    splits = {phrase.en: phrase.split for phrase in phrases}
    prompts = {key.replace("/", "-") for key in read_test_ids()}
    for row in rows:
        corpus, _, rest = row.id.partition("-")
        assert row.split == "test"
        if corpus == "asterisk":
            assert rest.rpartition(".")[0] in prompts
        else:
            english = row.source_text if row.source_lang == "en" else row.target_text
            assert splits[english or ""] == "test"
            assert split_voices([row.speaker or ""]) == {row.speaker: "test"}


@pytest.mark.parametrize(("which", "count", "shortest_s"), SETS)
def test_they_can_be_heard_in_every_direction(which: Recordings, count: int, shortest_s: float) -> None:
    rows = read_manifest(shipped_recordings(which))
    assert Counter(f"{row.source_lang}-{row.target_lang}" for row in rows) == dict.fromkeys(
        ("zh-en", "en-zh", "es-en", "en-es"), count
    )
    for row in rows:
        assert row.source_audio is not None
        assert row.target_audio is not None
        for audio in (row.source_audio, row.target_audio):
            waveform = read_audio(audio)
            assert waveform.rate_hz == 16_000
            assert shortest_s <= waveform.duration_s <= 4.5
            assert abs(waveform.samples).max() > 0.05
