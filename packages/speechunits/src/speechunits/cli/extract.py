"""`speechunits extract`: units and codes of a list of recordings."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from speechunits.engine import EngineOptions


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
        engine: Where it is computed; machines of a cluster see the same files under the same paths.
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
    engine: Annotated[EngineOptions, arg(name="")] = field(default_factory=EngineOptions)

    def run(self) -> None:
        """Extract, and say what there is."""
        from speechunits.listing import read_list

        rows = read_list(self.table)

        # Only now, for this import takes seconds.
        from speechunits.extract import ModelNames, extract

        names = ModelNames(self.encoder, self.layer, self.kmeans, self.codec, self.device)
        units, codec = names.load()
        with self.engine.open() as engine:
            done = extract(
                rows,
                self.out,
                units=units,
                codec=codec,
                rows_a_shard=self.rows,
                worker=self.worker,
                workers=self.workers,
                engine=engine,
                recipe=names,
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
