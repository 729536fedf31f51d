"""docs/serving.md: its commands are run against a server with real models, and what they print is what is shown."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyvoice.cli.main import parse
from polyvoice.provenance import read_comment, synthetic_tag
from polyvoice.serving.settings import ServerLimits
from speechunits.audio import read_audio

load = runpy.run_path(str(Path(__file__).with_name("test_serving_load.py")), run_name="test_serving_load")
serving, RECORDINGS = load["serving"], load["RECORDINGS"]

TEXT = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
ADDRESS = "http://localhost:8000"


@pytest.mark.parametrize("command", re.findall(r"^    polyvoice (.*)$", TEXT, re.MULTILINE))
def test_a_command_is_one_that_there_is(command: str) -> None:
    assert callable(parse(shlex.split(command)).run)


def test_the_table_has_the_real_defaults() -> None:
    limits = ServerLimits()
    table = dict(re.findall(r"^\| `--([\w-]+)` \| (\d+) \|", TEXT, re.MULTILINE))
    assert {name.replace("-", "_"): float(value) for name, value in table.items()} == vars(limits)


@pytest.fixture(scope="module")
def served(toy_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A server, and the folder that somebody works in."""
    home = tmp_path_factory.mktemp("work")
    shutil.copy(RECORDINGS[0], home / "hola.flac")
    (home / "notes.txt").write_text("no sound")
    with serving(toy_bundle, home / "log") as (_, url):
        yield url, home


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_what_curl_is_told_works(served: tuple[str, Path]) -> None:
    url, home = served
    commands = re.findall(r"^    (curl .*)$", TEXT, re.MULTILINE)
    assert len(commands) == 6
    for command in commands:
        subprocess.run(shlex.split(command.replace(ADDRESS, url)), cwd=home, check=True, stdout=subprocess.DEVNULL)
    for name in ("hello.wav", "hello.flac", "streamed.wav"):
        assert read_comment(home / name) == synthetic_tag()
        assert read_audio(home / name).samples.size == read_audio(home / "hello.wav").samples.size
    [(command, shown)] = re.findall(r"^```console\n\$ ([^\n]+)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    printed = subprocess.run(
        shlex.split(command.replace(ADDRESS, url)), cwd=home, check=True, capture_output=True, text=True
    ).stdout
    assert printed == shown.rstrip("\n")


@pytest.mark.slow
def test_the_example_in_python_works(served: tuple[str, Path]) -> None:
    url, home = served
    [code] = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    subprocess.run([sys.executable, "-c", code.replace(ADDRESS, url)], cwd=home, check=True)
    assert read_comment(home / "python.wav") == synthetic_tag()
