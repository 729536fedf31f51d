"""`polyvoice units`: turn speech into units."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from polyvoice.cli.encoding import Encoding

if TYPE_CHECKING:
    from polyvoice.units import UtteranceUnits
    from unitlm.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class Units(Encoding):
    """Turn speech into units: one line a file, its name and unit:frames pairs."""

    kmeans: Path
    """Centroids: a file that `polyvoice kmeans` wrote, or a published fairseq km.bin."""
    show: bool = False
    """Also print what a translation model reads: the tokens of every task that begins with these units."""
    vocabulary: Path | None = None
    """Bundle or translation model whose tokens are shown; by default text is written as bytes."""
    source: Annotated[str, arg(name="from")] = "zh"
    """Language of the speech, for --show."""
    target: Annotated[str, arg(name="to")] = "en"
    """Language to translate into, for --show."""

    def run(self) -> None:
        """Print the units of each file."""
        from polyvoice.units import extract_units, load_centroids

        kmeans = load_centroids(self.kmeans)
        clusters = len(kmeans.centroids)
        vocabulary = self._find_vocabulary(clusters) if self.show else None
        encoder = self.load_encoder()
        files = [self._describe(utterance, vocabulary) for utterance in extract_units(self.audio, encoder, kmeans)]
        if self.json:
            header = {"encoder": encoder.identity, "frame_rate_hz": encoder.frame_rate_hz, "clusters": clusters}
            print(json.dumps({**header, "files": files}))
            return
        for file in files:
            pairs = zip(file["units"], file["lengths"], strict=True)
            print(file["audio"], " ".join(f"{unit}:{frames}" for unit, frames in pairs), sep="\t")
            for task in file.get("tasks", ()):
                print("", " ".join(task["tokens"]), sep="\t")

    def _find_vocabulary(self, clusters: int) -> Vocabulary:
        from polyvoice.bundle.vocabulary import find_vocabulary
        from polyvoice.tasks import TEXT, Direction, build_translation_vocabulary
        from unitlm.alphabet import Bytes

        way = Direction(self.source, self.target)
        if self.vocabulary is not None:
            return find_vocabulary(self.vocabulary)
        texts = [Bytes(language + TEXT) for language in (way.source, way.target)]
        return build_translation_vocabulary([way], clusters, texts)

    def _describe(self, utterance: UtteranceUnits, vocabulary: Vocabulary | None) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "audio": str(utterance.audio),
            "duration_s": round(utterance.duration_s, 4),
            "units": utterance.runs.units.tolist(),
            "lengths": utterance.runs.lengths.tolist(),
        }
        if vocabulary is not None:
            from polyvoice.stages.translate.showing import show_prompts
            from polyvoice.tasks import Direction

            shown = show_prompts(utterance.runs.units, Direction(self.source, self.target), vocabulary)
            entry["tasks"] = [{"line": task.line, "tokens": task.tokens} for task in shown]
        return entry
