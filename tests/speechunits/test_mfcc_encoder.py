"""MFCC against a second implementation in scipy, and the frames that all encoders share."""

import numpy as np
import pytest
import scipy.fft

from speechunits.audio import Waveform
from speechunits.encoders.geometry import count_frames, count_samples
from speechunits.encoders.mfcc import MfccEncoder
from speechunits.errors import InputError


def kaldi_mfcc(samples: np.ndarray) -> np.ndarray:
    """13 coefficients every 10 ms `[T, 13]`, after Kaldi's feature-mfcc documentation, frame by frame."""
    highest, bands, size = 8_000.0, 23, 512
    window = np.hanning(400) ** 0.85  # Povey's
    mel = lambda hz: 1127.0 * np.log1p(hz / 700.0)  # noqa: E731
    corners = np.linspace(mel(20.0), mel(highest), bands + 2)
    bins = mel(np.arange(size // 2) * 16_000 / size)
    rising = (bins - corners[:-2, None]) / np.diff(corners)[:-1, None]
    falling = (corners[2:, None] - bins) / np.diff(corners)[1:, None]
    filters = np.clip(np.minimum(rising, falling), 0.0, None)  # [bands, 256]
    lifter = 1.0 + 11.0 * np.sin(np.pi * np.arange(13) / 22.0)
    rows = []
    for start in range(0, samples.size - 399, 160):
        frame = samples[start : start + 400].astype(np.float64)
        frame = frame - frame.mean()
        frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
        power = np.abs(np.fft.rfft(frame * window, size)[:-1]) ** 2
        energies = np.log(np.maximum(filters @ power, np.finfo(np.float32).eps))
        rows.append(scipy.fft.dct(energies, type=2, norm="ortho")[:13] * lifter)
    return np.array(rows)


def differences(rows: np.ndarray) -> np.ndarray:
    """Slope of the regression over five frames; the ends are repeated."""
    padded = np.pad(rows, ((2, 2), (0, 0)), mode="edge")
    count = len(rows)
    return sum(k * (padded[2 + k : 2 + k + count] - padded[2 - k : 2 - k + count]) for k in (1, 2)) / 10.0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_equals_a_second_implementation(make_waveform):
    waveform = make_waveform(0.7)
    [found] = MfccEncoder().encode([waveform])
    coefficients = kaldi_mfcc(waveform.samples)
    first = differences(coefficients)
    expected = np.concatenate([coefficients, first, differences(first)], axis=1)[::2]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_frames_are_those_of_hubert(make_waveform, save_tiny_hubert):
    from speechunits.encoders.hubert import load_fairseq_hubert

    waveforms = [make_waveform(samples / 16_000) for samples in (400, 719, 720, 16_000, 16_079, 16_080, 16_081)]
    lengths = [len(features) for features in MfccEncoder().encode(waveforms)]
    assert lengths == [len(features) for features in load_fairseq_hubert(save_tiny_hubert().path, 1).encode(waveforms)]
    assert lengths == [count_frames(waveform.samples.size) for waveform in waveforms]


@pytest.mark.parametrize("frames", [1, 2, 49, 1_500])
def test_samples_and_frames_are_inverse(frames):
    assert count_frames(count_samples(frames)) == frames
    assert count_frames(count_samples(frames) - 1) == frames - 1


def test_a_frame_starts_where_its_sound_does():
    """Frame t hears samples 320 t to 320 t + 400: before a click nothing differs from silence."""
    samples = np.zeros(16_000, dtype=np.float32)
    samples[320 * 20 + 399] = 0.5
    [clicked] = MfccEncoder().encode([Waveform(samples, 16_000)])
    [silent] = MfccEncoder().encode([Waveform(np.zeros_like(samples), 16_000)])
    changed = np.flatnonzero(np.abs(clicked[:, :13] - silent[:, :13]).max(axis=1) > 1e-3)
    assert changed.tolist() == [20, 21]


def test_too_short_is_refused():
    with pytest.raises(InputError, match="shorter than one frame"):
        MfccEncoder().encode([Waveform(np.zeros(399, dtype=np.float32), 16_000)])
