"""The example and the commands of the README run and print what the README says."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechunits.audio import read_audio

README = Path(__file__).parents[2] / "packages/speechunits/README.md"
TEXT = README.read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```console\n\$ ([^\n]+)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def test_the_example_prints_what_is_written() -> None:
    [code] = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    [expected] = re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.stdout, result.returncode) == (expected, 0), result.stderr


@pytest.fixture
def corpus(tmp_path: Path, golden_utterance) -> Path:
    """What the commands of the README find: features, and three sentences by two speakers who are one and the same.

    The second speaker is the first, 10 % slower and lower.
    """
    shutil.copy(golden_utterance.audio.with_name("sample.base.L9.npy"), tmp_path / "features.npy")
    samples = read_audio(golden_utterance.audio).samples
    lines = ["audio\tsentence\tspeaker"]
    for sentence, start_s in enumerate((0.4, 4.0, 8.0)):
        piece = samples[round(16_000 * start_s) :][: 16_000 * 3]
        for speaker, rate_hz in (("A", 16_000), ("B", 14_400)):
            soundfile.write(tmp_path / f"{speaker}{sentence}.flac", piece, rate_hz)
            lines.append(f"{speaker}{sentence}.flac\t{sentence}\t{speaker}")
    (tmp_path / "list.tsv").write_text("\n".join(lines) + "\n")
    command = "kmeans list.tsv --encoder mfcc --layer 1 --clusters 50 --out mfcc.safetensors"
    assert run(command.split(), tmp_path).returncode == 0
    assert np.load(tmp_path / "features.npy").shape == (596, 768)
    return tmp_path


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "speechunits.cli.main", *arguments]
    environment = {**os.environ, "COLUMNS": "110", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_commands_print_what_is_written(corpus: Path) -> None:
    assert [command.split()[1] for command, _ in COMMANDS] == ["kmeans", "extract", "report"]
    for command, shown in COMMANDS:
        program, *arguments = shlex.split(command)
        assert program == "speechunits"
        result = run(arguments, corpus)
        assert (result.stdout, result.returncode) == (shown, 0), result.stderr


def test_the_file_tree_is_that_of_the_package() -> None:
    """Every module is named, and nothing that is not there; a folder with a slash stands for all in it."""
    tree = TEXT.partition("## Files")[2]
    source = README.parent / "src/speechunits"
    named: set[str] = set()
    for line in tree.splitlines():
        names = re.findall(r"[\w/]+\.py\b", line)
        folder = names[0].rpartition("/")[0] if names else ""  # of the further names on the line, too
        named |= {name if "/" in name or not folder else f"{folder}/{name}" for name in names}
    whole = ("cli/", "codecs/speech_codec/")
    assert all(folder in tree for folder in whole)
    modules = {str(path.relative_to(source)) for path in source.rglob("*.py") if path.name != "__init__.py"}
    assert {name for name in modules if not name.startswith(whole)} == named
