"""`polyvoice ablate`: train and score the variants of a plan, and print the table."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path

from tyro.conf import Positional

from polyvoice.errors import InputError


@dataclass(frozen=True, slots=True)
class Ablate:
    """Train, pack and judge the variants of a plan (TOML), one after the other, and print a table.

    Killed runs go on where they stopped: give the same command again.

    Attributes:
        plan: What is compared: data, parts, common options of each stage, variants; see polyvoice.ablations.plan.
        out: Folder for the runs, bundles, evaluations, table.md and table.json.
        json: Print table.json instead of the table.
    """

    plan: Positional[Path]
    out: Positional[Path]
    json: bool = False

    def run(self) -> None:
        """Run the plan."""
        from polyvoice.ablations.plan import read_plan
        from polyvoice.ablations.run import format_table, run_plan

        rows = run_plan(read_plan(self.plan), self.out, _run_command)
        if self.json:
            print(json.dumps({"rows": [asdict(row) for row in rows]}, ensure_ascii=False))
        else:
            print(format_table(rows), end="")


def _run_command(words: Sequence[str]) -> None:
    """Run another command in this process; what it prints is not the table, so it goes to stderr."""
    from polyvoice.cli.main import parse

    with redirect_stdout(sys.stderr):
        try:
            command = parse(words)
        except SystemExit:  # what is wrong with the options has been printed
            raise InputError(f"'polyvoice {words[0]}' does not take these options") from None
        command.run()
