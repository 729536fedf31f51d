"""kill -9 at random moments of every long command: given again, it ends where an undisturbed one ends.

What was finished is never lost, changed or done a second time, and at the end nothing differs, byte for byte.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from unitlm.checkpoint import hash_tensors, load_model
from unitlm.metrics import read_metrics

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")

WORKER = Path(__file__).with_name("slow_worker.py")
POLYVOICE, SPEECHUNITS, MOLREGPT = (["-m", name] for name in ("polyvoice.cli.main", "speechunits.cli.main", "molregpt"))
TRAIN = ["--preset", "tiny", "--pieces", "300", "--passes", "1", "--device", "cpu", "--precision", "fp32"]
TRAIN += ["--steps", "60", "--batch-rows", "4", "--micro-batch-rows", "4", "--sequence-length", "128"]
TRAIN += ["--checkpoint-every", "3", "--log-every", "1", "--dropout", "0.1"]


def files_of(out: Path) -> dict[str, bytes]:
    """All files but hidden ones: a kill may leave a temporary one."""
    paths = (path for path in out.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def rows_of(out: Path) -> dict[str, Any]:
    """A folder of `molregpt evaluate`; report.html is made of these."""
    return {name: (out / name).read_bytes() for name in ("config.json", "rows.jsonl", "scores.json")}


def weights_of(out: Path) -> dict[str, Any]:
    """A stage's diary, without the one figure that depends on the clock, and its weights."""
    rows = [{key: value for key, value in row.items() if key != "tokens_per_s"} for row in read_metrics(out / "train")]
    return {"metrics": rows, "weights": hash_tensors(dict(load_model(out / "model").named_parameters()))}


@dataclass(frozen=True)
class Command:
    """A command that takes long.

    Attributes:
        words: its command line; gets the inputs and the folder to write to.
        result: what has to be the same; gets that folder.
        final: files that are never touched again once they are finished, as a pattern.
        journal: the file that names them when they are; without one they are finished when they are there.
        cache: whether the folder is molregpt's cache.
    """

    words: Callable[[Any, Path], list[object]]
    result: Callable[[Path], dict[str, Any]]
    final: str
    journal: str = ""
    cache: bool = False


EXTRACT = ["--rows", 1, "--encoder", "mfcc", "--layer", 1]
COMMANDS = {
    "corpus speak": Command(
        lambda inputs, out: [WORKER, "speak", inputs.texts, out], files_of, "audio/**/*.flac", "pairs.tsv"
    ),
    "corpus augment": Command(
        lambda inputs, out: [
            *POLYVOICE,
            "corpus",
            "augment",
            inputs.pairs,
            "--out",
            out,
            "--copies",
            4,
            "--workers",
            1,
        ],
        files_of,
        "audio/**/*.flac",
        "pairs.tsv",
    ),
    "extract": Command(
        lambda inputs, out: [
            *SPEECHUNITS,
            "extract",
            inputs.recordings,
            "--out",
            out,
            "--kmeans",
            inputs.kmeans,
            *EXTRACT,
        ],
        files_of,
        "[0-9]*.parquet",
    ),
    "train": Command(
        lambda inputs, out: [*POLYVOICE, "train", "translate", inputs.pairs, inputs.extracted, out, *TRAIN],
        weights_of,
        "shards/*.parquet",
    ),
    "index build": Command(
        lambda inputs, out: [*MOLREGPT, "index", "build", "--pool", inputs.pool], files_of, "pools/*/*", cache=True
    ),
    "evaluate molecules": Command(
        lambda inputs, out: [
            *MOLREGPT,
            "evaluate",
            "mol2cap",
            "--test",
            inputs.test,
            "--pool",
            inputs.pool,
            "--out",
            out,
        ],
        rows_of,
        "config.json",
    ),
    "evaluate speech": Command(
        lambda inputs, out: [WORKER, "evaluate", inputs.pairs, out], files_of, "audio/*.wav", "translations.jsonl"
    ),
}
KILLS = dict.fromkeys(COMMANDS, 7) | {"train": 8}
COVERED_HERE_ALONE = ("corpus augment", "index build")
CASES = [
    *(pytest.param(name, 1, id=f"{name} once") for name in COVERED_HERE_ALONE),
    *(pytest.param(name, kills, marks=pytest.mark.faults, id=f"{name} {kills} times") for name, kills in KILLS.items()),
]


