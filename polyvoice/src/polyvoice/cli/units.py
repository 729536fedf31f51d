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


@dataclass(frozen=True, kw_only=True)
class Units(Encoding):
    """Turn speech into units: one line a file, its name and unit:frames pairs."""

    kmeans: Path
    """Centroids: a file that `polyvoice kmeans` wrote, or a published fairseq km.bin."""
    show: bool = False
    """Also print the tokens with which the translation of these units begins."""
    source: Annotated[str, arg(name="from")] = "zh"
    """Language of the speech, for --show."""
    target: Annotated[str, arg(name="to")] = "en"
    """Language to translate into, for --show."""

    def run(self) -> None:
        """Print the units of each file."""
        from polyvoice.units import extract_units, load_centroids

        kmeans = load_centroids(self.kmeans)
        encoder = self.load_encoder()
        clusters = len(kmeans.centroids)
        files = [self._describe(utterance, clusters) for utterance in extract_units(self.audio, encoder, kmeans)]
        if self.json:
            header = {"encoder": encoder.identity, "frame_rate_hz": encoder.frame_rate_hz, "clusters": clusters}
            print(json.dumps({**header, "files": files}))
            return
        for file in files:
            pairs = zip(file["units"], file["lengths"], strict=True)
            print(file["audio"], " ".join(f"{unit}:{frames}" for unit, frames in pairs), sep="\t")
            if self.show:
                print("", " ".join(file["tokens"]), sep="\t")

    def _describe(self, utterance: UtteranceUnits, clusters: int) -> dict[str, Any]:
        units = utterance.runs.units.tolist()
        lengths = utterance.runs.lengths.tolist()
        entry = {
            "audio": str(utterance.audio),
            "duration_s": round(utterance.duration_s, 4),
            "units": units,
            "lengths": lengths,
        }
        if self.show:
            from polyvoice.tasks import Direction, build_translation_vocabulary, translate_speech

            vocabulary = build_translation_vocabulary([Direction(self.source, self.target)], clusters)
            prompt = translate_speech(self.source, self.target).prompt({"src": units}, vocabulary)
            entry["tokens"] = [vocabulary.describe(token) for token in prompt.ids]
        return entry
