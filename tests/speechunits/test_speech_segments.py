"""Speech and pauses: silero-vad's own numbers, and cuts that lose nothing and fall into pauses."""

import subprocess
import sys
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechunits.audio import Waveform, read_audio, resample
from speechunits.errors import InputError
from speechunits.segments import Segment, SpeechRules, cut_at_pauses, find_speech, join_frames
from speechunits.voice_activity import detect_speech


@pytest.fixture(scope="module")
def silero():
    """The package itself, which is the reference; the number of threads is put back."""
    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import silero_vad

        model = silero_vad.load_silero_vad()
    torch.set_num_threads(threads)
    return silero_vad, model


@pytest.fixture(scope="module")
def speech(golden_utterance) -> np.ndarray:
    """11.9 s of real speech without a pause of 0.1 s."""
    return read_audio(golden_utterance.audio).samples


def silence(duration_s: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1e-4, round(16_000 * duration_s)).astype(np.float32)


def recording(*parts: np.ndarray) -> Waveform:
    return Waveform(np.concatenate(parts), 16_000)


def test_probabilities_are_those_of_silero(silero, speech: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    _, model = silero
    with torch.no_grad():
        expected = model.audio_forward(torch.from_numpy(speech)[None], 16_000)[0].numpy()
    found = detect_speech(Waveform(speech, 16_000))
    assert found.shape == (-(-speech.size // 512),)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found.min() < 0.05
    assert found.max() > 0.95
    monkeypatch.setattr("speechunits.voice_activity._FRAMES_AT_ONCE", 100)
    np.testing.assert_allclose(detect_speech(Waveform(speech, 16_000)), found, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    levels=st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.4, 0.6, 1.0]), st.integers(1, 14)), max_size=14),
    extra=st.integers(0, 511),
)
def test_segments_are_those_of_silero(silero, levels: list[tuple[float, int]], extra: int) -> None:
    package, _ = silero
    probabilities = [level for level, frames in levels for _ in range(frames)]
    samples = max(0, len(probabilities) * 512 - extra)
    expected = package.get_speech_timestamps_from_probs(probabilities, audio_length_samples=samples)
    found = join_frames(np.array(probabilities, dtype=np.float32), samples / 16_000, SpeechRules())
    assert len(found) == len(expected)
    for segment, theirs in zip(found, expected, strict=True):
        # It rounds halves of odd pauses down to whole samples.
        assert segment.start_s == pytest.approx(theirs["start"] / 16_000, abs=1e-4)
        assert segment.stop_s == pytest.approx(theirs["end"] / 16_000, abs=1e-4)


def test_speech_is_found_in_silence(speech: np.ndarray) -> None:
    first, second = speech[8_000:80_000], speech[100_000:180_000]
    found = find_speech(recording(silence(3), first, silence(2), second, silence(1)))
    pauses = [after.start_s - before.stop_s for before, after in pairwise(found)]
    longest = int(np.argmax(pauses))
    assert 2.9 <= found[0].start_s < 3.5
    assert 7.0 < found[longest].stop_s <= 7.7
    assert 9.4 <= found[longest + 1].start_s < 10.0
    assert 13.5 < found[-1].stop_s <= 14.7


def test_the_rate_does_not_matter(speech: np.ndarray) -> None:
    waveform = recording(silence(1), speech, silence(1))
    expected = find_speech(waveform)
    found = find_speech(resample(waveform, 44_100))
    assert len(found) == len(expected)
    np.testing.assert_allclose([s.start_s for s in found], [s.start_s for s in expected], atol=0.1)


@pytest.mark.parametrize("level", [0.0, 1e-4])
def test_silence_has_no_segments(level: float) -> None:
    waveform = Waveform((level * np.random.default_rng(0).normal(size=40_000)).astype(np.float32), 16_000)
    assert find_speech(waveform) == cut_at_pauses(waveform) == ()


@pytest.mark.parametrize("samples", [1, 100, 800])
def test_very_short_recordings(samples: int) -> None:
    assert cut_at_pauses(Waveform(np.ones(samples, dtype=np.float32), 16_000)) == ()


def covers(pieces: tuple[Segment, ...], speech: tuple[Segment, ...]) -> bool:
    """Whether the pieces are in order and every 10 ms of speech lies in one."""
    times = [t for s in speech for t in np.arange(s.start_s, s.stop_s, 0.01)]
    ordered = all(before.stop_s <= after.start_s for before, after in pairwise(pieces))
    return ordered and all(any(p.start_s <= t <= p.stop_s + 1e-6 for p in pieces) for t in times)


