"""`polyvoice translate`: speech in one language to speech in another, in the same voice."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from polyvoice.errors import InputError
from polyvoice.pipeline.settings import PipelineOptions

if TYPE_CHECKING:
    from polyvoice.pipeline.translator import Piece


@dataclass(frozen=True)
class Translate:
    """Translate a recording into another language, in the same voice.

    Long recordings are cut in their pauses, translated piece by piece, and joined with the pauses.
    """

    source: Positional[Path]
    """The recording, in any format that libsndfile reads."""
    out: Positional[Path]
    """File to write, .wav or .flac; a comment in it says that the speech is synthetic."""
    to: str
    """Language to translate into, such as en."""
    from_: Annotated[str | None, arg(name="from")] = None
    """Language that is spoken; not needed where the bundle translates from one language only."""
    bundle: Path | None = None
    """Folder of models of `polyvoice bundle`; the one that ships with this package by default."""
    voice: Path | None = None
    """Recording of the voice that shall speak; the source's own by default."""
    voice_language: str | None = None
    """Language that is spoken in --voice; that of the source by default."""
    options: Annotated[PipelineOptions, arg(name="")] = field(default_factory=PipelineOptions)
    """How."""
    seed: int = 0
    """The same seed gives the same speech."""
    device: str = "cpu"
    """torch device."""
    json: bool = False
    """Print one JSON object: pieces, units, durations and seconds of each stage."""

    def run(self) -> None:
        """Translate, and say what came out."""
        if not self.out.parent.is_dir():
            raise InputError(f"{self.out}: the folder {self.out.parent} does not exist")
        from polyvoice.provenance import format_of, write_speech

        file_format = format_of(self.out)
        from rich.console import Console
        from rich.progress import Progress

        from polyvoice.bundle import load
        from polyvoice.bundle.shipped import shipped_bundle
        from polyvoice.pipeline.translator import SpeechTranslator
        from polyvoice.pipeline.whole import put_together
        from speechunits.audio import read_audio

        translator = SpeechTranslator(load(self.bundle or shipped_bundle(), self.device), self.options)
        language = translator.source_of(self.to, self.from_)
        recording = read_audio(self.source)
        voice = None
        if self.voice is not None:
            try:
                voice = translator.hear_voice(read_audio(self.voice), self.voice_language or language)
            except InputError as error:
                raise InputError(f"{self.voice}: {error}") from error
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            bar = progress.add_task("translating", total=recording.duration_s)
            whole = put_together(
                translator.pieces(recording, language, self.to, seed=self.seed, voice=voice),
                translator.rate_hz,
                lambda piece: progress.update(bar, completed=piece.segment.stop_s),
            )
        pieces, spoken = whole.pieces, whole.waveform
        if spoken is None:
            why = "no speech in it" if not pieces else "the translation is empty"
            raise InputError(f"{self.source}: {why}; nothing is written")
        write_speech(self.out, spoken, file_format)
        if self.json:
            about = {"from": language, "to": self.to, "source_s": recording.duration_s, "duration_s": spoken.duration_s}
            print(json.dumps({"audio": str(self.out), **about, "pieces": [_describe(piece) for piece in pieces]}))
        else:
            seconds = sum(whole.seconds.values())
            print(f"{self.out}: {spoken.duration_s:.2f} s of {self.to}, made in {seconds:.2f} s", file=sys.stderr)
            for piece in pieces:
                if piece.translation.text_heard is not None:  # it went by way of text
                    print(f"  {language}: {piece.translation.text_heard}", file=sys.stderr)
                    print(f"  {self.to}: {piece.translation.text_said}", file=sys.stderr)


def _describe(piece: Piece) -> dict[str, object]:
    """A piece for --json."""
    translation = piece.translation
    return {
        "start_s": round(piece.segment.start_s, 3),
        "stop_s": round(piece.segment.stop_s, 3),
        "source_units": piece.source.units.tolist(),
        "source_lengths": piece.source.lengths.tolist(),
        "units": piece.runs.units.tolist(),
        "lengths": piece.runs.lengths.tolist(),
        "text_heard": translation.text_heard,
        "text_said": translation.text_said,
        "log_probability": translation.log_probability,
        "ended": translation.ended,
        "seconds": {stage: round(value, 4) for stage, value in piece.seconds.items()},
    }
