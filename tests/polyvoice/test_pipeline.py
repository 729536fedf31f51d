"""The whole chain on a language of tones: what was learned from twenty pairs comes out as speech, in the right voice.

A unit is a tone of its own for 20 ms, and a voice is its loudness. So encoder and codec are a few exact lines, and
whatever is wrong in the speech that comes out was made wrong by the four trained models or by the way between them.
"""

from __future__ import annotations

import json
import math
import resource
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from polyvoice.bundle.loading import Bundle
from polyvoice.cli.main import run
from polyvoice.corpus.manifest import PairRow, write_manifest
from polyvoice.errors import InputError
from polyvoice.pipeline import translator as translator_module
from polyvoice.pipeline.settings import VIEWS, PipelineOptions
from polyvoice.pipeline.translator import SpeechTranslator
from polyvoice.pipeline.views import views_of
from polyvoice.provenance import read_comment, synthetic_tag
from polyvoice.stages.duration.decoding import DurationModel
from polyvoice.stages.duration.means import MeanDurations
from polyvoice.stages.synthesize.synthesizer import Synthesizer
from polyvoice.stages.translate.decoding import UnitTranslator
from polyvoice.tasks import Direction
from speechunits.audio import Samples, Waveform, read_audio, write_wav
from speechunits.codecs.protocol import Codes
from speechunits.extracted import CodesInfo, Extracted, ExtractedInfo, UnitsInfo, write_extracted
from speechunits.kmeans import Features, KMeans, Provenance
from speechunits.runs import Units, deduplicate
from speechunits.segments import Segment

RATE_HZ, FRAME, UNITS = 16_000, 320, 48
LOUDNESS = (0.2, 0.8)  # of the two voices
WORDS = 8


def tones(units: Sequence[int] | Units, voice: int) -> Samples:
    """Speech: each frame the tone of its unit; 320 samples hold whole cycles of all of them."""
    time_s = np.arange(FRAME) / RATE_HZ
    hertz = 200.0 + 100.0 * np.asarray(units)[:, None]
    return (LOUDNESS[voice] * np.sin(2 * np.pi * hertz * time_s)).astype(np.float32).reshape(-1)


