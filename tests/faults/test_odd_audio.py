"""Recordings as nobody wants them, through extraction: units, or a line of failed.tsv; and a recording of two hours."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechunits.audio import Waveform, read_audio, write_wav
from speechunits.encoders.mfcc import MfccEncoder
from speechunits.extract import UnitExtractor, extract
from speechunits.extracted import read_extracted
from speechunits.kmeans import fit_kmeans
from speechunits.listing import read_list
from speechunits.segments import cut_at_pauses

RATES_HZ = (1, 2, 7, 50, 100, 1_000, 8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000)


def tone(rate_hz: int, seconds: float = 2.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 110.0 * np.arange(round(seconds * rate_hz)) / rate_hz)


def write_cut(kept: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        soundfile.write(path, tone(16_000), 16_000, format="WAV")
        path.write_bytes(path.read_bytes()[:kept])

    return write


def write_sound(samples: np.ndarray, rate_hz: int = 16_000, subtype: str = "PCM_16") -> Callable[[Path], None]:
    return lambda path: soundfile.write(path, samples, rate_hz, subtype=subtype, format="WAV")


NOT_A_NUMBER = tone(16_000)
NOT_A_NUMBER[9_000] = np.nan
SOUNDS = {
    "empty": write_sound(np.zeros(0)),
    "no bytes": lambda path: path.touch(),
    "not a number": write_sound(NOT_A_NUMBER, subtype="FLOAT"),
    "infinite": write_sound(np.where(np.isnan(NOT_A_NUMBER), np.inf, NOT_A_NUMBER), subtype="FLOAT"),
    "beyond all measure": write_sound(1e30 * tone(16_000), subtype="FLOAT"),
    "silent": write_sound(np.zeros(32_000)),
    "clipped": write_sound(np.clip(40 * tone(16_000), -1, 1)),
    "eight bits": write_sound(tone(16_000), subtype="PCM_U8"),
    "seven channels": write_sound(np.repeat(tone(16_000)[:, None], 7, axis=1)),
    "one sample": write_sound(np.full(1, 0.5)),
    "cut in its header": write_cut(30),
    "cut behind its header": write_cut(44),
    "cut in its sound": write_cut(40_001),
    **{f"{rate_hz} Hz": write_sound(tone(rate_hz), rate_hz) for rate_hz in RATES_HZ},
}
FAIL = {
    "empty": "at least one sample",
    "no bytes": "cannot be read as audio",
    "not a number": "sample 9000 (0.562 s) is nan",
    "infinite": "sample 9000 (0.562 s) is inf",
    "one sample": "shorter than one frame",
    "beyond all measure": "NaN or infinity",
    "cut in its header": "cannot be read as audio",
    "cut behind its header": "at least one sample",
}


def test_every_odd_recording_gives_units_or_a_reason(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name, write in SOUNDS.items():
        write(tmp_path / f"{name}.wav")
    (tmp_path / "list.tsv").write_text("\n".join(["audio", *(f"{name}.wav" for name in SOUNDS)]) + "\n")
    encoder = MfccEncoder()
    noise = np.random.default_rng(0).normal(0, 0.1, 40_000).astype(np.float32)
    [features] = encoder.encode([Waveform(noise, 16_000)])
    units = UnitExtractor(encoder, fit_kmeans(features, 12, seed=0, encoder=encoder.identity))
    done = extract(read_list(tmp_path / "list.tsv"), tmp_path / "out", units=units)
    failed = {failure.audio.removesuffix(".wav"): failure.reason for failure in done.failures}
    assert failed.keys() == FAIL.keys(), failed
    assert all(FAIL[name] in reason for name, reason in failed.items()), failed
    assert all("\n" not in reason for reason in failed.values())
    found = {row.audio.removesuffix(".wav"): row for row in read_extracted(tmp_path / "out")[1]}
    assert found.keys() == SOUNDS.keys() - FAIL.keys()
    for name, row in found.items():
        assert row.units.size == pytest.approx(50 * row.duration_s, abs=2), name
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("name", sorted(SOUNDS.keys() - FAIL.keys()))
def test_every_odd_recording_is_cut_in_its_pauses(name: str, tmp_path: Path) -> None:
    SOUNDS[name](tmp_path / "odd.wav")
    waveform = read_audio(tmp_path / "odd.wav")
    pieces = cut_at_pauses(waveform, longest_s=1.0)
    assert all(0 <= piece.start_s < piece.stop_s <= waveform.duration_s + 0.1 for piece in pieces)
    if name == "silent":
        assert not pieces


@pytest.mark.faults
def test_two_hours_are_cut_and_extracted(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 16_000, 1, "PCM_16") as sound:
        for _ in range(720):
            speech = chance.normal(0, 0.1, 8 * 16_000) * np.sin(np.arange(8 * 16_000) / 900) ** 2
            sound.write(np.concatenate([speech, np.zeros(2 * 16_000)]))
    (tmp_path / "list.tsv").write_text("audio\nlong.wav\n")
    encoder = MfccEncoder()
    waveform = read_audio(tmp_path / "long.wav", 16_000)
    assert waveform.duration_s == 7_200
    [features] = encoder.encode([Waveform(waveform.samples[:160_000].copy(), 16_000)])
    units = UnitExtractor(encoder, fit_kmeans(features, 12, seed=0, encoder=encoder.identity))
    done = extract(read_list(tmp_path / "list.tsv"), tmp_path / "out", units=units)
    assert (done.utterances, done.failures) == (1, ())
    [row] = read_extracted(tmp_path / "out")[1]
    # Encoders cut every 100 s, as fairseq's scripts do, and no frame lies across a cut.
    assert 0 <= 360_000 - row.units.size <= 73
    pieces = cut_at_pauses(waveform, longest_s=20.0)
    assert all(piece.stop_s - piece.start_s <= 20.5 for piece in pieces)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 6_000_000  # kilobytes: of the whole test process


def test_what_is_written_may_be_louder_than_a_file_can_hold(tmp_path: Path) -> None:
    write_wav(tmp_path / "loud.wav", Waveform((4 * tone(16_000)).astype(np.float32), 16_000))
    assert np.abs(read_audio(tmp_path / "loud.wav").samples).max() <= 1.0