@dataclass
class Process:
    """One start of a command."""

    command: Command
    inputs: Any
    out: Path
    home: Path

    def start(self) -> subprocess.Popen[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
        environment["MOLREGPT_CACHE"] = str(self.out if self.command.cache else self.home / "cache")
        self.begun = time.monotonic()
        return subprocess.Popen(
            [sys.executable, *map(str, self.command.words(self.inputs, self.out))],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self) -> tuple[float, float]:
        """Seconds until the first file was written, and until the end."""
        process, first = self.start(), None
        while process.poll() is None:
            if first is None and any(self.out.rglob("*")):
                first = time.monotonic() - self.begun
            time.sleep(0.01)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        whole = time.monotonic() - self.begun
        return min(first or 0.0, 0.9 * whole), whole

    def kill_after(self, delay_s: float) -> bool:
        """Whether it was still running."""
        process = self.start()
        try:
            process.wait(delay_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), errors
        return process.returncode == -signal.SIGKILL


def finished_files(command: Command, out: Path) -> dict[Path, tuple[int, int, bytes]]:
    """What is there for good: inode, time of writing and content of each file."""
    found = {}
    journal = (out / command.journal).read_text("utf-8") if (out / command.journal).is_file() else ""
    for path in out.glob(command.final):
        named = not command.journal or path.name in journal
        if path.is_file() and not path.name.startswith(".") and named:
            state = path.stat()
            found[path] = (state.st_ino, state.st_mtime_ns, path.read_bytes())
    return found


@pytest.mark.parametrize(("name", "kills"), CASES)
def test_killed_at_random_moments_it_ends_as_if_it_had_not_been(
    name: str, kills: int, inputs: Any, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    command, chance = COMMANDS[name], random.Random()
    first_s, whole_s = Process(command, inputs, tmp_path / "whole", tmp_path).finish()
    whole = command.result(tmp_path / "whole")
    survived, runs = 0, 0
    out = tmp_path / f"run{runs}"
    while survived < kills:
        before = finished_files(command, out)
        killed = Process(command, inputs, out, tmp_path).kill_after(chance.uniform(0.8 * first_s, whole_s))
        after = finished_files(command, out)
        assert {path: after.get(path) for path in before} == before
        survived += killed
        if not killed:  # it was done: the next kills meet a new run
            assert command.result(out) == whole
            runs += 1
            out = tmp_path / f"run{runs}"
    Process(command, inputs, out, tmp_path).finish()
    assert command.result(out) == whole
    record_property("kills", survived)


def test_the_kills_are_fifty_in_all() -> None:
    assert sum(KILLS.values()) == 50


TOGETHER = [name for name in COMMANDS if name != "index build"]


def has_begun(out: Path) -> bool:
    """Whether something is written that only the work itself writes."""
    work = [*out.rglob("*.jsonl"), *out.rglob("*.flac"), *out.rglob("*.wav"), *out.glob("[0-9]*.parquet")]
    return any(path.stat().st_size for path in work if path.exists())


@pytest.mark.parametrize(
    "name", [name if name == "extract" else pytest.param(name, marks=pytest.mark.faults) for name in TOGETHER]
)
def test_the_second_of_two_processes_is_refused_and_changes_nothing(name: str, inputs: Any, tmp_path: Path) -> None:
    command, out = COMMANDS[name], tmp_path / "out"
    first, second = (Process(command, inputs, out, tmp_path) for _ in range(2))
    running = first.start()
    while running.poll() is None and not has_begun(out):
        time.sleep(0.005)
    running.send_signal(signal.SIGSTOP)  # so that it is in the middle of its work, however fast it is
    refused = second.start()
    _, errors = refused.communicate()
    running.send_signal(signal.SIGCONT)
    said = errors.strip().splitlines()[-1]
    assert refused.returncode == 2 or "InputError" in said, errors  # slow_worker.py turns no error into a status
    assert "another" in said
    assert str(out) in said
    _, errors = running.communicate()
    assert running.returncode == 0, errors
    if name != "extract":
        Process(command, inputs, tmp_path / "alone", tmp_path).finish()
        assert command.result(out) == command.result(tmp_path / "alone")


@pytest.mark.faults
def test_two_processes_may_build_one_index(inputs: Any, tmp_path: Path) -> None:
    command, out = COMMANDS["index build"], tmp_path / "cache"
    both = [Process(command, inputs, out, tmp_path).start() for _ in range(2)]
    for process in both:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    Process(command, inputs, tmp_path / "alone", tmp_path).finish()
    assert command.result(out) == command.result(tmp_path / "alone")
