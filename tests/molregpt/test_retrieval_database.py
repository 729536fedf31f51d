"""The pool's indexes: built once, never trusted when damaged, not needed to be writable."""

from __future__ import annotations

from pathlib import Path

import pytest

from molindex.fingerprints import Fingerprint
from molindex.molecules import MoleculeIndex
from molregpt.data.shipped import sample_pairs
from molregpt.database import Database, cache_folder, join_tables, keep_readable
from molregpt.records import Pair

MORGAN = Fingerprint("morgan", 2, 2048)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(sample_pairs()[:20], cache=tmp_path)


def _keys(index: MoleculeIndex) -> list[str]:
    return [near.key for near in index.search("CCO", 5)]


def _never(*_: object, **__: object) -> None:
    raise AssertionError("the index was built again")


def test_an_index_is_built_once(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = _keys(database.molecule_index(MORGAN))
    monkeypatch.setattr(MoleculeIndex, "build", _never)
    assert _keys(Database(database.pairs, cache=tmp_path).molecule_index(MORGAN)) == built
    with pytest.raises(AssertionError, match="built again"):
        Database(database.pairs[1:], cache=tmp_path).molecule_index(MORGAN)
    with pytest.raises(AssertionError, match="built again"):
        database.molecule_index(Fingerprint("morgan", 3, 2048))


def test_a_damaged_index_is_built_again(database: Database) -> None:
    built = _keys(database.molecule_index(MORGAN))
    [path] = database.folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    again = Database(database.pairs, cache=database.folder.parents[1])
    assert _keys(again.molecule_index(MORGAN)) == built
    assert again.molecule_index(MORGAN) is again.molecule_index(MORGAN)
    assert _keys(MoleculeIndex.open(path, MORGAN, verify=True)) == built


@pytest.mark.parametrize("where", ["file", "/sys/nowhere"])  # where nobody can make a folder, not even root
def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, where: str) -> None:
    blocked = tmp_path / where
    if not blocked.is_relative_to("/sys"):
        blocked.write_text("a file where the cache folder should be")
    database = Database(sample_pairs()[:20], cache=blocked)
    assert len(database.molecule_index(MORGAN).search("CCO", 5)) == 5
    assert len(database.caption_index("chemistry").search("an alcohol", 5)) == 5
    assert database.rows_of(smiles=database.pairs[3].smiles) == {3}


def test_unreadable_molecules_are_left_out_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = [Pair("a", "CCO", "ethanol"), Pair("b", "C1CC", "no ring"), Pair("c", "CCN", "ethylamine")]
    index = Database(pairs, cache=tmp_path).molecule_index(MORGAN)
    assert [near.key for near in index.search("CCO", 5)] == ["0", "2"]
    told = " ".join(capsys.readouterr().err.split())
    assert "1 of 3 molecules of the pool are left out; the first is b:" in told


def test_the_same_molecule_is_known_by_key_and_however_it_is_written(tmp_path: Path) -> None:
    pairs = [Pair("a", "OCC", ""), Pair("b", "CCN", ""), Pair("c", "C(C)O", ""), Pair("d", "nonsense", "")]
    database = Database(pairs, cache=tmp_path)
    assert database.rows_of(smiles="CCO") == {0, 2}
    assert database.rows_of(key="b", smiles="CCO") == {0, 1, 2}
    assert database.rows_of(key="x", smiles="CCCC") == frozenset()
    assert database.rows_of(smiles="nonsense") == {3}
    # stereochemistry makes another molecule
    assert Database([Pair("e", "C[C@H](N)O", "")], cache=tmp_path).rows_of(smiles="C[C@@H](N)O") == frozenset()


def test_tables_are_joined_without_losing_a_row() -> None:
    first = [Pair("1", "CCO", "ethanol"), Pair("2", "CCN", "ethylamine")]
    second = [Pair("1", "CCC", "propane"), Pair("2", "CCN", "ethylamine"), Pair("3", "C", "methane")]
    joined = join_tables([("a.tsv", first), ("b.tsv", second)])
    assert [pair.key for pair in joined] == ["1", "2", "b.tsv:1", "3"]
    assert joined[2].caption == "propane"
    # Tables of one name, as each folder may have its train.tsv.
    third, fourth = [Pair("1", "CCCC", "butane")], [Pair("1", "CCCCC", "pentane")]
    joined = join_tables([("a.tsv", first), ("b.tsv", second), ("b.tsv", third), ("b.tsv", fourth)])
    assert [pair.key for pair in joined] == ["1", "2", "b.tsv:1", "3", "b.tsv:1#2", "b.tsv:1#3"]
    assert [pair.caption for pair in joined[4:]] == ["butane", "pentane"]
    # A row that repeats one of another table but the first.
    assert join_tables([("a.tsv", first), ("b.tsv", second), ("c.tsv", second)]) == join_tables(
        [("a.tsv", first), ("b.tsv", second)]
    )


def test_pairs_that_cannot_be_read_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    pairs = [Pair("a", "CCO", "ethanol"), Pair("b", "C1CC", "no ring")]
    assert keep_readable(pairs) == pairs[:1]
    told = " ".join(capsys.readouterr().err.split())
    assert told.startswith("1 of 2 pairs are left out; the first is b: not a SMILES that RDKit can read: 'C1CC'")


def test_rows_are_found_by_what_they_say(database: Database) -> None:
    said = database.pairs[7].caption
    assert database.rows_of(caption=f" {said}\n") == {
        row for row, pair in enumerate(database.pairs) if pair.caption == said
    }


def test_a_line_s_number_is_nobody_s_name(tmp_path: Path) -> None:
    database = Database([Pair("row-2", "CCO", "ethanol"), Pair("7", "CCN", "ethylamine")], cache=tmp_path)
    assert database.rows_of(key="row-2") == frozenset()
    assert database.rows_of(key="row-2", smiles="OCC") == {0}
    assert database.rows_of(key="7") == {1}


def test_the_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOLREGPT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "molregpt"
    monkeypatch.setenv("MOLREGPT_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
