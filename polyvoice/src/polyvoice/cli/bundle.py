"""`polyvoice bundle`: pack finished stages into one folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Pack an encoder, centroids, trained stages and a codec into one folder with a card; all have to fit together.

    Attributes:
        out: The bundle's folder; it must not be there yet.
        encoder: fairseq checkpoint, or folder of transformers or Whisper.
        layer: Layer of the encoder whose features are clustered, counted from 1.
        kmeans: Centroids.
        codec: Folder of `polyvoice train codec`, or a published codec such as encodec-24khz.
        translate: Run of `polyvoice train translate`.
        duration: Run of `polyvoice train duration`.
        first_level: Run of `polyvoice train synthesize first-level`.
        other_levels: Run of `polyvoice train synthesize other-levels`; not for a codec of one level,
            and not needed where the codec's decoder is told what it says.
        about: Text in Markdown for the card: data, licences, limits.
        chain: Direction, such as zh-en, that is translated better by way of text than directly.
        scores: scores.json of `polyvoice evaluate`, for the card.
        name: What the bundle is called; the folder's name when not given.
        precision: How the weights of the stages are stored.
        json: Print one JSON object.
    """

    out: Path
    encoder: Path
    layer: int
    kmeans: Path
    codec: str
    translate: Path
    duration: Path
    first_level: Path
    other_levels: Path | None = None
    about: Path | None = None
    chain: tuple[str, ...] = ()
    scores: Path | None = None
    name: str = ""
    precision: Literal["fp32", "bf16"] = "bf16"
    json: bool = False

    def run(self) -> None:
        """Pack, and print what it weighs."""
        from polyvoice.bundle.packing import Parts, pack_bundle, part_sizes

        parts = Parts(
            encoder=self.encoder,
            layer=self.layer,
            kmeans=self.kmeans,
            codec=self.codec,
            translate=self.translate,
            duration=self.duration,
            first_level=self.first_level,
            other_levels=self.other_levels,
            scores=self.scores,
            about=self.about,
            chained=self.chain,
        )
        manifest = pack_bundle(parts, self.out, name=self.name or self.out.name, precision=self.precision)
        sizes = part_sizes(self.out)
        if self.json:
            directions = [str(direction) for direction in manifest.directions]
            about = {"bundle": str(self.out), "name": manifest.name, "directions": directions}
            stages = {stage: asdict(part) for stage, part in manifest.stages.items()}
            print(json.dumps({**about, "bytes": sizes, "stages": stages}))
            return
        for part, size in sizes.items():
            model = next((model for stage, model in manifest.stages.items() if stage == part), None)
            parameters = "" if model is None else f"{model.parameters / 1e6:10.2f} M parameters"
            print(f"{part:<20}{size / 1e6:10.2f} MB{parameters}")
        print(f"{self.out}: {sum(sizes.values()) / 1e6:.2f} MB, {', '.join(map(str, manifest.directions))}")
