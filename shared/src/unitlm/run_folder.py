"""The folder of a training run: who may write to it, what was asked for, and its checkpoints.

run.json         resolved settings, model, data, versions; written before step 0, settings that change later anew
metrics.jsonl    see `unitlm.metrics`
tensorboard/
checkpoints/     step-00001000/, ...: see `unitlm.checkpoint`
"""

from __future__ import annotations

import platform
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock, Timeout

from unitlm.checkpoint import MANIFEST
from unitlm.distributed import Processes
from unitlm.errors import InputError
from unitlm.files import Json, read_json, write_json

RECORD = "run.json"
LIBRARIES = ("unitlm", "torch", "numpy", "pyarrow", "safetensors")


@contextmanager
def lock_run(run_folder: Path, processes: Processes) -> Iterator[None]:
    """Own a run folder; the operating system lets go of it when the process dies, however it dies.

    Raises:
        InputError: Another run owns it; raised in every process.
    """
    lock = FileLock(run_folder / ".lock", timeout=0)
    refused = False
    if processes.is_first:
        try:
            run_folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            refused = True
        except OSError as error:
            raise InputError(f"{run_folder}: cannot be written ({error.strerror})") from error
    if processes.any(refused):
        raise InputError(f"{run_folder}: another process is training here")
    try:
        yield
    finally:
        lock.release()


def record_run(
    run_folder: Path, record: Mapping[str, Mapping[str, Json]], free: frozenset[str], processes: Processes
) -> None:
    """Write what the run is, or check that it is the run that was begun here.

    Args:
        run_folder: The run's folder.
        record: Section to key to value.
        free: Keys that may change when a run is continued, because what was trained so far does not depend on them;
            their new values are recorded.
        processes: Who takes part; the first writes, all check.

    Raises:
        InputError: The folder holds a run with other settings.
    """
    path = run_folder / RECORD
    if processes.is_first and not path.exists():
        versions: dict[str, Json] = {name: version(name) for name in LIBRARIES}
        write_json(path, {**record, "versions": {"python": platform.python_version(), **versions}})
    processes.any(False)  # nobody reads before it is written
    begun = read_json(path)
    for section, values in record.items():
        before = begun.get(section)
        if not isinstance(before, dict):
            raise InputError(f"{path}: section {section!r} is missing")
        for key, value in values.items():
            if key not in free and value != before.get(key):
                raise InputError(
                    f"{path}: the run here was begun with {section}.{key} = {before.get(key)!r}, not {value!r}; "
                    "continue it with that, or use another folder"
                )
    processes.any(False)  # all have compared themselves with what was there
    if processes.is_first and any(values != begun[section] for section, values in record.items()):
        write_json(path, {**begun, **record})


def checkpoint_folder(run_folder: Path, step: int) -> Path:
    """Where the checkpoint after `step` lies."""
    return run_folder / "checkpoints" / f"step-{step:08d}"


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(checkpoint.name.removeprefix("step-"))


def find_checkpoints(run_folder: Path) -> list[Path]:
    """The run's complete checkpoints, the oldest first."""
    return sorted(path.parent for path in (run_folder / "checkpoints").glob(f"step-*/{MANIFEST}"))


def prune_checkpoints(run_folder: Path, keep: int) -> None:
    """Remove all but the last `keep` checkpoints, and what killed saves left behind."""
    kept = find_checkpoints(run_folder)[-keep:]
    for path in sorted((run_folder / "checkpoints").glob("step-*")):
        if path not in kept:
            (path / MANIFEST).unlink(missing_ok=True)  # first: half a checkpoint must not look like a whole one
            shutil.rmtree(path)


@dataclass
class StopRequest:
    """Whether the run was asked to stop."""

    received: bool = False


@contextmanager
def watch_for_stop() -> Iterator[StopRequest]:
    """Turn SIGTERM, with which schedulers and `torchrun` announce an end, into a request to save and leave."""
    request = StopRequest()

    def receive(*_: object) -> None:
        request.received = True

    if threading.current_thread() is not threading.main_thread():  # Python allows handlers in the main thread only
        yield request
        return
    before = signal.signal(signal.SIGTERM, receive)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before)
