"""`polyvoice evaluate`: translate a manifest, or take what another system made of it, and score the speech."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from polyvoice.pipeline.settings import PipelineOptions
from speechunits.engine import EngineOptions


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
    """torch device of the bundle and the judges."""
    json: bool = False
    """Print scores.json on stdout instead of a table."""
    engine: Annotated[EngineOptions, arg(name="")] = field(default_factory=EngineOptions)
    """Where rows are translated and judged; machines of a cluster see the same files under the same paths."""

    def run(self) -> None:
        """Evaluate, and print the scores."""
        from polyvoice.cli.scores import print_evaluation
        from polyvoice.evaluation.evaluate import evaluate, select_rows
        from polyvoice.evaluation.recognizers import DEFAULTS
        from polyvoice.evaluation.staff import Staff

        staff = Staff(
            bundle=self.bundle,
            outputs=self.outputs,
            options=self.options,
            recognizers=tuple(self.recognizers or DEFAULTS),
            languages=tuple(dict.fromkeys(row.target_lang for row in select_rows(self.manifest, self.split))),
            encoder=self.encoder,
            layer=self.layer,
            kmeans=self.kmeans,
            skip=self.skip,
            device=self.device,
        )
        system, judges = staff.load_system(), staff.load_judges()
        with self.engine.open() as engine:
            evaluation = evaluate(
                self.manifest,
                self.out,
                system,
                judges,
                split=self.split,
                seed=self.seed,
                engine=engine,
                employer=staff,
            )
        print_evaluation(evaluation, self.out, as_json=self.json)
