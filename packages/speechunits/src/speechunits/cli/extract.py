"""`speechunits extract`: units and codes of a list of recordings."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from speechunits.errors import InputError


@dataclass(frozen=True, slots=True)
class Extract:
    """Write units, codes or both of a list of recordings into a folder of parquet shards.

    A run that was stopped goes on where it was: give the same command again. Files that cannot be used are named in
    failed.tsv of the folder.

    Attributes:
        table: Tab-separated list with a column audio; paths are relative to it.
        out: The folder.
        encoder: For units: a fairseq checkpoint (*.pt), a transformers or Whisper folder, a name on the
            Hugging Face hub, or mfcc.
        layer: Transformer layer of the encoder, counted from 1.
        kmeans: For units: centroids that `speechunits kmeans` wrote, or a published fairseq km.bin.
        codec: For codes: encodec-24khz, encodec-24khz@3 (kbps), encodec-48khz, encodec-24khz:FILE, or a folder.
        device: torch device.
        rows: Recordings in a shard, at most this many are lost when the run is killed.
        worker: Number of this process, from 0, among those that share the list.
        workers: How many processes share the list.
        json: Print one JSON object.
    """

    table: Annotated[Positional[Path], arg(metavar="LIST.tsv")]
    out: Path
    encoder: str | None = None
    layer: int | None = None
    kmeans: Path | None = None
    codec: str | None = None
    device: str = "cpu"
    rows: int = 256
    worker: int = 0
    workers: int = 1
    json: bool = False

    def run(self) -> None:
        """Extract, and say what there is."""
        from speechunits.listing import read_list

        if (self.encoder, self.layer, self.kmeans).count(None) not in (0, 3):
            raise InputError("units need --encoder, --layer and --kmeans together")
        if self.encoder is None and self.codec is None:
            raise InputError("give --encoder, --layer and --kmeans for units, --codec for codes, or all of them")
        rows = read_list(self.table)

        # Only now, for these imports take seconds.
        from speechunits.clustering import load_centroids
        from speechunits.codecs.load import load_codec
        from speechunits.encoders.load import load_encoder
        from speechunits.extract import UnitExtractor, extract

        units = None
        if self.encoder is not None and self.layer is not None and self.kmeans is not None:
            kmeans = load_centroids(self.kmeans)
            units = UnitExtractor(load_encoder(self.encoder, self.layer, self.device), kmeans)
        codec = None if self.codec is None else load_codec(self.codec, self.device)
        done = extract(
            rows, self.out, units=units, codec=codec, rows_a_shard=self.rows, worker=self.worker, workers=self.workers
        )
        failed = len(done.failures)
        if self.json:
            counts = {"utterances": done.utterances, "failed": failed, "shards": done.shards, "missing": done.missing}
            print(json.dumps({"folder": str(self.out), **counts}))
            return
        rest = f", {done.missing} to come" if done.missing else ""
        print(f"{self.out}: {done.utterances} utterances, {failed} failed, in {done.shards} shards{rest}")
        if failed:
            print(f"speechunits: see {self.out / 'failed.tsv'} for the files that failed", file=sys.stderr)
