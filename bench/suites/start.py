"""How long a user waits for a command that starts cold: a new process, and for the first answers an empty cache.

What the operating system has read before stays in its memory, so this is not the first start after switching on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.pairs import Pairs, time_call
from bench.rows import Task
from bench.suite import CannotMeasure, Case, Measured, Options, run_script

ASPIRIN = "CC(=O)OC1=CC=CC=C1C(=O)O"


def list_cases(options: Options) -> Iterator[Case]:
    """Two helps, two first answers; the targets are seconds."""
    for job, what, target, measure in (
        ("start-polyvoice-help", "polyvoice --help", 0.3, lambda: measure_help("polyvoice", options)),
        ("start-molregpt-help", "molregpt --help", 0.3, lambda: measure_help("molregpt", options)),
        ("start-molregpt-caption", "molregpt caption of one molecule, index included", 3.0, lambda: caption(options)),
        ("start-polyvoice-translate", "polyvoice translate of one recording", 5.0, lambda: translate(options)),
    ):
        yield Case(Task(job, what, "", 1, "command", "run", target, sized=False), measure)


def measure_help(program: str, options: Options) -> Measured:
    """The list of commands."""
    return _measure(options, ("polyvoice-s2st" if program == "polyvoice" else program,), lambda: run(program, "--help"))


def caption(options: Options) -> Measured:
    """From SMILES to a caption, with nothing prepared."""

    def ask() -> None:
        with tempfile.TemporaryDirectory() as cache:
            run("molregpt", "caption", ASPIRIN, MOLREGPT_CACHE=cache)

    return _measure(options, ("molregpt",), ask)


def translate(options: Options) -> Measured:
    """A recording that ships with polyvoice, by the bundle."""
    from bench.recordings import find_bundle, pick_recording

    bundle = find_bundle(options)
    asked = pick_recording(bundle)
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "out.wav")
        languages = ["--from", asked.source, "--to", asked.target]

        def ask() -> None:
            run("polyvoice", "translate", str(asked.path), out, *languages, "--bundle", str(bundle))

        return _measure(options, ("polyvoice-s2st", "torch"), ask, f"{asked.path.name}, {asked.duration_s:.1f} s")


def _measure(options: Options, packages: tuple[str, ...], ask: Callable[[], None], note: str = "") -> Measured:
    ask()  # compiles what is new to bytecode, once for all
    return Measured(Pairs(tuple(time_call(ask, options.clock) for _ in range(options.turns))), None, note, packages)


def run(program: str, *arguments: str, **environment: str) -> None:
    """Run a command of this environment.

    Raises:
        CannotMeasure: it failed.
    """
    path = Path(sys.executable).with_name(program)
    # As at a user's: the benchmark's own settings would slow or quicken it.
    inherited = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "PYTHONPATH")}
    ended = subprocess.run(  # noqa: S603 - a command of this tree
        [str(path), *arguments], env=inherited | environment, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise CannotMeasure(f"{program} {arguments[0]} failed: {(ended.stderr.strip() or 'no word').splitlines()[-1]}")


if __name__ == "__main__":
    run_script(__doc__ or "", list_cases)
