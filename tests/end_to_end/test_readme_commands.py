"""The READMEs' console blocks: each command is run as a user runs it, and prints first what the README shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READMES = [ROOT / "README.md", ROOT / "molregpt" / "README.md"]
BLOCK = re.compile(r"^```console\n\$ (?P<command>[^\n]+)\n(?P<shown>.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = [
    pytest.param(match["command"], match["shown"], id=f"{readme.parent.name}: {match['command'][:50]}")
    for readme in READMES
    for match in BLOCK.finditer(readme.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("command", "shown"), BLOCKS)
def test_a_command_prints_first_what_the_readme_shows(
    command: str, shown: str, tmp_path: Path, index_cache: Path
) -> None:
    program, *arguments = shlex.split(command)
    result = subprocess.run(
        [str(Path(sys.executable).with_name(program)), *arguments],
        cwd=tmp_path,
        env=os.environ | {"COLUMNS": "110", "MOLREGPT_CACHE": str(index_cache)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    failed = shown.startswith(f"{program}: ")
    assert result.returncode == (2 if failed else 0), result.stderr
    printed = (result.stderr if failed else result.stdout).splitlines()
    expected = [line.rstrip() for line in shown.splitlines()]
    assert [line.rstrip() for line in printed[: len(expected)]] == expected
    assert len(printed) == 1 or not failed


def test_the_example_in_python_prints_what_is_written() -> None:
    text = READMES[0].read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    [expected] = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.stdout, result.returncode) == (expected, 0), result.stderr


def test_there_is_something_to_run() -> None:
    assert len(BLOCKS) >= 4
