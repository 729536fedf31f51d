"""Augmentation does what its numbers say, to sounds whose spectrum is known, and always the same."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile

from polyvoice.cli.main import run
from polyvoice.corpus.augment import (
    add_noise,
    add_room,
    augment,
    change_gain,
    limit_band,
    shift_pitch,
)
from polyvoice.corpus.augmentation import Augmentation
from polyvoice.corpus.copies import is_copy
from polyvoice.corpus.manifest import PairRow, read_manifest, write_manifest
from polyvoice.errors import InputError
from speechunits.audio import Waveform, change_speed

RATE = 16_000


def tone(frequency_hz, seconds=1.0, level=0.3):
    at = np.arange(round(seconds * RATE)) / RATE
    return Waveform((level * np.sin(2 * np.pi * frequency_hz * at)).astype(np.float32), RATE)


def strongest_hz(waveform):
    spectrum = np.abs(np.fft.rfft(waveform.samples * np.hanning(waveform.samples.size)))
    return np.fft.rfftfreq(waveform.samples.size, 1 / RATE)[spectrum.argmax()]


def energy(samples):
    return float(np.square(samples, dtype=np.float64).sum())


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_speed_moves_length_and_pitch(factor):
    faster = change_speed(tone(440), factor)
    assert faster.samples.size == pytest.approx(RATE / factor, abs=2)
    assert strongest_hz(faster) == pytest.approx(440 * factor, rel=0.01)


@pytest.mark.parametrize("semitones", [-12, -3, 0, 4, 12])
def test_pitch_moves_and_length_stays(semitones):
    shifted = shift_pitch(tone(440), semitones)
    assert shifted.samples.size == RATE
    assert strongest_hz(shifted) == pytest.approx(440 * 2 ** (semitones / 12), rel=0.01)
    middle = slice(RATE // 4, 3 * RATE // 4)
    assert energy(shifted.samples[middle]) == pytest.approx(energy(tone(440).samples[middle]), rel=0.2)


def test_pitch_shift_keeps_events_in_their_place():
    samples = np.zeros(RATE, dtype=np.float32)
    samples[8_000:9_600] = tone(600, 0.1).samples
    heard = np.abs(shift_pitch(Waveform(samples, RATE), 3).samples) > 0.05
    assert np.flatnonzero(heard)[0] / RATE == pytest.approx(0.5, abs=0.03)
    assert np.flatnonzero(heard)[-1] / RATE == pytest.approx(0.6, abs=0.03)


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 30.0])
@pytest.mark.parametrize("colour", [0.0, 1.0, 2.0])
def test_noise_has_the_energy_that_was_asked_for(snr_db, colour):
    clean = tone(440, level=0.1)  # so soft that nothing has to be scaled down
    noise = add_noise(clean, snr_db, colour, np.random.default_rng(1)).samples - clean.samples
    assert 10 * np.log10(energy(clean.samples) / energy(noise)) == pytest.approx(snr_db, abs=0.05)


def test_noise_has_its_colour():
    clean = tone(440)

    def fall_db(colour):
        noise = add_noise(clean, 10, colour, np.random.default_rng(2)).samples - clean.samples
        power = np.square(np.abs(np.fft.rfft(noise)))
        return 10 * np.log10(power[200:400].mean() / power[2_000:4_000].mean())  # a decade apart

    assert fall_db(0) == pytest.approx(0, abs=1)
    assert fall_db(1) == pytest.approx(10, abs=1)
    assert fall_db(2) == pytest.approx(20, abs=1.5)


def test_a_room_decays_as_asked_and_keeps_time_and_loudness():
    samples = np.zeros(RATE, dtype=np.float32)
    samples[100] = 0.5
    heard = add_room(Waveform(samples, RATE), 0.4, np.random.default_rng(3)).samples
    assert heard.size == RATE
    assert np.abs(heard).argmax() == 100
    assert np.abs(heard[:100]).max() < 1e-6
    assert energy(heard) == pytest.approx(energy(samples), rel=1e-3)
    tail = heard[101:]
    assert 10 * np.log10(heard[100] ** 2 / energy(tail)) == pytest.approx(3.0, abs=0.1)
    # 60 dB in 0.4 s are 30 dB between windows that are 0.2 s apart.
    early, late = energy(tail[800:1_600]), energy(tail[800 + 3_200 : 1_600 + 3_200])
    assert 10 * np.log10(early / late) == pytest.approx(30, abs=2)


def test_a_telephone_passes_its_band_only():
    noise = Waveform((0.1 * np.random.default_rng(4).standard_normal(RATE)).astype(np.float32), RATE)
    heard = limit_band(noise, 300, 3_400)
    before, after = (np.square(np.abs(np.fft.rfft(sound.samples))) for sound in (noise, heard))
    assert after[300:3_400].sum() == pytest.approx(before[300:3_400].sum(), rel=1e-4)
    assert after[:270].sum() + after[3_740:].sum() < 1e-6 * before.sum()


def test_nothing_clips():
    loud = change_gain(tone(440, level=0.9), 20)
    assert np.abs(loud.samples).max() == pytest.approx(1)
    soft = change_gain(tone(440, level=0.5), -6.0206)
    assert np.abs(soft.samples).max() == pytest.approx(0.25, rel=1e-3)


def test_the_same_seed_and_row_give_the_same_samples():
    settings = Augmentation(pitch_share=1, noise_share=1, room_share=1, telephone_share=1)
    first = augment(tone(440), settings, 0, "row")
    assert (augment(tone(440), settings, 0, "row").samples == first.samples).all()
    for other in (augment(tone(440), settings, 1, "row"), augment(tone(440), settings, 0, "wor")):
        assert other.samples.size != first.samples.size or (other.samples != first.samples).any()


def test_shares_are_kept():
    settings = Augmentation(
        speed=(1, 1), pitch_share=0, noise_share=0.25, room_share=0, telephone_share=0, gain_db=(0, 0)
    )
    clean = tone(440, 0.05)
    changed = sum((augment(clean, settings, 0, str(row)).samples != clean.samples).any() for row in range(400))
    assert changed / 400 == pytest.approx(0.25, abs=0.06)


@pytest.mark.parametrize("wrong", [{"noise_share": 1.5}, {"speed": (1.1, 0.9)}, {"decay_s": (0.0, 1.0)}])
def test_settings_are_checked(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Augmentation(**wrong)


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    rows = []
    for number, split in enumerate(["train", "dev", "train", "test"]):
        sides = (folder / f"{number}.zh.wav", folder / f"{number}.en.wav")
        for side in sides:
            soundfile.write(side, tone(300 + 50 * number, 0.3).samples, RATE)
        rows.append(PairRow(f"r{number}", sides[0], "zh", "嗨", sides[1], "en", "hi", "zoe", split))
    write_manifest(folder / "pairs.tsv", rows)
    return folder / "pairs.tsv"


def test_only_the_source_of_training_rows_is_changed(corpus, tmp_path):
    out = tmp_path / "out"
    command = ["corpus", "augment", str(corpus), "--out", str(out), "--copies", "2", "--workers", "1"]
    assert run(command) == 0
    rows = read_manifest(out / "pairs.tsv")
    assert [row.id for row in rows] == ["r0~1", "r0~2", "r2~1", "r2~2"]
    originals = {row.id: row for row in read_manifest(corpus)}
    for row in rows:
        original = originals[row.id.split("~")[0]]
        assert (row.target_audio, row.source_text, row.split) == (original.target_audio, "嗨", "train")
        assert soundfile.read(row.source_audio)[0].size != 0
        assert row.source_audio.is_relative_to(out / "audio")
    written = {path: path.read_bytes() for path in out.rglob("*.flac")}
    assert len(set(written.values())) == 4
    # Run again after a loss: what is missing from the manifest is made anew, and the same.
    lines = (out / "pairs.tsv").read_text().splitlines(keepends=True)
    (out / "pairs.tsv").write_text("".join(lines[:3]) + lines[3][:9])
    assert run(command) == 0
    assert read_manifest(out / "pairs.tsv") == rows
    assert {path: path.read_bytes() for path in out.rglob("*.flac")} == written


@pytest.mark.parametrize("action", ["augment", "voices"])
def test_rows_of_another_manifest_are_not_kept(action, corpus, tmp_path, capsys):
    command = ["corpus", action, str(corpus), "--out", str(tmp_path / "out"), "--workers", "1"]
    assert run(command) == 0
    before = (tmp_path / "out" / "pairs.tsv").read_bytes()
    rows = read_manifest(corpus)
    changes = (replace(rows[0], target_text="hello"), replace(rows[0], split="test"))
    for changed in changes:
        write_manifest(corpus, [changed, *rows[1:]])
        capsys.readouterr()
        assert run(command) == 2
        assert "was made from another manifest; use another folder" in capsys.readouterr().err
    assert (tmp_path / "out" / "pairs.tsv").read_bytes() == before


def test_the_other_direction_has_its_own_side_changed(corpus, tmp_path):
    out = tmp_path / "out"
    assert run(["corpus", "augment", str(corpus), "--out", str(out), "--both-directions", "--workers", "1"]) == 0
    rows = read_manifest(out / "pairs.tsv")
    assert [(row.id, row.source_lang, row.target_lang) for row in rows[:2]] == [
        ("r0~1", "zh", "en"),
        ("r0~1~back", "en", "zh"),
    ]
    assert rows[1].target_audio == read_manifest(corpus)[0].source_audio


def test_rows_without_audio_and_bad_audio_are_told(corpus, tmp_path, capsys):
    broken = corpus.parent / "2.zh.wav"
    broken.write_bytes(b"not audio")
    assert run(["corpus", "augment", str(corpus), "--out", str(tmp_path / "out"), "--workers", "1"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(broken) in error


def test_new_voices_change_both_sides_alike(corpus, tmp_path):
    out = tmp_path / "out"
    command = ["corpus", "voices", str(corpus), "--out", str(out), "--copies", "2", "--workers", "1"]
    assert run(command) == 0
    rows = read_manifest(out / "pairs.tsv")
    assert [row.id for row in rows] == ["r0~voice1", "r0~voice2", "r2~voice1", "r2~voice2"]
    assert [row.speaker for row in rows] == ["zoe~voice1", "zoe~voice2"] * 2
    assert not any(is_copy(row.id) for row in rows)
    speeds = {}
    for row in rows:
        for side in (row.source_audio, row.target_audio):
            samples, rate = soundfile.read(side)
            speed = 0.3 * RATE / samples.size
            assert 0.85 <= speed <= 1.15
            assert speeds.setdefault(row.speaker, speed) == pytest.approx(speed, rel=1e-3)
            heard = strongest_hz(Waveform(samples.astype(np.float32), rate))
            assert heard == pytest.approx(speed * (300 if row.id.startswith("r0") else 400), rel=0.02)
    assert len(set(speeds.values())) == 2
    # Run again after a loss: what is missing is made anew, and the same.
    written = {path: path.read_bytes() for path in out.rglob("*.flac")}
    lines = (out / "pairs.tsv").read_text().splitlines(keepends=True)
    (out / "pairs.tsv").write_text("".join(lines[:2]))
    for path in (rows[1].source_audio, rows[3].target_audio):
        path.unlink()
    assert run(command) == 0
    assert read_manifest(out / "pairs.tsv") == rows
    assert {path: path.read_bytes() for path in out.rglob("*.flac")} == written


def test_a_recording_of_several_rows_gets_its_new_voice_once(corpus, tmp_path):
    rows = read_manifest(corpus)
    shared = replace(rows[2], id="r4", target_audio=rows[0].target_audio)
    foreign = replace(rows[2], id="r5", target_audio=rows[0].target_audio, speaker=None)
    one_sided, noisy = replace(rows[0], id="r6", target_audio=None), replace(rows[0], id="r0~1")
    write_manifest(corpus, [rows[0], shared, foreign, one_sided, noisy])
    out = tmp_path / "out"
    assert run(["corpus", "voices", str(corpus), "--out", str(out), "--workers", "1"]) == 0
    first, second, third = read_manifest(out / "pairs.tsv")
    assert first.target_audio == second.target_audio
    assert third.target_audio != first.target_audio
    assert third.speaker is None
    assert len(list(out.rglob("*.flac"))) == 5


def test_new_voices_need_rows_with_two_sides(corpus, tmp_path, capsys):
    write_manifest(corpus, [replace(row, target_audio=None) for row in read_manifest(corpus)])
    assert run(["corpus", "voices", str(corpus), "--out", str(tmp_path / "out")]) == 2
    assert "no row of split train is spoken on both sides" in capsys.readouterr().err
