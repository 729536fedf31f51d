"""The example in the README runs and prints what the README says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "packages/molindex/README.md"


def test_the_example_prints_what_is_written(tmp_path):
    text = README.read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    [expected] = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (result.stdout, result.returncode) == (expected, 0), result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["molecules.index", "tests"]


def test_the_file_tree_names_every_module():
    text = README.read_text(encoding="utf-8")
    modules = {path.name for path in (ROOT / "packages/molindex/src/molindex").glob("*.py")} - {"__init__.py"}
    assert set(re.findall(r"^      (\w+\.py) ", text, re.MULTILINE)) == modules | {"search_speed.py"}
