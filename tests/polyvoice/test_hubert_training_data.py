"""Labels, crops and augmentation: what is heard and what it is called stay together."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyvoice.errors import InputError
from polyvoice.stages.encoder.augmentation import augment, coloured_noise, equalize, mix_utterance, scale_to_ratio
from polyvoice.stages.encoder.data import (
    BatchMaker,
    BatchPlan,
    LabelledUtterance,
    build_batch,
    frames_at_speed,
    label_positions,
    read_crop,
    read_labels,
    training_batches,
)
from polyvoice.stages.encoder.settings import Augmentation
from speechunits.audio import Waveform, write_wav
from speechunits.encoders.geometry import count_frames, count_samples
from speechunits.extracted import CodesInfo, Extracted, ExtractedInfo, UnitsInfo, write_extracted

PLAIN = Augmentation(resample_probability=0.0, equalizer_db=0.0, noise_probability=0.0, mix_probability=0.0)


def steps_of_loudness(frames: int, rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """Sound `[N]` whose level tells the frame, and the number of each frame `[frames]`."""
    samples = round(((frames - 1) * 320 + 400) * rate_hz / 16_000)
    time_s = np.arange(samples) / rate_hz
    level = 0.1 + 0.8 * time_s / time_s[-1]
    return (level * np.sin(2 * np.pi * 1_000.0 * time_s)).astype(np.float32), np.arange(frames)


@pytest.mark.parametrize("rate_hz", [16_000, 24_000])
@pytest.mark.parametrize("speed", [0.88, 1.0, 1.14])
def test_labels_follow_the_sound_at_any_speed(tmp_path, rate_hz, speed):
    """The level of each frame of a crop says which frame of the recording it is; its label has to say the same."""
    frames = 200
    sound, numbers = steps_of_loudness(frames, rate_hz)
    write_wav(tmp_path / "a.wav", Waveform(sound, rate_hz))
    utterance = LabelledUtterance(tmp_path / "a.wav", numbers[None].astype(np.int16))
    settings = Augmentation(1.0, (speed, speed), 0.0, 0.0, (0.0, 0.0), 0.0, (0.0, 0.0))
    batch = build_batch([utterance], settings, 120, np.random.default_rng(3))
    assert batch.labels.shape == (1, 1, 120)
    assert batch.sound.shape == (1, count_samples(120))
    windows = np.lib.stride_tricks.sliding_window_view(batch.sound[0], 400)[::320]
    levels = np.sqrt(2 * np.mean(windows.astype(np.float64) ** 2, axis=1))
    centres = (levels - 0.1) / 0.8 * (sound.size / rate_hz * 16_000) / 320 - 0.625  # in frames of the recording
    assert np.abs(centres - batch.labels[0, 0])[2:-2].max() < 0.75


@given(st.integers(1, 500), st.sampled_from([0.88, 0.95, 1.0, 1.07, 1.14]))
def test_crops_fit_into_the_recording(frames, speed):
    fewer = frames_at_speed(frames, speed)
    positions = label_positions(fewer, speed)
    assert fewer >= 1
    assert positions[0] == 0
    assert positions[-1] < frames
    # Not wasteful: what is left over is less than three frames.
    assert frames - 1 - positions[-1] <= 3


def test_a_crop_is_that_part_of_the_file(tmp_path):
    sound = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    write_wav(tmp_path / "a.wav", Waveform(sound, 16_000), subtype="FLOAT")
    np.testing.assert_array_equal(read_crop(tmp_path / "a.wav", 3_200, 4_000), sound[3_200:7_200])
    with pytest.raises(InputError, match=r"a\.wav: ends before its labels do"):
        read_crop(tmp_path / "a.wav", 31_000, 4_000)
    with pytest.raises(InputError, match="cannot be read as audio"):
        read_crop(tmp_path / "absent.wav", 0, 400)
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(InputError, match="cannot be read as audio"):
        read_crop(tmp_path / "text.wav", 0, 400)


@given(st.lists(st.integers(10, 400), min_size=1, max_size=60), st.integers(100, 2_000))
def test_every_utterance_comes_once_an_epoch(lengths, batch_frames):
    plan = BatchPlan(lengths, batch_frames, seed=1)
    for epoch in range(2):
        steps = range(epoch * plan.batches_per_epoch + 1, (epoch + 1) * plan.batches_per_epoch + 1)
        batches = [plan.batch(step) for step in steps]
        assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
        for batch in batches:
            of_batch = [lengths[position] for position in batch]
            assert len(batch) == 1 or len(batch) * max(of_batch) <= batch_frames
            assert max(of_batch) <= 1.15 * min(of_batch) + 1e-9 or len(set(of_batch)) == 1


def test_batches_depend_on_seed_and_step_alone(tmp_path):
    utterances = []
    for number in range(6):
        sound, numbers = steps_of_loudness(60 + 4 * number, 16_000)
        write_wav(tmp_path / f"{number}.wav", Waveform(sound, 16_000))
        utterances.append(LabelledUtterance(tmp_path / f"{number}.wav", numbers[None].astype(np.int16)))
    lengths = [utterance.frames for utterance in utterances]

    def draw(steps: range, seed: int = 5, readers: int = 0) -> list[np.ndarray]:
        make = BatchMaker(utterances, BatchPlan(lengths, 150, seed), Augmentation(), 50, seed)
        return [batch.sound for batch in training_batches(make, steps, readers)]

    for whole, later in zip(draw(range(1, 9))[4:], draw(range(5, 9)), strict=True):
        np.testing.assert_array_equal(whole, later)
    for here, elsewhere in zip(draw(range(1, 9)), draw(range(1, 9), readers=2), strict=True):
        np.testing.assert_array_equal(here, elsewhere)
    assert not all(np.array_equal(a, b) for a, b in zip(draw(range(1, 5)), draw(range(1, 5), seed=6), strict=True))


def write_labels(folder: Path, names: list[str], frames: int = 40, rate_hz: float = 50.0, clusters: int = 8) -> Path:
    rows = [Extracted(name, frames / 50, np.arange(frames) % clusters, None) for name in names]
    write_extracted(folder, ExtractedInfo(UnitsInfo("e", "k", clusters, rate_hz), None), rows)
    return folder


def test_several_folders_are_several_labels_of_a_frame(tmp_path):
    names = [f"{number}.wav" for number in range(40)]
    folders = [write_labels(tmp_path / "a", names), write_labels(tmp_path / "b", names, frames=39, clusters=5)]
    data = read_labels(folders, tmp_path, 0.2)
    assert data.clusters == (8, 5)
    assert data.train[0].labels.shape == (2, 39)
    assert {item.audio for item in data.train} | {item.audio for item in data.held_out} == {tmp_path / n for n in names}
    assert 2 <= len(data.held_out) <= 16
    # What is held out does not depend on what else is in the list.
    fewer = read_labels([write_labels(tmp_path / "c", names[::2])], tmp_path, 0.2)
    assert {item.audio for item in fewer.held_out} == {i.audio for i in data.held_out if int(i.audio.stem) % 2 == 0}


def test_labels_that_do_not_fit_are_refused(tmp_path):
    names = [f"{number}.wav" for number in range(20)]
    good = write_labels(tmp_path / "good", names)
    with pytest.raises(InputError, match=r"same files \(look for 0\.wav\)"):
        read_labels([good, write_labels(tmp_path / "order", names[::-1])], tmp_path, 0.2)
    with pytest.raises(InputError, match=r"same files \(look for 19\.wav\)"):
        read_labels([good, write_labels(tmp_path / "fewer", names[:-1])], tmp_path, 0.2)
    with pytest.raises(InputError, match="50 Hz"):
        read_labels([write_labels(tmp_path / "rate", names, rate_hz=100.0)], tmp_path, 0.2)
    with pytest.raises(InputError, match="0 utterances to train on"):
        read_labels([write_labels(tmp_path / "short", names, frames=9)], tmp_path, 0.2)
    rows = [Extracted("a.wav", 1.0, None, np.zeros((2, 50), dtype=np.int64))]
    write_extracted(tmp_path / "codes", ExtractedInfo(None, CodesInfo("c", 2, 4, 50.0)), rows)
    with pytest.raises(InputError, match="units at 50 Hz"):
        read_labels([tmp_path / "codes"], tmp_path, 0.2)


def test_noise_has_the_asked_ratio():
    generator = np.random.default_rng(0)
    sound = generator.normal(0, 0.1, 16_000).astype(np.float32)
    noise = scale_to_ratio(coloured_noise(16_000, generator), sound, 10.0)
    assert 10 * np.log10(np.mean(sound**2) / np.mean(noise**2)) == pytest.approx(10.0, abs=1e-3)
    assert not scale_to_ratio(noise, np.zeros_like(sound), 10.0).any()


def test_equalizer_shapes_and_mixing_changes_at_most_half():
    generator = np.random.default_rng(0)
    sound = generator.normal(0, 0.1, 16_001).astype(np.float32)
    np.testing.assert_allclose(equalize(sound, 0.0, generator), sound, atol=1e-6)
    ratio = np.abs(np.fft.rfft(equalize(sound, 6.0, generator))) / np.abs(np.fft.rfft(sound))
    assert np.abs(np.diff(20 * np.log10(ratio[5:-5]))).max() < 0.2
    assert np.ptp(20 * np.log10(ratio[5:-5])) > 3.0
    changed = mix_utterance(sound, np.roll(sound, 99), 5.0, generator) != sound
    assert 0 < changed.sum() <= sound.size // 2


def test_augmentation_changes_copies_only():
    crops = np.random.default_rng(0).normal(0, 0.1, (3, 4_000)).astype(np.float32)
    before = crops.copy()
    always = Augmentation(0.0, (1.0, 1.0), 4.0, 1.0, (5.0, 5.0), 1.0, (0.0, 5.0))
    changed = augment(crops, always, np.random.default_rng(1))
    np.testing.assert_array_equal(crops, before)
    assert (changed != crops).mean() > 0.9
    assert changed.dtype == np.float32
    np.testing.assert_array_equal(augment(crops, PLAIN, np.random.default_rng(1)), crops)
    assert count_frames(changed.shape[1]) == count_frames(4_000)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"resample_range": (1.1, 0.9)}, "more than"),
        ({"noise_probability": 1.5}, "lie in"),
        ({"equalizer_db": -1}, "neg"),
    ],
)
def test_wrong_augmentation_is_refused(values, reason):
    with pytest.raises(InputError, match=reason):
        Augmentation(**values)
