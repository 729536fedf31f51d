"""A full disk and folders that cannot be written: one line, nothing half, and the same command goes on with space."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import molregpt.cli
import polyvoice.cli.main
import speechunits.cli.main
from speechunits.kmeans import load_kmeans

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts and capabilities of Linux")

RUN = {"polyvoice": polyvoice.cli.main.run, "molregpt": molregpt.cli.run, "speechunits": speechunits.cli.main.run}
TRAIN = ["--preset", "tiny", "--pieces", "300", "--passes", "1", "--device", "cpu", "--precision", "fp32"]
TRAIN += ["--steps", "4", "--batch-rows", "2", "--micro-batch-rows", "2", "--sequence-length", "128"]
TRAIN += ["--checkpoint-every", "2", "--log-every", "1"]
COMMANDS: dict[str, Callable[[Any, Path], list[Any]]] = {
    "extract": lambda inputs, out: [
        *("speechunits", "extract", inputs.recordings, "--out", out, "--rows", 4),
        *("--encoder", "mfcc", "--layer", 1, "--kmeans", inputs.kmeans),
    ],
    "kmeans": lambda inputs, out: [
        *("speechunits", "kmeans", inputs.recordings, "--encoder", "mfcc", "--layer", 1),
        *("--clusters", 400, "--out", out / "units.safetensors"),
    ],
    "corpus augment": lambda inputs, out: [
        "polyvoice", "corpus", "augment", inputs.pairs, "--out", out, "--copies", 1, "--workers", 1
    ],
    "corpus phrasebook": lambda inputs, out: [
        "polyvoice", "corpus", "phrasebook", "--out", out / "phrases.tsv", "--count", 600
    ],
    "train": lambda inputs, out: ["polyvoice", "train", "translate", inputs.pairs, inputs.extracted, out, *TRAIN],
    "evaluate": lambda inputs, out: [
        "molregpt", "evaluate", "mol2cap", "--test", inputs.test, "--pool", inputs.pool, "--out", out
    ],
}  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOLREGPT_CACHE", str(tmp_path_factory.getbasetemp() / "faults-cache"))


def run(words: list[Any]) -> int:
    program, *arguments = map(str, words)
    return RUN[program](arguments)


def files_of(out: Path) -> dict[str, bytes]:
    """What a command writes, without what tells the time."""
    paths = (path for path in out.rglob("*") if path.is_file() and not path.name.startswith("."))
    clocks = ("metrics.jsonl", "report.html")
    found = {
        str(path.relative_to(out)): path for path in paths if path.name not in clocks and "tensorboard" not in str(path)
    }
    return {name: read(path) for name, path in found.items()}


def read(path: Path) -> bytes:
    """The file; the header of centroids lists its entries in any order."""
    return load_kmeans(path).centroids.tobytes() if path.name == "units.safetensors" else path.read_bytes()


class Disk:
    """A file system in memory, of a size that can be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def resize(self, kilobytes: int, *, first: bool = False) -> None:
        options = f"size={kilobytes}k" if first else f"remount,size={kilobytes}k"
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)], check=True, capture_output=True
        )

    def used(self) -> int:
        state = os.statvfs(self.folder)
        return (state.f_blocks - state.f_bfree) * state.f_bsize // 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    disk = Disk(folder)
    try:
        disk.resize(100_000, first=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk can only be mounted by root (or under `unshare -Urm`)")
    yield disk
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_one_line_and_with_space_the_same_command_goes_on(
    name: str, inputs: Any, disk: Disk, capfd: pytest.CaptureFixture[str]
) -> None:
    words = COMMANDS[name]
    whole, out = disk.folder / "whole", disk.folder / "out"
    whole.mkdir()
    out.mkdir()
    assert run(words(inputs, whole)) == 0
    needed = disk.used()
    for share in (0.1, 0.6):  # of what the command needs
        capfd.readouterr()
        disk.resize(needed + int(share * needed) // 4 * 4)
        assert run(words(inputs, out)) == 2
        errors = capfd.readouterr().err
        assert "Traceback" not in errors
        last = errors.strip().splitlines()[-1]
        assert "No space left" in last or "disk is full" in last, last
        assert str(out) in last
    disk.resize(100_000)
    assert run(words(inputs, out)) == 0
    assert files_of(out) == files_of(whole)


@contextmanager
def without_override() -> Iterator[None]:
    """As anybody else: root may otherwise write to any folder, whatever its mode says."""
    libc, threads = ctypes.CDLL(None, use_errno=True), (ctypes.c_uint32 * 2)(0x20080522, 0)
    before = (ctypes.c_uint32 * 6)()
    assert libc.capget(threads, before) == 0
    dropped = (ctypes.c_uint32 * 6)(*before)
    dropped[0] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, of the effective ones
    assert libc.capset(threads, dropped) == 0
    try:
        yield
    finally:
        assert libc.capset(threads, before) == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_that_cannot_be_written_is_one_line(
    name: str, inputs: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o555)
    with without_override():
        if os.access(out, os.W_OK) and os.geteuid() != 0:
            pytest.skip("modes do not count here")
        status = run(COMMANDS[name](inputs, out))
    errors = capfd.readouterr().err
    assert status == 2, errors
    assert "Traceback" not in errors
    last = errors.strip().splitlines()[-1]
    assert str(out) in last
    assert "ermission denied" in last
    assert not any(out.iterdir())
