"""Tables as users have them: ChEBI-20's unquoted text, quoted CSV, and what is wrong with them."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molregpt.data.table import Columns, read_pairs, read_table, single_backslashes
from molregpt.errors import InputError
from molregpt.records import Pair

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_quotes_in_tab_separated_text_are_plain_characters(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'CID\tSMILES\tdescription\n1\tCCO\t"open\n2\tC\tshut"\n')
    assert [pair.caption for pair in read_pairs(path)] == ['"open', 'shut"']


def test_doubled_backslashes_become_single(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "CID\tSMILES\tdescription\n1\tC/C=C\\\\C\tx\n2\tC/C=C\\C\ty\n")
    assert [pair.smiles for pair in read_pairs(path)] == ["C/C=C\\C", "C/C=C\\C"]


def test_csv_with_own_columns_quotes_and_line_breaks(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'id,mol,note\r\nA,CCO,"one, ""two""\r\nthree"\r\nB,C,x\r\n')
    pairs = read_pairs(path, Columns(key="id", smiles="mol", caption="note"))
    assert pairs == [Pair("A", "CCO", 'one, "two"\r\nthree'), Pair("B", "C", "x")]


def test_gzip_byte_order_mark_blank_lines_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv.gz"
    path.write_bytes(gzip.compress("\ufeffCID\tSMILES\tdescription\tsource\r\n\r\n7\tC\tx\there\r\n".encode()))
    assert read_pairs(path) == [Pair("7", "C", "x", "here")]


def test_rows_without_a_key_are_named_by_their_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "CID\tSMILES\tdescription\n5\tC\tx\n\tCC\ty\n\tCCC\tz\n")
    assert [pair.key for pair in read_pairs(path)] == ["5", "row-3", "row-4"]
    keyless = write(tmp_path / "b.tsv", "SMILES\tdescription\nC\tx\n")
    assert [pair.key for pair in read_pairs(keyless)] == ["row-2"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tsv", "", "the file is empty"),
        ("a.tsv", "CID\tSMILES\tdescription\n", "the table has no rows"),
        (
            "a.tsv",
            "CID\tsmiles\tdescription\n1\tC\tx\n",
            "no column 'SMILES'; the columns are CID, smiles, description",
        ),
        ("a.tsv", "CID\tSMILES\tdescription\n1\tC\tx\n2\tC\n", "line 3: 3 columns expected, 2 found"),
        ("a.tsv", "CID\tSMILES\tdescription\n1\t \tx\n", "line 2: column 'SMILES' is empty"),
        ("a.tsv", "CID\tSMILES\tdescription\n1\tC\t\n", "line 2: column 'description' is empty"),
        ("a.tsv", "CID\tSMILES\tdescription\n1\tC\tx\n\n1\tC\ty\n", "line 4: key '1' is already on line 2"),
        ("a.csv", 'CID,SMILES,description\n1,C,x\n2,C,"open\n', "line 3: unexpected end of data"),
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = write(tmp_path / name, text)
    with pytest.raises(InputError) as caught:
        read_pairs(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_pairs(tmp_path / "none.tsv")
    with pytest.raises(InputError, match="cannot be read"):
        read_pairs(tmp_path)
    (tmp_path / "latin.tsv").write_bytes(b"CID\tSMILES\tdescription\n1\tC\t\xe9t\xe9\n")
    with pytest.raises(InputError, match="line 2: not UTF-8 text"):
        read_pairs(tmp_path / "latin.tsv")
    (tmp_path / "cut.tsv.gz").write_bytes(gzip.compress(b"CID\tSMILES\n" * 50)[:-9])
    with pytest.raises(InputError, match="cannot be read"):
        read_pairs(tmp_path / "cut.tsv.gz")


def test_line_separators_inside_a_cell_do_not_break_the_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "CID\tSMILES\tdescription\n1\tC\ta\u2028b\x0cc\n")
    assert read_table(path).rows[0].cells == ("1", "C", "a\u2028b\x0cc")


@given(st.text(alphabet="CN=/#()[]@H+-", max_size=30), st.text(alphabet="CN=/#()[]@H+-", max_size=30))
def test_single_backslashes_undoes_doubling_and_nothing_else(left: str, right: str) -> None:
    smiles = f"{left}\\{right}"
    assert single_backslashes(smiles.replace("\\", "\\\\")) == smiles
    assert single_backslashes(smiles) == smiles
