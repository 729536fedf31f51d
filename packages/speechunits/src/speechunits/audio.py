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

_BLOCK_SAMPLES = 2**20  # of all channels together: 4 MB


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
        _require_finite(self.samples, self.rate_hz)

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples.size / self.rate_hz


def read_audio(path: Path, rate_hz: int | None = None) -> Waveform:
    """Read an audio file (WAV, FLAC, OGG, MP3, ...: whatever libsndfile reads) as one channel.

    The file is read, mixed down and resampled block by block: beside the result, 4 bytes a sample (460 MB for two hours
    at 16 kHz), only a few seconds of the original are held. Of a file that is cut off, what is there is read where its
    format allows it (WAV, AIFF, MP3).

    Args:
        path: the file.
        rate_hz: resample to this rate; None keeps the file's own.

    Returns:
        The mean of all channels.

    Raises:
        InputError: the file is missing, is not audio, has no samples or has samples that are not numbers.
    """
    try:
        # By number, not as a Python file: libsndfile then reads by itself, and no extension makes it guess.
        with path.open("rb") as stream, soundfile.SoundFile(stream.fileno(), closefd=False) as sound:
            return _read_blocks(sound, rate_hz)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path}: cannot be read as audio: {error.error_string}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _read_blocks(sound: soundfile.SoundFile, rate_hz: int | None) -> Waveform:
    file_rate_hz = int(sound.samplerate)
    wanted_hz = file_rate_hz if rate_hz is None else rate_hz
    resampler = None if wanted_hz == file_rate_hz else _make_resampler(file_rate_hz, wanted_hz)
    # Grows in place: a list of blocks would be there twice while they are joined. The header's length is no help, for
    # it may be missing or false.
    content = bytearray()
    frames = 0
    while True:
        block = sound.read(max(1, _BLOCK_SAMPLES // sound.channels), dtype="float32", always_2d=True)  # [T, channels]
        if not len(block):
            break
        samples = block.mean(axis=1, dtype=np.float32)
        _require_finite(samples, file_rate_hz, frames)
        frames += len(block)
        content += (samples if resampler is None else resampler.resample_chunk(samples)).tobytes()
    if resampler is not None and frames:
        content += resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True).tobytes()
        _require_left(len(content), frames, file_rate_hz, wanted_hz)
    return Waveform(np.frombuffer(content, dtype=np.float32), wanted_hz)


def resample(waveform: Waveform, rate_hz: int) -> Waveform:
    """Return the same sound at another sample rate (soxr, quality HQ); at the same rate, the very same object.

    Raises:
        InputError: `rate_hz` is not positive, or the waveform is shorter than one sample at the new rate.
    """
    if rate_hz == waveform.rate_hz:
        return waveform
    resampler = _make_resampler(waveform.rate_hz, rate_hz)
    samples = resampler.resample_chunk(waveform.samples, last=True)
    _require_left(samples.size, waveform.samples.size, waveform.rate_hz, rate_hz)
    return Waveform(samples, rate_hz)


def change_speed(waveform: Waveform, factor: float) -> Waveform:
    """Play `factor` times as fast: `1 / factor` of the length, pitch and formants move along (soxr, quality HQ).

    Raises:
        InputError: The factor is not positive, or nothing is left.
    """
    if factor <= 0:
        raise InputError(f"a speed is positive, not {factor:g}")
    if factor == 1:
        return waveform
    samples = soxr.resample(waveform.samples, waveform.rate_hz * factor, waveform.rate_hz, quality="HQ")
    if samples.size == 0:
        raise InputError(f"{waveform.samples.size} samples leave none at {factor:g} times the speed")
    return Waveform(samples.astype(np.float32, copy=False), waveform.rate_hz)


def _make_resampler(from_hz: int, to_hz: int) -> soxr.ResampleStream:
    if to_hz <= 0:
        raise InputError(f"a waveform has a positive sample rate, not {to_hz} Hz")
    try:
        return soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")
    except (RuntimeError, ValueError) as error:
        raise InputError(f"cannot be resampled from {from_hz} to {to_hz} Hz: {error}") from error


def _require_left(size: int, samples: int, from_hz: int, to_hz: int) -> None:
    if size == 0:
        raise InputError(f"{samples} samples at {from_hz} Hz leave none at {to_hz} Hz")


def _require_finite(samples: Samples, rate_hz: int, before: int = 0) -> None:
    """Name the first sample that is NaN or infinite; `before` samples came earlier."""
    finite = np.isfinite(samples)
    if not finite.all():
        first = int(np.argmin(finite))
        position = before + first
        raise InputError(f"sample {position} ({position / rate_hz:.3f} s) is {samples[first]}, not a number")


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
