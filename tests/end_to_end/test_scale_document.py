"""docs/scale.md: its commands are commands, its dry run prints what it shows, its plan follows from its figures."""

from __future__ import annotations

import re
import shlex
from math import ceil
from pathlib import Path

import pytest

import molregpt.cli
import polyvoice.cli.main
import speechunits.cli.main

TEXT = (Path(__file__).parents[2] / "docs" / "scale.md").read_text(encoding="utf-8")
COMMANDS = re.findall(
    r"^    (?:torchrun .* -m )?(polyvoice|molregpt|speechunits)(?:\.cli\.main)? (.*)$",
    re.sub(r"\\\n *", "", TEXT),
    re.MULTILINE,
)
PARSERS = {
    "polyvoice": polyvoice.cli.main.parse,
    "molregpt": molregpt.cli.parse,
    "speechunits": speechunits.cli.main.parse,
}


@pytest.mark.parametrize(("program", "arguments"), COMMANDS)
def test_a_command_is_one_that_there_is(program: str, arguments: str) -> None:
    assert callable(PARSERS[program](shlex.split(arguments)).run)


def test_every_job_has_a_command() -> None:
    assert {(program, arguments.split()[0]) for program, arguments in COMMANDS} == {
        ("polyvoice", "train"),
        ("polyvoice", "evaluate"),
        ("speechunits", "extract"),
        ("molregpt", "index"),
        ("molregpt", "caption"),
        ("molregpt", "evaluate"),
    }


def test_the_dry_run_prints_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    [(arguments, shown)] = re.findall(r"^```console\n\$ polyvoice ([^\n]+)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    assert polyvoice.cli.main.run(shlex.split(arguments)) == 0
    printed = capsys.readouterr().out
    assert [line.rstrip() for line in printed.splitlines()] == shown.splitlines()


def test_the_plan_follows_from_the_figures() -> None:
    figures = {
        letter: float(value.replace(",", ""))
        for letter, value in re.findall(r"^\| .* \| \*([a-z])\* = ([\d.,]+) ", TEXT, re.MULTILINE)
    }
    b, f, q, r = (figures[letter] for letter in "bfqr")
    rows = re.findall(r"^\| ([\d,]+) million \| (.*) \|$", TEXT, re.MULTILINE)
    assert len(rows) == 2
    for count, cells in rows:
        molecules = float(count.replace(",", "")) * 1e6
        machines = max(ceil(molecules * b / 8e12), ceil(molecules * f / 200e9))
        seconds = max(molecules / 1e6 * q / 1e3 / (32 * machines), molecules * f / (200e9 * machines))
        expected = (
            f"{molecules * b / 1e12:.2g} TB",
            f"{molecules * f / 1e9:,.0f} GB",
            f"{machines}",
            f"{molecules / (r * 32 * machines) / 3_600:.1f} h",
            f"{seconds:.2g} s",
        )
        assert tuple(cell.strip() for cell in cells.split(" | ")) == expected
