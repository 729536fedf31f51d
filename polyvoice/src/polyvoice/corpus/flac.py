"""Writing the audio files of a corpus as FLAC: half the size of WAV, without loss."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from speechunits.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from speechunits.audio import Waveform


def write_flac(path: Path, waveform: Waveform) -> None:
    """Write a FLAC file of 16 bits, atomically; what is louder than full scale is clipped.

    Raises:
        speechunits.errors.InputError: The folder does not exist.
    """
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, waveform.samples, waveform.rate_hz, subtype="PCM_16", format="FLAC")
    write_atomically(path, buffer.getvalue())
