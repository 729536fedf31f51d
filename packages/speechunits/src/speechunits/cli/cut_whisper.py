"""`speechunits cut-whisper`: an encoder that is small enough to ship."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional


@dataclass(frozen=True, slots=True)
class CutWhisper:
    """Keep what features need of a Whisper: the convolutions and the first layers of its encoder.

    Of tiny.en and three layers, 12 of 75 MB are left, and features stay the same.

    Attributes:
        folder: A Whisper as faster-whisper publishes them (model.bin).
        out: The folder to make; --encoder reads it as it reads the whole.
        layers: How many layers.
    """

    folder: Positional[Path]
    out: Path
    layers: int = 3

    def run(self) -> None:
        """Write them and say how large they are."""
        from speechunits.encoders.whisper import cut_whisper

        size = cut_whisper(self.folder, self.layers, self.out)
        print(f"{self.out}: {self.layers} layers, {size / 1e6:.1f} MB")
