"""Every row of a table is either read or named with its reason, whatever the format."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem

from molindex.errors import InputError
from molindex.tables import Columns, Rejected, RejectFile, Row, read_rows


def write(path, text, *, binary=None):
    data = binary if binary is not None else text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("suffix", [".tsv", ".tsv.gz"])
def test_tsv_has_no_quoting_and_backslashes_become_single(tmp_path, suffix):
    path = write(tmp_path / f"t{suffix}", 'CID\tSMILES\tdescription\n1\tF/C=C\\\\F\tsays "yes\n2\tCCO\t"quoted"\r\n')
    assert list(read_rows(path)) == [Row(2, "1", r"F/C=C\F", 'says "yes'), Row(3, "2", "CCO", '"quoted"')]
    assert next(read_rows(path, backslashes="keep")).smiles == r"F/C=C\\F"


def test_published_rows_are_read_whole(sample_path, sample):
    cells = [tuple(line.split("\t")) for line in sample_path.read_text(encoding="utf-8").splitlines()[1:]]
    assert len(cells) == 194
    assert [(row.key, row.smiles, row.text) for row in read_rows(sample_path, backslashes="keep")] == cells
    assert sum("\\\\" in smiles for _, smiles, _ in cells) >= 10
    assert [row.smiles for row in sample] == [smiles.replace("\\\\", "\\") for _, smiles, _ in cells]


def test_csv_is_quoted_and_named_by_its_first_line(tmp_path):
    path = write(tmp_path / "t.csv", 'SMILES,CID,description\nCCO,1,"a, ""b""\nsecond line"\nCC,2\nC,3,end\n')
    assert list(read_rows(path)) == [
        Row(2, "1", "CCO", 'a, "b"\nsecond line'),
        Rejected(str(path), 4, "2 fields, the header has 3"),
        Row(5, "3", "C", "end"),
    ]


def test_smiles_files_take_the_rest_of_the_line_as_key(tmp_path):
    path = write(tmp_path / "t.smi", "CCO ethyl alcohol\n\nC\tmethane\nCC\n")
    assert list(read_rows(path)) == [Row(1, "ethyl alcohol", "CCO"), Row(3, "methane", "C"), Row(4, "4", "CC")]


def test_sdf_records_are_read_one_by_one(tmp_path):
    ethanol = Chem.MolToMolBlock(Chem.MolFromSmiles("CCO"))
    records = [
        "ethanol" + ethanol + "> <CID>\n702\n\n> <description>\nan alcohol\n\n$$$$\n",
        "broken\n\n\n  x  y\nM  END\n> <CID>\n9\n\n$$$$\n",
        "nameless" + ethanol + "$$$$\n",
        "last" + ethanol + "> <CID>\n703\n\n> <description>\nagain\n",
    ]
    path = write(tmp_path / "t.sdf.gz", "".join(records))
    first, broken, nameless, last = read_rows(path)
    assert first == Row(1, "702", "CCO", "an alcohol")
    assert isinstance(broken, Rejected)
    assert broken.number == 2
    assert broken.reason
    assert "\n" not in broken.reason
    assert nameless == Rejected(str(path), 3, "no CID")
    assert last == Row(4, "703", "CCO", "again")
    titles = [row.key for row in read_rows(path, Columns(key="", text="")) if isinstance(row, Row)]
    assert titles == ["ethanol", "nameless", "last"]


def test_bad_rows_are_named(tmp_path):
    path = write(
        tmp_path / "t.tsv",
        "",
        binary=b"CID\tSMILES\tdescription\n1\tC\n\tC\tx\n3\t\tx\n4\tC\t\xff\xfe\n5\tC\tx\ty\n\n6\tC\tfine\n",
    )
    assert list(read_rows(path)) == [
        Rejected(str(path), 2, "2 fields, the header has 3"),
        Rejected(str(path), 3, "no CID"),
        Rejected(str(path), 4, "no SMILES"),
        Rejected(str(path), 5, "not UTF-8"),
        Rejected(str(path), 6, "4 fields, the header has 3"),
        Row(8, "6", "C", "fine"),
    ]


def test_a_byte_order_mark_is_not_part_of_the_header(tmp_path):
    path = write(tmp_path / "t.tsv", "", binary="\ufeffCID\tSMILES\n7\tC\n".encode())
    assert list(read_rows(path, Columns(text=""))) == [Row(2, "7", "C")]


def test_without_a_key_column_the_row_number_is_the_key(tmp_path):
    path = write(tmp_path / "t.csv", "SMILES,SPLIT\nC,train\nCC,train\n")
    assert [row.key for row in read_rows(path, Columns(key="", text=""))] == ["2", "3"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.tsv", b"CID\tsmiles\n1\tC\n", "no column SMILES, description; the first line has: CID, smiles"),
        ("t.tsv", b"", "the first line has: nothing"),
        ("t.xlsx", b"", "unknown table format"),
        (
            "t.tsv.gz",
            gzip.compress(b"CID\tSMILES\tdescription\n" + bytes(range(256)) * 50)[:-40],
            "not a complete gzip file",
        ),
        ("t.tsv.gz", b"plain text", "not a complete gzip file"),
    ],
)
def test_unusable_files_are_refused_in_one_line(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        list(read_rows(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot be read: No such file"):
        list(read_rows(tmp_path / "none.tsv"))


cells = st.text(st.characters(codec="utf-8", exclude_characters="\t\n\r", exclude_categories=["Cs"]), min_size=1).map(
    str.strip
)


@given(rows=st.lists(st.tuples(cells, cells, cells).filter(all), max_size=8))
def test_tsv_round_trip(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("round") / "t.tsv"
    path.write_bytes(("CID\tSMILES\tdescription\n" + "".join("\t".join(row) + "\n" for row in rows)).encode())
    assert [(row.key, row.smiles, row.text) for row in read_rows(path, backslashes="keep")] == rows


def test_the_side_file_holds_one_line_for_each(tmp_path):
    path = tmp_path / "deep" / "rejected.tsv"
    with RejectFile(path) as side_file:
        side_file.write(Rejected("a.tsv", 3, "two\nlines\tof reason"))
        assert not path.exists()
    assert path.read_text() == "file\trow\treason\na.tsv\t3\ttwo lines of reason\n"
    assert side_file.count == 1


def test_without_rejects_an_old_side_file_goes_away(tmp_path):
    path = tmp_path / "rejected.tsv"
    path.write_text("old")
    with RejectFile(path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_failed_run_leaves_the_old_side_file(tmp_path):
    path = tmp_path / "rejected.tsv"
    path.write_text("old")

    def fail():
        with RejectFile(path) as side_file:
            side_file.write(Rejected("a", 1, "b"))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["old"]
