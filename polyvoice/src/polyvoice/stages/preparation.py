"""What a stage does once before it trains, whoever of its processes comes first."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from polyvoice.errors import InputError
from unitlm.files import Json, read_json, write_json

RECORD = "prepared.json"


def prepare_once(out: Path, inputs: Mapping[str, Json], prepare: Callable[[], None]) -> None:
    """Run `prepare` unless the run folder `out` is prepared already.

    Under `torchrun` every process calls this: one prepares while the others wait. A run that goes on does not even read
    its data again, because the token shards are what it trains on. Another run is refused, not kept waiting, unless it
    is under `torchrun` too, where it cannot be told from a process of the same run.

    Args:
        out: the run's folder; made when it is not there.
        inputs: everything that the prepared files depend on.
        prepare: writes them; it may have been killed in mid-run before.

    Raises:
        InputError: the folder was prepared from other inputs, or another process is preparing it.
    """
    out.mkdir(parents=True, exist_ok=True)
    record = out / RECORD
    together = int(os.environ.get("WORLD_SIZE", "1")) > 1
    lock = FileLock(out / ".prepare.lock", timeout=-1 if together else 0)
    try:
        held = lock.acquire()
    except Timeout as error:
        raise InputError(f"{out}: another process is preparing a run here") from error
    with held:  # `with lock` would take it a second time, and give it back once
        if not record.exists():
            prepare()
            write_json(record, inputs)
            return
    begun = read_json(record)
    for name, value in {**dict.fromkeys(begun), **inputs}.items():
        if begun.get(name) != _as_read(value):
            raise InputError(
                f"{record}: the run here was begun with {name} = {begun.get(name)!r}, not {value!r}; "
                "continue it with that, or use another folder"
            )


def digest_inputs(manifest: Path, extracted: Path) -> str:
    """A short digest of what a stage is trained on: the manifest, and the shards' own metadata.

    Raises:
        InputError: the manifest cannot be read.
        speechunits.errors.InputError: the folder holds no extracted shards.
    """
    from speechunits.extracted import read_header

    try:
        digest = hashlib.sha256(manifest.read_bytes())
    except OSError as error:
        raise InputError(f"{manifest}: cannot be read ({error.strerror})") from error
    for path in sorted(extracted.glob("[0-9]*.parquet")):
        digest.update(repr(read_header(path)).encode())
    return digest.hexdigest()[:16]


def _as_read(value: Json) -> Json:
    """A value as it comes back from JSON, which has no tuples."""
    if isinstance(value, Mapping):
        return {key: _as_read(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_read(item) for item in value]
    return value
