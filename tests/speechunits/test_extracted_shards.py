"""Shards of extracted units and codes: what is written is what is read, and half a folder is not a folder."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechunits.errors import InputError
from speechunits.extracted import (
    CodesInfo,
    Extracted,
    ExtractedInfo,
    Failure,
    ShardHeader,
    UnitsInfo,
    digest_rows,
    read_extracted,
    read_header,
    shard_path,
    write_extracted,
    write_shard,
)

UNITS = UnitsInfo("encoder layer 9", "sha256:0123", 50, 50.0)
CODES = CodesInfo("codec", 3, 16, 75.0)
BOTH = ExtractedInfo(UNITS, CODES)


def utterance(name: str, units: int | None = 5, codes: int | None = 7) -> Extracted:
    generator = np.random.default_rng(len(name))
    return Extracted(
        name,
        1.5,
        None if units is None else generator.integers(0, 50, units),
        None if codes is None else generator.integers(0, 16, (3, codes)),
    )


@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=9), rows=st.integers(1, 4)
)
def test_what_is_written_is_read(tmp_path_factory, lengths: list[tuple[int, int]], rows: int) -> None:
    folder = tmp_path_factory.mktemp("extracted") / "new"
    written = [utterance(f"{position}.wav", *sizes) for position, sizes in enumerate(lengths)]
    write_extracted(folder, BOTH, written, rows_a_shard=rows)
    assert len(list(folder.iterdir())) == -(-len(written) // rows)
    info, read = read_extracted(folder)
    assert info == BOTH
    for expected, found in zip(written, read, strict=True):
        assert (found.audio, found.duration_s) == (expected.audio, 1.5)
        assert found.units.dtype == found.codes.dtype == np.int64
        np.testing.assert_array_equal(found.units, expected.units)
        np.testing.assert_array_equal(found.codes, expected.codes)


@pytest.mark.parametrize(("units", "codes"), [(UNITS, None), (None, CODES)])
def test_either_may_be_missing(tmp_path: Path, units: UnitsInfo | None, codes: CodesInfo | None) -> None:
    row = utterance("a.wav", 5 if units else None, 7 if codes else None)
    write_extracted(tmp_path, ExtractedInfo(units, codes), [row])
    info, [found] = read_extracted(tmp_path)
    assert (info.units, info.codes) == (units, codes)
    assert ((found.units is None), (found.codes is None)) == (units is None, codes is None)


def test_a_shard_is_arrow_for_everybody(tmp_path: Path) -> None:
    import pyarrow.parquet

    row = utterance("a.wav")
    write_extracted(tmp_path, BOTH, [row])
    table = pyarrow.parquet.read_table(tmp_path / "00000.parquet")
    assert table.column_names == ["audio", "duration_s", "units", "codes"]
    assert [str(kind) for kind in table.schema.types] == ["string", "float", *["list<element: int32>"] * 2]
    # Frame after frame, K codes a frame.
    assert table["codes"].to_pylist()[0][:3] == row.codes[:, 0].tolist()


def test_an_unfinished_folder_is_refused(tmp_path: Path) -> None:
    rows = [utterance(f"{position}.wav") for position in range(5)]
    write_extracted(tmp_path, BOTH, rows, rows_a_shard=2)
    shard_path(tmp_path, 1).rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="2 of 3 shards"):
        read_extracted(tmp_path)
    (tmp_path / "elsewhere").rename(shard_path(tmp_path, 1))
    shard_path(tmp_path, 2).unlink()
    with pytest.raises(InputError, match="2 of 3 shards"):
        read_extracted(tmp_path)
    with pytest.raises(InputError, match="nothing extracted"):
        read_extracted(tmp_path / "absent")


def test_shards_of_two_kinds_do_not_mix(tmp_path: Path) -> None:
    write_shard(tmp_path, ShardHeader(BOTH, 0, 2, ""), [utterance("a.wav")])
    write_shard(tmp_path, ShardHeader(ExtractedInfo(UNITS, None), 1, 2, ""), [utterance("b.wav", codes=None)])
    with pytest.raises(InputError, match=r"00001\.parquet: does not belong"):
        read_extracted(tmp_path)


def test_a_header_keeps_everything(tmp_path: Path) -> None:
    header = ShardHeader(BOTH, 4, 9, digest_rows(["a.wav", "b.wav"]), (Failure("b.wav", "b.wav: not audio"),))
    write_shard(tmp_path, header, [utterance("a.wav")])
    assert read_header(tmp_path / "00004.parquet") == header
    assert digest_rows(["a.wav", "b.wav"]) != digest_rows(["b.wav", "a.wav"])


def test_other_files_are_not_shards(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    (tmp_path / "text").write_text("no table")
    pyarrow.parquet.write_table(pyarrow.table({"audio": ["a"]}), tmp_path / "table")
    for name in ("absent", "text", "table"):
        with pytest.raises(InputError, match=f"{name}: not a shard"):
            read_header(tmp_path / name)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (utterance("a.wav", codes=None), "has no codes"),
        (Extracted("a.wav", 1.0, np.array([50]), np.zeros((3, 1), np.int64)), "units lie in 0 to 49"),
        (Extracted("a.wav", 1.0, np.array([[1]]), np.zeros((3, 1), np.int64)), "units int64"),
        (Extracted("a.wav", 1.0, np.array([1]), np.zeros((2, 4), np.int64)), r"codes int64 \[2, 4\]"),
        (Extracted("a.wav", 1.0, np.array([1]), np.full((3, 4), -1)), "codes lie in 0 to 15"),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path: Path, row: Extracted, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        write_extracted(tmp_path, BOTH, [row])
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write_extracted(tmp_path, BOTH, [utterance("a.wav")])
    with pytest.raises(InputError, match="holds shards already"):
        write_extracted(tmp_path, BOTH, [utterance("a.wav")])
    with pytest.raises(InputError, match="no utterance"):
        write_extracted(tmp_path / "new", BOTH, [])
    with pytest.raises(InputError, match="units or codes"):
        ExtractedInfo(None, None)
