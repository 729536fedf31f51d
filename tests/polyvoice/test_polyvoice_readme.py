"""What the README says is so: its example prints what is written, its commands and its plan can be read."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from polyvoice.ablations.plan import read_plan
from polyvoice.cli.main import parse

README = Path(__file__).parents[2] / "polyvoice/README.md"
TEXT = README.read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    polyvoice (.*)$", TEXT.replace("\\\n", ""), re.MULTILINE)


def test_the_example_prints_what_is_written() -> None:
    [code] = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    [expected] = re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.stdout, result.returncode) == (expected, 0), result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_one_that_there_is(command: str) -> None:
    assert callable(parse(shlex.split(command)).run)


def test_there_are_commands_for_the_whole_way() -> None:
    first_words = {command.split()[0] for command in COMMANDS}
    assert {"corpus", "train", "bundle", "evaluate", "samples", "translate"} <= first_words


def test_the_plan_can_be_read(tmp_path: Path) -> None:
    [plan] = re.findall(r"^(    manifest = .*?)^\S", TEXT, re.DOTALL | re.MULTILINE)
    (tmp_path / "plan.toml").write_text(plan, "utf-8")
    read = read_plan(tmp_path / "plan.toml")
    assert len(read.variants) == plan.count("[[variants]]") == 6
    assert all(read.is_packed(variant) for variant in read.variants)
    for variant in read.variants:
        parse(["evaluate", "test.tsv", "out", "--bundle", "b", *variant.pipeline, *read.evaluate])
        for stage, words in {"translate": ["translate"], "first_level": ["synthesize", "first-level"]}.items():
            options = (*(read.common.of(stage) or ()), *(variant.train.of(stage) or ()))
            parse(["train", *words, "pairs.tsv", "extracted", "run", *options])
