"""The journal keeps every whole row through any death of the process, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

import unitlm.errors
from molregpt.errors import InputError
from molregpt.evaluation.journal import Journal
from molregpt.evaluation.rows import EvaluatedRow, Neighbour
from molregpt.records import Answer, Origin, Usage

texts = st.text(max_size=30)
counts = st.integers(0, 10**9)
shares = st.floats(0, 100)
rows = st.builds(
    EvaluatedRow,
    position=counts,
    key=texts,
    query=texts,
    reference=texts,
    answer=st.builds(
        Answer,
        text=texts,
        origin=st.sampled_from(get_args(Origin)),
        attempts=counts,
        usage=st.builds(Usage, counts, counts, counts, counts, shares),
        notes=st.lists(texts, max_size=3).map(tuple),
    ),
    baseline=texts,
    similarity=shares,
    neighbours=st.lists(st.builds(Neighbour, key=texts, similarity=shares), max_size=3).map(tuple),
)


def _row(position: int) -> EvaluatedRow:
    return EvaluatedRow(position, f"key-{position}", "CCO", "ethanol\n", Answer("“éthanol”", "model"), "copy", 0.5, ())


@given(rows)
def test_a_row_is_read_back_as_it_was_written(row: EvaluatedRow) -> None:
    line = row.to_json()
    assert "\n" not in line
    assert EvaluatedRow.from_json(line) == row


def test_rows_are_there_when_the_journal_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with Journal(path) as journal:
        for position in (2, 0, 1):
            journal.append(_row(position))
        # before it is closed: a killed process never gets there
        assert len(path.read_bytes().splitlines()) == 3
    with Journal(path) as journal:
        assert journal.rows == {position: _row(position) for position in range(3)}


def test_a_torn_last_line_is_cut_off_wherever_it_was_torn(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    lines = [(_row(position).to_json() + "\n").encode() for position in range(3)]
    for end in range(len(lines[2])):
        path.write_bytes(lines[0] + lines[1] + lines[2][:end])
        with Journal(path) as journal:
            assert sorted(journal.rows) == [0, 1]
            journal.append(_row(2))
        assert path.read_bytes() == b"".join(lines)


@pytest.mark.parametrize("damage", ["{}", "not JSON", '{"position": 1}', "[]", ""])
def test_a_whole_line_that_is_no_row_is_told_with_its_number(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{_row(0).to_json()}\n{damage}\n")
    with pytest.raises(InputError, match=r"rows\.jsonl, line 2: not a row"):
        Journal(path)
    assert path.read_text().count("\n") == 2  # nothing is thrown away


def test_a_second_run_is_kept_out_until_the_first_is_done(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with Journal(path), pytest.raises(unitlm.errors.InputError, match="another run"):
        Journal(path)
    Journal(path).close()
