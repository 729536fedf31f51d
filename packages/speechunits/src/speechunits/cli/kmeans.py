"""`speechunits kmeans`: define units."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from speechunits.errors import InputError


@dataclass(frozen=True, slots=True)
class Kmeans:
    """Cluster features into units and write the centroids.

    The features are those of a list of recordings (with --encoder and --layer), or of files that another program wrote
    (--features).

    Attributes:
        table: Tab-separated list with a column audio; paths are relative to it.
        out: The safetensors file to write.
        encoder: A fairseq checkpoint (*.pt), a transformers or Whisper folder, a name on the
            Hugging Face hub, or mfcc.
        layer: Transformer layer of the encoder, counted from 1.
        features: Files .npy of float32 or float16 [frames, dimensions], instead of a list.
        clusters: How many units.
        method: full clusters all frames at once; mini-batch goes through them once and holds few, for many hours.
        share: Part of the frames that is used, drawn at random; an hour of features takes 0.5 GB at 768 dimensions.
        seed: The same seed gives the same units.
        device: torch device.
        json: Print one JSON object.
    """

    table: Annotated[Positional[Path | None], arg(metavar="LIST.tsv")] = None
    out: Path = Path("units.safetensors")
    encoder: str | None = None
    layer: int | None = None
    features: tuple[Path, ...] = ()
    clusters: int = 100
    method: Literal["full", "mini-batch"] = "full"
    share: float = 1.0
    seed: int = 0
    device: str = "cpu"
    json: bool = False

    def run(self) -> None:
        """Write the centroids and say what they are."""
        from speechunits.listing import read_list

        # Asked first: otherwise a slip in the path would come to light after hours of encoding.
        if not self.out.parent.is_dir():
            raise InputError(f"{self.out}: the folder {self.out.parent} does not exist")
        if (self.table is None) == (not self.features):
            raise InputError("give either a list of recordings or --features")
        rows = [] if self.table is None else read_list(self.table)
        if rows and (self.encoder is None or self.layer is None):
            raise InputError("a list of recordings needs --encoder and --layer")

        from speechunits.clustering import fit_feature_files, fit_units
        from speechunits.kmeans import save_kmeans

        if rows and self.encoder is not None and self.layer is not None:
            from speechunits.encoders.load import load_encoder

            encoder = load_encoder(self.encoder, self.layer, self.device)
            paths = [row.path for row in rows]
            kmeans = fit_units(paths, encoder, self.clusters, seed=self.seed, share=self.share, method=self.method)
        else:
            kmeans = fit_feature_files(
                self.features, self.clusters, seed=self.seed, share=self.share, method=self.method
            )
        save_kmeans(kmeans, self.out)
        clusters, dimension = kmeans.centroids.shape
        origin = kmeans.provenance
        if self.json:
            shape = {"clusters": clusters, "dimension": dimension, "frames": origin.frames}
            print(json.dumps({"kmeans": str(self.out), **shape, "encoder": origin.encoder, "seed": self.seed}))
        else:
            print(f"{self.out}: {clusters} units from {origin.frames} frames of {origin.encoder or 'unknown origin'}")
