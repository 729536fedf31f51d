"""`polyvoice evaluate`: translate a manifest, or take what another system made of it, and score the speech."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from polyvoice.errors import InputError
from polyvoice.pipeline.settings import PipelineOptions

if TYPE_CHECKING:
    from polyvoice.bundle.loading import Bundle
    from polyvoice.evaluation.evaluate import System
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
    split: Literal["train", "dev", "test"] = "test"
    """Which rows of the manifest; where it has no column split, all are of split test."""
    bundle: Path | None = None
    """Folder of models of `polyvoice bundle`; the one that ships with this package by default."""
    outputs: Path | None = None
    """Score the speech of another system instead: a folder of files ID.wav (or .flac, .ogg, .mp3), one a row; a row
    without a file counts as silent. The units, if a bundle is given too, are that bundle's."""
    options: Annotated[PipelineOptions, arg(name="")] = field(default_factory=PipelineOptions)
    """How the bundle translates."""
    recognizers: tuple[str, ...] = ()
    """LANGUAGE=MODEL; the first of a language gives the headline scores. MODEL is moonshine, whisper-tiny.en,
    faster-whisper:NAME, bundle:DIR, or a folder or hub name such as openai/whisper-small. Default: the first two, for
    English."""
    encoder: str | None = None
    """Speech encoder for the unit error rate, as `speechunits extract` takes it; with --layer and --kmeans. By default
    the bundle's."""
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
        from polyvoice.evaluation.evaluate import evaluate, select_rows
        from polyvoice.evaluation.judges import load_judges
        from polyvoice.evaluation.recognizers import DEFAULTS

        bundle = self._load_bundle()
        languages = [row.target_lang for row in select_rows(self.manifest, self.split)]
        units = self._load_unit_encoder(bundle)
        recognizers = self.recognizers or DEFAULTS
        judges = load_judges(recognizers, languages, units=units, skip=self.skip, device=self.device)
        system = self._load_system(bundle)
        evaluation = evaluate(self.manifest, self.out, system, judges, split=self.split, seed=self.seed)
        print_evaluation(evaluation, self.out, as_json=self.json)

    def _load_bundle(self) -> Bundle | None:
        """The bundle that translates or hears units; None for speech of another system where none is given."""
        if self.outputs is not None and self.bundle is None:
            return None
        from polyvoice.bundle import load
        from polyvoice.bundle.shipped import shipped_bundle

        return load(self.bundle or shipped_bundle(), self.device)

    def _load_system(self, bundle: Bundle | None) -> System:
        if bundle is None or self.outputs is not None:
            from polyvoice.evaluation.translator import Recordings

            return Recordings(self.outputs or Path())
        from polyvoice.pipeline.translator import SpeechTranslator

        return SpeechTranslator(bundle, self.options)

    def _load_unit_encoder(self, bundle: Bundle | None) -> UnitEncoder | None:
        from polyvoice.evaluation.unit_encoder import ClusteredUnits, load_unit_encoder

        if self.encoder is not None and self.layer is not None and self.kmeans is not None:
            return load_unit_encoder(self.encoder, self.layer, self.kmeans, self.device)
        if (self.encoder, self.layer, self.kmeans) != (None, None, None):
            raise InputError("the unit error rate needs all three of --encoder, --layer and --kmeans")
        return ClusteredUnits(bundle.encoder, bundle.kmeans) if bundle else None
