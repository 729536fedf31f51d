"""The sessions that the READMEs name exist, and listing them is quick because nothing heavy is imported."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TREE = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))


def test_every_session_that_a_readme_names_exists() -> None:
    sessions = {
        node.name
        for node in TREE.body
        if isinstance(node, ast.FunctionDef) and any("session" in ast.unparse(mark) for mark in node.decorator_list)
    }
    named = {
        name
        for readme in [ROOT / "README.md", *ROOT.glob("*/README.md"), *ROOT.glob("*/*/README.md")]
        for name in re.findall(r"nox -s ([\w]+)", readme.read_text(encoding="utf-8"))
    }
    assert {"demo", "tests"} <= named <= sessions


def test_the_noxfile_imports_nothing_but_nox_and_the_standard_library() -> None:
    imported = {
        name.split(".")[0]
        for node in ast.walk(TREE)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }
    assert imported == {"__future__", "hashlib", "nox", "os", "pathlib", "shutil", "sys"}


@pytest.mark.skipif(shutil.which("git") is None, reason="git tells what belongs to the tree")
def test_the_top_level_is_the_house_and_nothing_else() -> None:
    tracked = {
        "bench",
        "packages",
        "polyvoice",
        "molregpt",
        "shared",
        "tests",
        "docs",
        "pyproject.toml",
        "noxfile.py",
        ".ci",
    }
    tracked |= {"README.md", "CONTRIBUTING.md", "LICENSE", "CHANGELOG.md"}
    tracked |= {"constraints.txt", ".gitignore", "mkdocs.yml"}
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no clone, so nothing tells what belongs to it")
    found = {name.split("/")[0] for name in listed.stdout.split("\0") if name}
    assert found | {".ci"} == tracked
