"""`speechunits train-codec`: make a codec."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from speechunits.codecs.speech_codec.settings import CodecTraining


@dataclass(frozen=True, slots=True)
class TrainCodec:
    """Train a small codec, or the decoder of one; a killed run goes on where it stopped: give the same command again.

    Attributes:
        table: Tab-separated list with a column audio; paths are relative to it. Rows with dev in a column split are
            held out.
        out: The run's folder; the codec comes to be in its folder codec/.
        settings: Shape, losses and course.
    """

    table: Annotated[Positional[Path], arg(metavar="LIST.tsv")]
    out: Path
    settings: Annotated[CodecTraining, arg(name="")] = field(default_factory=CodecTraining)

    def run(self) -> None:
        """Train, and print where the codec is."""
        from speechunits.codecs.speech_codec.training import train_speech_codec

        print(train_speech_codec(self.settings, self.table, self.out))
