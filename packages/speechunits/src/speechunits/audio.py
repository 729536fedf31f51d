"""Waveforms and audio files: read any format libsndfile knows, mix down, resample, write WAV.

torchaudio's readers want torchcodec and ffmpeg; soundfile and soxr come as complete wheels, so they are used instead.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from speechunits.errors import InputError
from speechunits.files import write_atomically

Samples: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class Waveform:
    """One channel of sound.

    Attributes:
        samples: amplitudes of shape `[T]`, float32, full scale is -1 to 1 (not enforced: resampling may overshoot).
        rate_hz: samples per second.

    Raises:
        InputError: `samples` is not a float32 vector, is empty, or holds NaN or infinity; `rate_hz` is not positive.
            Silence is a waveform like any other.
    """

    samples: Samples
    rate_hz: int

    def __post_init__(self) -> None:
        if self.samples.dtype != np.float32 or self.samples.ndim != 1:
            raise InputError(f"a waveform is float32 [T], not {self.samples.dtype} {list(self.samples.shape)}")
        if self.rate_hz <= 0:
            raise InputError(f"a waveform has a positive sample rate, not {self.rate_hz} Hz")
        if self.samples.size == 0:
            raise InputError("a waveform has at least one sample")
        finite = np.isfinite(self.samples)
        if not finite.all():
            first = int(np.argmin(finite))
            raise InputError(f"sample {first} ({first / self.rate_hz:.3f} s) is {self.samples[first]}, not a number")

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples.size / self.rate_hz


def read_audio(path: Path, rate_hz: int | None = None) -> Waveform:
    """Read an audio file (WAV, FLAC, OGG, MP3, ...: whatever libsndfile reads) as one channel.

    Args:
        path: the file.
        rate_hz: resample to this rate; None keeps the file's own.

    Returns:
        The mean of all channels.

    Raises:
        InputError: the file is missing, is not audio, has no samples or has samples that are not numbers.
    """
    try:
        with path.open("rb") as stream:
            channels, file_rate_hz = soundfile.read(stream, dtype="float32", always_2d=True)  # [T, channels]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path}: cannot be read as audio: {error.error_string}") from error
    try:
        waveform = Waveform(channels.mean(axis=1, dtype=np.float32), int(file_rate_hz))
        return waveform if rate_hz is None else resample(waveform, rate_hz)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def resample(waveform: Waveform, rate_hz: int) -> Waveform:
    """Return the same sound at another sample rate (soxr, quality HQ); at the same rate, the very same object.

    Raises:
        InputError: `rate_hz` is not positive, or the waveform is shorter than one sample at the new rate.
    """
    if rate_hz == waveform.rate_hz:
        return waveform
    if rate_hz <= 0:
        raise InputError(f"a waveform has a positive sample rate, not {rate_hz} Hz")
    samples = soxr.resample(waveform.samples, waveform.rate_hz, rate_hz, quality="HQ").astype(np.float32, copy=False)
    if samples.size == 0:
        raise InputError(f"{waveform.samples.size} samples at {waveform.rate_hz} Hz leave none at {rate_hz} Hz")
    return Waveform(samples, rate_hz)


def write_wav(path: Path, waveform: Waveform, subtype: Literal["PCM_16", "FLOAT"] = "PCM_16") -> None:
    """Write a WAV file, atomically.

    Args:
        path: the file to write; its folder must exist.
        waveform: the sound.
        subtype: PCM_16 clips to full scale; FLOAT keeps every sample as it is.

    Raises:
        InputError: the folder does not exist.
    """
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform.samples, waveform.rate_hz, subtype=subtype, format="WAV")
    write_atomically(path, buffer.getvalue())