def spectrum(samples: Samples) -> Features:
    """Amplitude of each unit's tone in each frame, `[T, UNITS]`."""
    frames = samples[: samples.size // FRAME * FRAME].reshape(-1, FRAME)
    return (np.abs(np.fft.rfft(frames))[:, 4 : 4 + 2 * UNITS : 2] * 2 / FRAME).astype(np.float32)


class ToneEncoder:
    """Features are the tones' share of a frame, whatever its loudness."""

    sample_rate_hz, frame_rate_hz, dimension, shortest_samples = RATE_HZ, 50.0, UNITS, FRAME
    identity = "tones"

    def encode(self, waveforms: Sequence[Waveform]) -> list[Features]:
        return [values / values.sum(axis=1, keepdims=True) for values in (spectrum(one.samples) for one in waveforms)]


class ToneCodec:
    """Level 0 is the tone, level 1 the loudness."""

    sample_rate_hz, frame_rate_hz, levels, codebook_size = RATE_HZ, 50.0, 2, UNITS
    identity = "tone codec"

    def encode(self, waveform: Waveform) -> Codes:
        values = spectrum(waveform.samples)
        voices = np.abs(values.max(axis=1)[:, None] - np.array(LOUDNESS)).argmin(axis=1)
        return np.stack([values.argmax(axis=1), voices]).astype(np.int64)

    def decode(self, codes: Codes) -> Waveform:
        frames = [tones(codes[0, t : t + 1], min(int(codes[1, t]), 1)) for t in range(codes.shape[1])]
        return Waveform(np.concatenate(frames), RATE_HZ)


def units_of(waveform: Waveform) -> Units:
    return spectrum(waveform.samples).argmax(axis=1).astype(np.int64)


def cut_tones(waveform: Waveform, *, longest_s: float, pause_s: float) -> tuple[Segment, ...]:
    """Cut where there is silence for a while; a voice detector does not take tones for speech."""
    frames = waveform.samples[: waveform.samples.size // FRAME * FRAME].reshape(-1, FRAME)
    spoken = np.flatnonzero(np.abs(frames).max(axis=1) > 0.01)
    if not spoken.size:
        return ()
    parts = np.split(spoken, np.flatnonzero(np.diff(spoken) > pause_s * 50) + 1)
    assert all(len(part) <= longest_s * 50 for part in parts)
    return tuple(Segment(part[0] / 50, (part[-1] + 1) / 50) for part in parts)


@pytest.fixture(autouse=True)
def cutter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translator_module, "cut_at_pauses", cut_tones)


def sentence(meaning: Sequence[int], language: int, number: int) -> Units:
    """Each word is three units in each language, held for one to three frames."""
    units = [3 * word + part + 3 * WORDS * language for word in meaning for part in range(3)]
    return np.repeat(np.array(units, dtype=np.int64), 1 + (number + np.arange(len(units))) % 3)


@pytest.fixture(scope="module")
def corpus() -> list[tuple[Units, Units, int]]:
    """Twenty sentences in two languages, one voice a sentence."""
    chance = np.random.default_rng(5)
    meanings = [chance.permutation(WORDS)[: 3 + number % 3].tolist() for number in range(20)]
    return [(sentence(one, 0, n), sentence(one, 1, n), n % 2) for n, one in enumerate(meanings)]


@pytest.fixture(scope="module")
def bundle(corpus: list[tuple[Units, Units, int]], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """All four models, trained on the twenty by the commands that a user gives."""
    home = tmp_path_factory.mktemp("tones")
    codec = ToneCodec()
    rows, utterances = [], []
    for number, (source, target, voice) in enumerate(corpus):
        for language, units in (("zh", source), ("en", target)):
            codes = codec.encode(Waveform(tones(units, voice), RATE_HZ))
            utterances.append(Extracted(f"{number}-{language}.wav", units.size / 50, units, codes))
        paths = [home / f"{number}-{language}.wav" for language in ("zh", "en")]
        rows.append(PairRow(str(number), paths[0], "zh", None, paths[1], "en", None, f"voice{voice}", "train"))
    dev = [replace(row, id=f"{row.id}-again", split="dev") for row in rows[:2]]
    write_manifest(home / "pairs.tsv", [*rows, *dev])
    info = ExtractedInfo(UnitsInfo("tones", "tone units", UNITS, 50.0), CodesInfo(codec.identity, 2, UNITS, 50.0))
    write_extracted(home / "extracted", info, utterances)
    stages = {
        "translate": (["translate"], ["--text", "none", "--steps", "120"]),
        "duration": (["duration"], ["--steps", "80"]),
        "first_level": (["synthesize", "first-level"], ["--steps", "80"]),
        "other_levels": (["synthesize", "other-levels"], ["--steps", "60"]),
    }
    course = ["--preset", "tiny", "--dropout", "0", "--batch-rows", "4", "--micro-batch-rows", "4"]
    course += ["--device", "cpu", "--evaluate-every", "0", "--checkpoint-every", "0"]
    for name, (words, options) in stages.items():
        inputs = [str(home / "pairs.tsv"), str(home / "extracted"), str(home / name)]
        assert run(["train", *words, *inputs, *options, *course]) == 0
    model = {name: home / name / "model" for name in stages}
    directions = (Direction("zh", "en"), Direction("en", "zh"))
    (home / "bundle.json").write_text("{}")
    parts = SimpleNamespace(
        folder=home,
        manifest=SimpleNamespace(name="tones", directions=directions, choose_route=lambda source, target: "direct"),
        encoder=ToneEncoder(),
        kmeans=KMeans(np.eye(UNITS, dtype=np.float32), Provenance("tones", 50.0, UNITS, 0, "test")),
        codec=codec,
        translator=UnitTranslator.load(model["translate"]),
        duration=DurationModel.load(model["duration"]),
        mean_durations=MeanDurations.load(model["duration"]),
        synthesizer=Synthesizer.load(model["first_level"], model["other_levels"]),
    )
    return cast(Bundle, parts)


@pytest.fixture(scope="module")
def system(bundle: Bundle) -> SpeechTranslator:
    return SpeechTranslator(bundle, PipelineOptions(temperature=0.0, views=1))


def unit_errors(found: Sequence[int], wanted: Sequence[int]) -> int:
    from rapidfuzz.distance import Levenshtein

    return int(Levenshtein.distance(list(found), list(wanted)))


@pytest.mark.slow
def test_twenty_learned_sentences_come_out_as_speech(
    system: SpeechTranslator, corpus: list[tuple[Units, Units, int]]
) -> None:
    errors = total = right_voice = 0
    lengths = []
    for source, target, voice in corpus:
        made = system.translate(Waveform(tones(source, voice), RATE_HZ), "zh", "en", seed=0)
        assert made.waveform is not None
        assert made.runs is not None
        # The speech has exactly the frames that were predicted, and says exactly the units that were translated.
        assert made.waveform.samples.size == FRAME * int(made.runs.lengths.sum())
        heard, wanted = deduplicate(units_of(made.waveform)).units, deduplicate(target).units
        errors += unit_errors(heard.tolist(), wanted.tolist())
        total += wanted.size
        lengths.append(made.runs.lengths.sum() / target.size)
        right_voice += np.median(ToneCodec().encode(made.waveform)[1]) == voice
        assert set(made.seconds) == {"cut", "voice", "encode", "translate", "duration", "synthesize", "decode"}
    assert errors / total < 0.05
    assert right_voice >= 18
    assert np.mean([0.8 <= ratio <= 1.2 for ratio in lengths]) >= 0.9


@pytest.mark.slow
def test_most_views_of_a_recording_decide_what_was_heard(
    bundle: Bundle, corpus: list[tuple[Units, Units, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, other = (Waveform(tones(corpus[number][0], 0), RATE_HZ) for number in (0, 1))
    said = [deduplicate(corpus[number][1]).units.tolist() for number in (0, 1)]
    system = SpeechTranslator(bundle, PipelineOptions(temperature=0.0, views=3))
    for views, meant in (([ours, other, ours], said[0]), ([ours, other, other], said[1])):
        monkeypatch.setattr(translator_module, "views_of", lambda waveform, count, views=views: views[:count])
        made = system.translate(ours, "zh", "en", seed=0)
        assert made.runs is not None
        assert made.runs.units.tolist() == meant


def test_a_view_that_is_shorter_than_a_frame_is_left_out(
    bundle: Bundle, corpus: list[tuple[Units, Units, int]]
) -> None:
    shortest = Waveform(tones(corpus[0][0][:1], 0), RATE_HZ)  # one frame: played faster it is none
    heard = SpeechTranslator(bundle, PipelineOptions(temperature=0.0, views=len(VIEWS)))
    [piece] = heard.pieces(shortest, "zh", "en", seed=0)
    assert piece.source.units.tolist() == corpus[0][0][:1].tolist()


def test_views_say_the_same_at_other_speeds_and_in_other_frames() -> None:
    recording = Waveform(tones([8] * 50, 0), RATE_HZ)  # one second of 1,000 Hz
    views = views_of(recording, len(VIEWS))
    assert views[0] is recording
    assert [view.samples.size for view in views_of(recording, 2)] == [view.samples.size for view in views[:2]]
    for view, made in zip(VIEWS, views, strict=True):
        assert made.duration_s == pytest.approx(1 / view.speed + view.delay_s, abs=1e-3)
        spectrum = np.abs(np.fft.rfft(made.samples))
        assert spectrum.argmax() / made.duration_s == pytest.approx(1000 * view.speed, rel=0.002)
        assert not made.samples[: round(view.delay_s * RATE_HZ)].any()
    for wrong in (0, len(VIEWS) + 1):
        with pytest.raises(InputError, match="views"):
            PipelineOptions(views=wrong)


@pytest.mark.slow
def test_the_prompt_decides_whose_voice_it_is(system: SpeechTranslator, corpus: list[tuple[Units, Units, int]]) -> None:
    right = 0
    for source, _, voice in corpus[:10]:
        for speaker in (0, 1):
            prompt = system.hear_voice(Waveform(tones(corpus[10 + speaker][0], speaker), RATE_HZ), "zh")
            recording = Waveform(tones(source, voice), RATE_HZ)
            made = system.translate(recording, "zh", "en", seed=0, voice=prompt)
            assert made.waveform is not None
            # What it takes to hear the prompt is part of what a translation takes.
            assert made.seconds["voice"] == prompt.seconds["voice"] > 0
            assert made.seconds["cut"] > prompt.seconds["cut"]
            right += np.median(ToneCodec().encode(made.waveform)[1]) == speaker
    assert right >= 18


@pytest.mark.slow
def test_a_long_recording_is_translated_in_pieces_and_joined_with_its_pauses(
    system: SpeechTranslator, corpus: list[tuple[Units, Units, int]]
) -> None:
    parts, pauses_s, chance = [], [], np.random.default_rng(1)
    number = 0
    while sum(part.size for part in parts) < 120 * RATE_HZ:
        pauses_s.append(float(chance.integers(40, 80)) / 50)
        parts += [np.zeros(round(pauses_s[-1] * RATE_HZ), np.float32), tones(corpus[number % 20][0], 1)]
        number += 1
    recording = Waveform(np.concatenate(parts), RATE_HZ)
    memory, pieces = [], []
    for piece in system.pieces(recording, "zh", "en", seed=0):
        pieces.append(piece)
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert len(pieces) == number
    for n, piece in enumerate(pieces):
        assert piece.source.units.tolist() == deduplicate(corpus[n % 20][0]).units.tolist()
    assert memory[-1] - memory[len(memory) // 4] < 40_000  # KiB: the later pieces need no more than the earlier ones

    made = system.translate(recording, "zh", "en", seed=0)
    assert made.waveform is not None
    spoken = sum(piece.waveform.samples.size for piece in pieces if piece.waveform is not None)
    # No gap but the pauses between the pieces, and no overlap.
    assert made.waveform.samples.size == spoken + sum(round(pause * RATE_HZ) for pause in pauses_s[1:])
    silent = np.flatnonzero(np.abs(made.waveform.samples.reshape(-1, FRAME)).max(axis=1) < 1e-6)
    runs = np.split(silent, np.flatnonzero(np.diff(silent) > 1) + 1)
    assert [len(one) for one in runs] == [round(50 * pause) for pause in pauses_s[1:]]
    assert made.first_audio_s is not None
    assert made.first_audio_s < sum(made.seconds.values()) / 4


@pytest.mark.slow
def test_the_same_seed_gives_the_same_speech(bundle: Bundle, corpus: list[tuple[Units, Units, int]]) -> None:
    drawn = SpeechTranslator(bundle, PipelineOptions(temperature=1.0, top_p=1.0, views=1))
    recording = Waveform(tones(corpus[0][0], 0), RATE_HZ)
    one, same = (drawn.translate(recording, "zh", "en", seed=3).waveform for _ in range(2))
    assert one is not None
    assert same is not None
    assert np.array_equal(one.samples, same.samples)


@pytest.mark.slow
def test_mean_durations_stand_in_for_the_model(bundle: Bundle, corpus: list[tuple[Units, Units, int]]) -> None:
    plain = SpeechTranslator(bundle, PipelineOptions(temperature=0.0, durations="mean", views=1))
    source = corpus[0][0]
    made = plain.translate(Waveform(tones(source, 0), RATE_HZ), "zh", "en", seed=0)
    assert made.runs is not None
    assert made.runs.lengths.sum() == pytest.approx(source.size, rel=0.2)


def test_silence_has_no_translation(system: SpeechTranslator) -> None:
    made = system.translate(Waveform(np.zeros(RATE_HZ, np.float32), RATE_HZ), "zh", "en", seed=0)
    assert made.waveform is None
    assert made.runs is not None
    assert len(made.runs) == 0
    with pytest.raises(InputError, match="no speech"):
        system.hear_voice(Waveform(np.zeros(RATE_HZ, np.float32), RATE_HZ), "zh")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": -1.0}, "temperature must be a number of at least 0, got -1"),
        ({"temperature": math.nan}, "temperature"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1, got 0"),
        ({"first_level": "mean", "other_levels": "best"}, "first_level cannot be mean"),
        ({"first_level": "none", "other_levels": "mean"}, "first_level cannot be none"),
        ({"longest_piece_s": 0.2}, "0.5 s is the least"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_loaded(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        PipelineOptions(**options)


def test_unknown_languages_are_refused_with_those_that_are_known(system: SpeechTranslator) -> None:
    with pytest.raises(InputError, match="does not translate to 'fr'; it translates zh to en, en to zh"):
        system.source_of("fr")
    with pytest.raises(InputError, match="does not translate 'es' to 'en'"):
        system.source_of("en", "es")
    assert system.source_of("en") == "zh"


def test_the_command_writes_speech_and_says_how(
    system: SpeechTranslator,
    bundle: Bundle,
    corpus: list[tuple[Units, Units, int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("polyvoice.bundle.load", lambda folder, device: bundle)
    write_wav(tmp_path / "in.wav", Waveform(tones(corpus[0][0], 0), RATE_HZ), "FLOAT")
    arguments = ["translate", str(tmp_path / "in.wav"), str(tmp_path / "out.wav"), "--to", "en", "--bundle", "any"]
    assert run([*arguments, "--temperature", "0", "--views", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    [piece] = told["pieces"]
    spoken = read_audio(tmp_path / "out.wav")
    assert told["from"] == "zh"
    assert told["duration_s"] == pytest.approx(spoken.duration_s) == pytest.approx(sum(piece["lengths"]) / 50)
    assert piece["source_units"] == deduplicate(corpus[0][0]).units.tolist()
    assert read_comment(tmp_path / "out.wav") == synthetic_tag()
    arguments[2] = str(tmp_path / "out.flac")
    assert run([*arguments, "--temperature", "0", "--views", "1"]) == 0
    assert (tmp_path / "out.flac").read_bytes()[:4] == b"fLaC"
    np.testing.assert_allclose(read_audio(tmp_path / "out.flac").samples, spoken.samples, atol=1e-4)
    arguments[2] = str(tmp_path / "out.mp3")
    assert run(arguments) == 2
    assert "out.mp3: speech is written as .wav or .flac" in capsys.readouterr().err
    write_wav(tmp_path / "silent.wav", Waveform(np.zeros(RATE_HZ, np.float32), RATE_HZ))
    arguments[1:3] = [str(tmp_path / "silent.wav"), str(tmp_path / "none.wav")]
    assert run(arguments) == 2
    assert "silent.wav: no speech in it" in capsys.readouterr().err
    assert not (tmp_path / "none.wav").exists()
    assert run(["translate", "missing.wav", str(tmp_path / "out.wav"), "--to", "en"]) == 2
