"""Speech that was made says so in its file, whole or streamed."""

from __future__ import annotations

import io
import struct
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import soundfile

from polyvoice.pipeline.join import Spoken, join_pieces, lay_pieces
from polyvoice.provenance import (
    FORMATS,
    Format,
    encode_pcm,
    encode_speech,
    open_wav_stream,
    read_comment,
    synthetic_tag,
    write_speech,
)
from speechunits.audio import Waveform, read_audio, write_wav
from speechunits.errors import InputError
from speechunits.segments import Segment


def noise(seconds: float, loudness: float = 0.5) -> Waveform:
    samples = np.random.default_rng(0).uniform(-loudness, loudness, round(seconds * 8000)).astype(np.float32)
    return Waveform(samples, 8000)


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_file_names_its_maker_and_holds_the_same_sound(file_format: Format, tmp_path: Path) -> None:
    loud = noise(0.5, loudness=1.5)
    (tmp_path / "tagged").write_bytes(encode_speech(loud, file_format))
    assert read_comment(tmp_path / "tagged") == f"synthetic speech, polyvoice {version('polyvoice-s2st')}"
    write_wav(tmp_path / "plain.wav", loud)
    # The two formats round halves each in its own way.
    sound, plain = (read_audio(tmp_path / name).samples for name in ("tagged", "plain.wav"))
    assert sound == pytest.approx(plain, abs=1.01 / 2**15)


def test_speech_that_is_not_ours_is_not_tagged(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_bytes(encode_speech(noise(0.1), "flac", comment=""))
    assert read_comment(tmp_path / "theirs") == ""
    (tmp_path / "named").write_bytes(encode_speech(noise(0.1), "wav", comment="of another system"))
    assert read_comment(tmp_path / "named") == "of another system"


def test_a_stream_is_the_file_but_for_its_lengths(tmp_path: Path) -> None:
    spoken = noise(0.3, loudness=1.2)
    parts = np.split(spoken.samples, [700, 1500])
    stream = open_wav_stream(spoken.rate_hz) + b"".join(encode_pcm(part) for part in parts)
    write_speech(tmp_path / "whole.wav", spoken)
    whole = (tmp_path / "whole.wav").read_bytes()
    head = len(open_wav_stream(spoken.rate_hz))
    assert stream[head:] == whole[head:]
    assert stream[8 : head - 4] == whole[8 : head - 4]
    assert struct.unpack("<I", stream[4:8]) == struct.unpack("<I", stream[head - 4 : head]) == (0xFFFFFFFF,)
    # libsndfile, and what is built on it, reads a stream as it is.
    samples, _ = soundfile.read(io.BytesIO(stream), dtype="float32")
    assert np.array_equal(samples, read_audio(tmp_path / "whole.wav").samples)
    (tmp_path / "stream.wav").write_bytes(stream)
    assert read_comment(tmp_path / "stream.wav") == synthetic_tag()


def test_what_is_no_audio_has_no_comment(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(InputError, match=r"text\.wav: cannot be read as audio"):
        read_comment(tmp_path / "text.wav")


def test_pieces_that_come_one_by_one_are_the_joined_ones() -> None:
    pieces = [
        Spoken(Segment(0.5, 1.0), None),
        Spoken(Segment(1.5, 2.0), noise(0.4)),
        Spoken(Segment(2.2, 3.0), None),
        Spoken(Segment(3.3, 4.0), noise(0.6)),
        Spoken(Segment(4.1, 5.0), noise(0.2)),
    ]
    joined = join_pieces(pieces, 8000)
    assert joined is not None
    parts = list(lay_pieces(iter(pieces), 8000))
    assert [part.size for part in parts] == [3200, round(1.3 * 8000) + 4800, 800 + 1600]
    assert np.array_equal(np.concatenate(parts), joined.samples)
    assert join_pieces(pieces[:1], 8000) is None
