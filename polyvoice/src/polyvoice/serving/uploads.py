"""Recordings from strangers: never longer than agreed, whatever their header says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvoice.errors import InputError
from speechunits.audio import read_audio

if TYPE_CHECKING:
    from pathlib import Path

    from speechunits.audio import Waveform

_BLOCK_SAMPLES = 2**18  # of all channels together
_HIGHEST_RATE_HZ = 48_000  # speech has nothing above; a rate of a million is an attack


class TooLongError(InputError):
    """A recording is longer than a server takes."""


def read_upload(path: Path, longest_s: float) -> Waveform:
    """Read a recording of at most `longest_s` seconds; the rate is at most 48 kHz.

    A few kilobytes of FLAC can hold hours of silence, so the length is counted, block by block, before all of it is
    kept.

    Raises:
        TooLongError: it is longer.
        InputError: it is not audio; the message does not name the file.
        speechunits.errors.InputError: it has no samples, or samples that are not numbers.
    """
    import soundfile

    try:
        # By number: the name is ours, but with it libsndfile would guess formats that have no header.
        with path.open("rb") as stream, soundfile.SoundFile(stream.fileno(), closefd=False) as sound:
            rate_hz = int(sound.samplerate)
            frames = 0
            while count := len(sound.read(max(1, _BLOCK_SAMPLES // sound.channels), dtype="float32", always_2d=True)):
                frames += count
                if frames > longest_s * rate_hz:
                    raise TooLongError(f"the recording is longer than {longest_s:g} s")
    except soundfile.LibsndfileError as error:
        raise InputError(f"cannot be read as audio: {error.error_string}") from error
    if not frames:
        raise InputError("the recording has no samples")
    return read_audio(path, _HIGHEST_RATE_HZ if rate_hz > _HIGHEST_RATE_HZ else None)
