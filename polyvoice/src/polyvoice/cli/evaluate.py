"""`polyvoice evaluate`: translate a manifest, or take what another system made of it, and score the speech."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from polyvoice.errors import InputError

if TYPE_CHECKING:
    from polyvoice.evaluation.unit_encoder import UnitEncoder


@dataclass(frozen=True)
class Evaluate:
    """Score speech translations beside the reference speech: what is said, in whose voice, how well, how long.

    Killed runs go on where they stopped: give the same command again. A metric whose model is not installed is named
    with the command that installs it; the others are computed.
    """

    manifest: Positional[Path]
    """Table with id, source_audio, source_lang, target_lang; target_text and target_audio where there are any."""
    out: Positional[Path]
    """Folder for scores.json, rows.jsonl and the speech."""
    outputs: Path
    """Folder with the speech of a system, one file ID.wav (or .flac, .ogg, .mp3) a row; a row without one is silent."""
    recognizers: tuple[str, ...] = ()
    """LANGUAGE=MODEL; the first of a language gives the headline scores. MODEL is moonshine, whisper-tiny.en,
    faster-whisper:NAME, or a folder or hub name such as openai/whisper-small. Default: the first two, for English."""
    encoder: str | None = None
    """Speech encoder for the unit error rate, as `speechunits extract` takes it; with --layer and --kmeans."""
    layer: int | None = None
    """Layer of the encoder."""
    kmeans: Path | None = None
    """Centroids of the units."""
    skip: tuple[Literal["asr_bleu", "speaker_similarity", "mos", "dnsmos"], ...] = ()
    """Metrics that are not wanted; dnsmos takes the longest."""
    seed: int = 0
    """Of the translations."""
    device: str = "cpu"
    """torch device of the judges."""
    json: bool = False
    """Print scores.json on stdout instead of a table."""

    def run(self) -> None:
        """Evaluate, and print the scores."""
        from polyvoice.cli.scores import print_evaluation
        from polyvoice.corpus.manifest import read_manifest
        from polyvoice.evaluation.evaluate import evaluate
        from polyvoice.evaluation.judges import load_judges
        from polyvoice.evaluation.recognizers import DEFAULTS
        from polyvoice.evaluation.translator import Recordings

        system = Recordings(self.outputs)
        languages = [row.target_lang for row in read_manifest(self.manifest)]
        units = self._load_unit_encoder()
        recognizers = self.recognizers or DEFAULTS
        judges = load_judges(recognizers, languages, units=units, skip=self.skip, device=self.device)
        evaluation = evaluate(self.manifest, self.out, system, judges, seed=self.seed)
        print_evaluation(evaluation, self.out, as_json=self.json)

    def _load_unit_encoder(self) -> UnitEncoder | None:
        if self.encoder is None and self.layer is None and self.kmeans is None:
            return None
        if self.encoder is None or self.layer is None or self.kmeans is None:
            raise InputError("the unit error rate needs all three of --encoder, --layer and --kmeans")
        from polyvoice.evaluation.unit_encoder import load_unit_encoder

        return load_unit_encoder(self.encoder, self.layer, self.kmeans, self.device)