@pytest.mark.parametrize("longest_s", [20.0, 9.0, 4.0, 2.0])
def test_pieces_cover_the_speech_and_begin_and_end_in_pauses(speech: np.ndarray, longest_s: float) -> None:
    waveform = recording(silence(1), speech, silence(2), speech[: 16_000 * 5], silence(0.5), speech)
    found = find_speech(waveform)
    pieces = cut_at_pauses(waveform, longest_s=longest_s)
    assert covers(pieces, found)
    assert all(piece.duration_s <= longest_s for piece in pieces)
    starts, stops = {s.start_s for s in found}, {s.stop_s for s in found}
    for piece in pieces:
        # A cut inside speech is there only because a stretch without a pause is longer than a piece may be.
        for cut, ends in ((piece.start_s, starts), (piece.stop_s, stops)):
            around = [s for s in found if s.start_s < cut < s.stop_s]
            assert cut in ends or around[0].duration_s > longest_s


def test_long_pauses_are_kept_out_of_pieces(speech: np.ndarray) -> None:
    waveform = recording(speech[: 16_000 * 3], silence(2), speech[: 16_000 * 3])
    assert len(cut_at_pauses(waveform, pause_s=1.0)) == 2
    assert len(cut_at_pauses(waveform, pause_s=5.0)) == 1


def probabilities_of(*stretches: tuple[float, float]) -> np.ndarray:
    return np.concatenate([np.full(round(seconds / 0.032), level, dtype=np.float32) for level, seconds in stretches])


def test_the_longest_pause_is_cut_first(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = probabilities_of((1, 6.4), (0, 0.32), (1, 6.4), (0, 0.64), (1, 6.4))
    monkeypatch.setattr("speechunits.segments.detect_speech", lambda waveform: shares)
    waveform = Waveform(np.zeros(shares.size * 512, dtype=np.float32), 16_000)
    pieces = cut_at_pauses(waveform, longest_s=15.0)
    assert [round(piece.duration_s) for piece in pieces] == [13, 6]
    assert len(cut_at_pauses(waveform, longest_s=10.0)) == 3


def test_speech_without_a_pause_is_cut_where_it_is_quietest(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000 * 16).astype(np.float32)
    for quiet_s in (3.0, 7.0, 12.5):  # the first lies outside of 5 to 10 s, where a cut is wanted
        samples[round(16_000 * quiet_s) : round(16_000 * (quiet_s + 0.1))] *= 0.1
    monkeypatch.setattr("speechunits.segments.detect_speech", lambda waveform: probabilities_of((1, 16)))
    pieces = cut_at_pauses(Waveform(samples, 16_000), longest_s=10.0)
    assert [(round(piece.start_s, 1), round(piece.stop_s, 1)) for piece in pieces] == [(0.0, 7.0), (7.0, 16.0)]
    pieces = cut_at_pauses(Waveform(samples, 16_000), longest_s=8.0)
    assert [round(piece.stop_s) for piece in pieces] == [7, 13, 16]
    for longest_s in (0.2, 1.0, 3.3, 15.99):
        pieces = cut_at_pauses(Waveform(samples, 16_000), longest_s=longest_s)
        assert max(piece.duration_s for piece in pieces) <= longest_s + 1e-9
        assert sum(piece.duration_s for piece in pieces) == pytest.approx(16, abs=0.03)


@pytest.mark.parametrize("wrong", [{"longest_s": 0.1}, {"pause_s": 0.0}])
def test_wrong_lengths_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        cut_at_pauses(Waveform(silence(1), 16_000), **wrong)
    with pytest.raises(InputError, match="threshold"):
        SpeechRules(threshold=1.0)
    with pytest.raises(InputError, match="not negative"):
        SpeechRules(margin_s=-1.0)


def test_torch_keeps_its_threads() -> None:
    code = (
        "import numpy as np, sys, torch\n"
        "torch.set_num_threads(2)\n"
        "from speechunits.audio import Waveform\n"
        "from speechunits.segments import find_speech\n"
        "find_speech(Waveform(np.zeros(16_000, dtype=np.float32), 16_000))\n"
        "print(torch.get_num_threads(), 'silero_vad' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "2 False\n"
