"""`polyvoice kmeans`: define units."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from polyvoice.cli.encoding import Encoding
from polyvoice.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Kmeans(Encoding):
    """Define units: cluster the features of audio files and write the centroids."""

    out: Path
    """The safetensors file to write."""
    clusters: int = 100
    """How many units."""
    share: float = 1.0
    """Part of the frames that is clustered, drawn at random; an hour of features takes 0.5 GB at 768 dimensions."""
    seed: int = 0
    """The same seed gives the same units."""

    def run(self) -> None:
        """Write the centroids and say what they are."""
        from polyvoice.units import fit_units
        from speechunits.kmeans import save_kmeans

        # Asked first: otherwise a slip in the path would come to light after hours of encoding.
        if not self.out.parent.is_dir():
            raise InputError(f"{self.out}: the folder {self.out.parent} does not exist")
        encoder = self.load_encoder()
        kmeans = fit_units(self.audio, encoder, self.clusters, seed=self.seed, share=self.share)
        save_kmeans(kmeans, self.out)
        clusters, dimension = kmeans.centroids.shape
        frames = kmeans.provenance.frames
        if self.json:
            shape = {"clusters": clusters, "dimension": dimension, "frames": frames}
            print(json.dumps({"kmeans": str(self.out), **shape, "encoder": encoder.identity, "seed": self.seed}))
        else:
            print(f"{self.out}: {clusters} units from {frames} frames of {encoder.identity}")
