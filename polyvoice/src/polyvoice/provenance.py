"""Speech that this program made says so in its file: a comment that any audio tool shows."""

from __future__ import annotations

import io
import struct
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

from speechunits.errors import InputError
from speechunits.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from speechunits.audio import Samples, Waveform

Format = Literal["wav", "flac"]
FORMATS: tuple[Format, ...] = ("wav", "flac")

_UNKNOWN_SIZE = 0xFFFFFFFF  # what players read as: until the end


def synthetic_tag() -> str:
    """What is written into the file, such as `synthetic speech, polyvoice 0.1.0`."""
    return f"synthetic speech, polyvoice {version('polyvoice-s2st')}"


def encode_speech(waveform: Waveform, file_format: Format, comment: str | None = None) -> bytes:
    """An audio file of 16 bits with a comment in it; what is louder than full scale is clipped.

    Args:
        waveform: the sound.
        file_format: of the file.
        comment: by default the tag; empty for speech that is not ours.
    """
    return _encode(waveform.samples, waveform.rate_hz, file_format, synthetic_tag() if comment is None else comment)


def format_of(path: Path) -> Format:
    """The format that a file's name asks for.

    Raises:
        speechunits.errors.InputError: the name ends in another one.
    """
    for name in FORMATS:
        if path.suffix.lower() == f".{name}":
            return name
    raise InputError(f"{path}: speech is written as {' or '.join(f'.{name}' for name in FORMATS)}")


def write_speech(path: Path, waveform: Waveform, file_format: Format = "wav") -> None:
    """Write a file with the tag in it, atomically.

    Raises:
        speechunits.errors.InputError: the folder does not exist.
    """
    write_atomically(path, encode_speech(waveform, file_format))


def read_comment(path: Path) -> str:
    """The comment of an audio file; empty where it has none.

    Raises:
        speechunits.errors.InputError: the file cannot be read as audio.
    """
    import soundfile

    try:
        with soundfile.SoundFile(path) as sound:
            return str(sound.comment)
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path}: cannot be read as audio: {error.error_string}") from error


def open_wav_stream(rate_hz: int) -> bytes:
    """The head of a WAV file, with the tag, that is sent before anybody knows how long the file will be.

    What follows is `encode_pcm` of each part. Both lengths in the head are the largest there are, as other programs
    write them into a pipe.
    """
    import numpy as np

    head = bytearray(_encode(np.empty(0, np.float32), rate_hz, "wav", synthetic_tag()))
    if head[-8:-4] != b"data":
        raise RuntimeError("libsndfile wrote something after the samples")
    head[4:8] = head[-4:] = struct.pack("<I", _UNKNOWN_SIZE)
    return bytes(head)


def encode_pcm(samples: Samples) -> bytes:
    """Samples `[T]` as a WAV file of 16 bits holds them, the very bytes that `encode_speech` writes."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 1, format="RAW", subtype="PCM_16", endian="LITTLE")
    return buffer.getvalue()


def _encode(samples: Samples, rate_hz: int, file_format: Format, comment: str) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", rate_hz, 1, "PCM_16", format=file_format.upper()) as sound:
        if comment:
            sound.comment = comment  # before any sample, so that it stands in the head
        sound.write(samples)
    return buffer.getvalue()
