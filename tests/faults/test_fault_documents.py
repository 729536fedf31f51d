"""docs/reliability.md and docs/security.md: every test that they name exists where they say."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
LINK = re.compile(r"\[(?P<file>test_\w+\.py)::(?P<name>test_\w+)\]\((?P<path>[^)]+)\)")


@pytest.mark.parametrize("document", ["reliability.md", "security.md"])
def test_every_named_test_is_there(document: str) -> None:
    text = (DOCS / document).read_text("utf-8")
    links = list(LINK.finditer(text))
    assert len(links) >= 10
    assert len(links) == text.count("::test_")
    for link in links:
        path = DOCS / link["path"]
        assert path.name == link["file"]
        functions = {
            node.name for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.FunctionDef)
        }
        assert link["name"] in functions, link[0]


def test_every_row_of_a_fault_has_a_test() -> None:
    rows = [line for line in (DOCS / "reliability.md").read_text("utf-8").splitlines() if line.startswith("| ")]
    told = [row for row in rows if not row.startswith(("| fault", "| ---"))]
    assert len(told) > 30
    assert all(LINK.search(row) for row in told)


def test_the_counts_are_those_of_the_tests() -> None:
    text = (DOCS / "reliability.md").read_text("utf-8")
    source = (Path(__file__).with_name("test_damaged_files.py")).read_text("utf-8")
    counts = {
        node.targets[0].id: len(node.value.keys)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and isinstance(node.targets[0], ast.Name)
    }
    [(kinds, foreign)] = re.findall(
        r"Each of the (\d+) kinds of files .*? replaced by (\d+)\s+foreign", text, re.DOTALL
    )
    assert (int(kinds), int(foreign)) == (counts["FORMATS"], counts["FOREIGN"])
