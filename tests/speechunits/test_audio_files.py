"""Audio: any rate, any number of channels, and inputs that are wrong."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechunits.audio import Waveform, read_audio, resample, write_wav
from speechunits.errors import InputError


def tone(frequency_hz: float, rate_hz: int, duration_s: float = 0.5) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(round(duration_s * rate_hz)) / rate_hz)).astype(
        np.float32
    )


@pytest.mark.parametrize(("suffix", "tolerance"), [(".wav", 1e-4), (".flac", 1e-4), (".ogg", 0.05)])
def test_reads_every_format_and_mixes_down(tmp_path: Path, suffix: str, tolerance: float) -> None:
    left, right = tone(300.0, 22_050), tone(500.0, 22_050)
    path = tmp_path / f"stereo{suffix}"
    soundfile.write(path, np.stack((left, right), axis=1), 22_050)
    waveform = read_audio(path)
    assert waveform.rate_hz == 22_050
    assert waveform.samples.shape == left.shape
    assert np.abs(waveform.samples - (left + right) / 2).max() < tolerance


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 44_100, 48_000])
def test_resampling_keeps_a_tone_a_tone(rate_hz: int) -> None:
    converted = resample(Waveform(tone(1_000.0, rate_hz), rate_hz), 16_000)
    expected = tone(1_000.0, 16_000)
    assert abs(converted.samples.size - expected.size) <= 1
    middle = slice(1_000, 7_000)  # the filter rings at both ends
    assert np.abs(converted.samples[middle] - expected[middle]).max() < 2e-3


def test_resampling_to_the_same_rate_changes_nothing() -> None:
    waveform = Waveform(tone(1_000.0, 16_000), 16_000)
    assert resample(waveform, 16_000) is waveform


def test_wav_round_trip(tmp_path: Path) -> None:
    samples = np.array([0.0, 0.25, -0.5, 1.5, -1.5], dtype=np.float32)
    write_wav(tmp_path / "float.wav", Waveform(samples, 24_000), subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "float.wav").samples, samples)
    write_wav(tmp_path / "pcm.wav", Waveform(samples, 24_000))
    # PCM clips to full scale; it must not wrap around.
    np.testing.assert_allclose(read_audio(tmp_path / "pcm.wav").samples, samples.clip(-1, 1), atol=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["float.wav", "pcm.wav"]


def test_reads_the_golden_utterance(golden_utterance) -> None:
    waveform = read_audio(golden_utterance.audio)
    # 190800 is the length that fairseq's own test script states for this file.
    assert (waveform.rate_hz, waveform.samples.size) == (16_000, 190_800)


def test_silence_and_very_short_files_are_waveforms(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(800, dtype=np.float32), 16_000)
    waveform = read_audio(tmp_path / "silent.wav", rate_hz=24_000)
    assert waveform.samples.size == 1_200
    assert waveform.duration_s == pytest.approx(0.05)
    assert not waveform.samples.any()


def test_wrong_files_are_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not a sound")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0, dtype=np.float32), 16_000)
    broken = tone(300.0, 16_000)
    broken[8] = np.nan
    soundfile.write(tmp_path / "nan.wav", broken, 16_000, subtype="FLOAT")
    broken[8] = np.inf
    soundfile.write(tmp_path / "inf.wav", broken, 16_000, subtype="FLOAT")
    reasons = {
        "absent.wav": "No such file",
        "text.wav": "cannot be read as audio",
        "empty.wav": "at least one sample",
        "nan.wav": "sample 8",
        "inf.wav": "sample 8",
    }
    for name, reason in reasons.items():
        with pytest.raises(InputError) as caught:
            read_audio(tmp_path / name)
        message = str(caught.value)
        assert name in message
        assert reason in message
        assert "\n" not in message
    with pytest.raises(InputError, match="Is a directory"):
        read_audio(tmp_path)


def test_many_channels_of_eight_bits(tmp_path: Path) -> None:
    channels = np.stack([tone(200.0 + 100.0 * channel, 8_000) for channel in range(7)], axis=1)
    soundfile.write(tmp_path / "seven.wav", channels, 8_000, subtype="PCM_U8")
    waveform = read_audio(tmp_path / "seven.wav")
    assert np.abs(waveform.samples - channels.mean(axis=1)).max() < 1 / 128


@pytest.mark.parametrize("rate_hz", [None, 16_000, 48_000])
def test_blocks_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate_hz: int | None) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, (22_050, 2)).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", samples, 22_050, subtype="FLOAT")
    whole = read_audio(tmp_path / "noise.wav", rate_hz)
    monkeypatch.setattr("speechunits.audio._BLOCK_SAMPLES", 1_001)
    np.testing.assert_array_equal(read_audio(tmp_path / "noise.wav", rate_hz).samples, whole.samples)
    mixed = Waveform(samples.mean(axis=1), 22_050)
    np.testing.assert_array_equal(whole.samples, resample(mixed, rate_hz or 22_050).samples)
    broken = samples.copy()
    broken[15_000, 1] = np.nan
    soundfile.write(tmp_path / "broken.wav", broken, 22_050, subtype="FLOAT")
    with pytest.raises(InputError, match=r"broken\.wav: sample 15000 \(0\.680 s\) is nan"):
        read_audio(tmp_path / "broken.wav", rate_hz)


def test_two_hours_need_little_more_memory_than_the_result(tmp_path: Path) -> None:
    """Seven channels at 2 kHz are 403 MB as float32; half of one channel is 29 MB."""
    block = np.tile(tone(50.0, 2_000, 60.0)[:, None], (1, 7))
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 2_000, 7, "PCM_U8") as sound:
        for _ in range(120):
            sound.write(block)
    tracemalloc.start()
    waveform = read_audio(tmp_path / "long.wav", 1_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert waveform.duration_s == 7_200
    assert peak < 60e6


def content_of(kind: str, tmp_path: Path) -> bytes:
    soundfile.write(tmp_path / f"whole.{kind}", tone(300.0, 16_000), 16_000)
    return (tmp_path / f"whole.{kind}").read_bytes()


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3", "aiff"])
@pytest.mark.parametrize("kept", [0, 4, 12, 20, 43])
def test_cut_headers_are_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str, kept: int) -> None:
    (tmp_path / "cut").write_bytes(content_of(kind, tmp_path)[:kept])
    with pytest.raises(InputError, match="cut: ") as caught:
        read_audio(tmp_path / "cut")
    assert "\n" not in str(caught.value)
    assert "Traceback" not in capfd.readouterr().err


def test_a_recording_that_breaks_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    content = content_of("wav", tmp_path)
    (tmp_path / "half.wav").write_bytes(content[: 44 + 8_000])
    np.testing.assert_array_equal(
        read_audio(tmp_path / "half.wav").samples, read_audio(tmp_path / "whole.wav").samples[:4_000]
    )
    # What writes to a pipe cannot know the length and says that it is all there can be.
    endless = bytearray(content)
    endless[40:44] = b"\xff" * 4
    (tmp_path / "endless.wav").write_bytes(endless)
    assert read_audio(tmp_path / "endless.wav").samples.size == 8_000


def test_names_mean_nothing(tmp_path: Path) -> None:
    (tmp_path / "sound.raw").write_bytes(content_of("flac", tmp_path))
    assert read_audio(tmp_path / "sound.raw").samples.size == 8_000


def test_one_sample_cannot_be_resampled_away() -> None:
    with pytest.raises(InputError, match="leave none at 100 Hz"):
        resample(Waveform(np.ones(1, dtype=np.float32), 48_000), 100)


@pytest.mark.parametrize(
    ("samples", "rate_hz"),
    [
        (np.zeros((2, 10), dtype=np.float32), 16_000),
        (np.zeros(10, dtype=np.float64), 16_000),
        (np.zeros(10, dtype=np.float32), 0),
    ],
)
def test_a_waveform_is_one_channel_of_float32(samples: np.ndarray, rate_hz: int) -> None:
    with pytest.raises(InputError):
        Waveform(samples, rate_hz)


def test_writing_into_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        write_wav(tmp_path / "absent" / "a.wav", Waveform(tone(300.0, 16_000), 16_000))
