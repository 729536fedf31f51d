"""Many shards find what one index over all tables finds, ties included; what is missing is never passed over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from molindex.errors import InputError
from molindex.fingerprints import Fingerprint
from molindex.molecules import MoleculeIndex
from molindex.sharded import ShardedIndex, build_shards
from molindex.tables import Row

ROWS = (70, 1, 60, 63)


@pytest.fixture(scope="module")
def tables(sample: list[Row], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The sample cut in four; the third part ends with rows of the first, so that there are ties across shards."""
    folder = tmp_path_factory.mktemp("tables")
    cells = [f"{row.key}\t{row.smiles}\n" for row in sample]
    paths, begin = [], 0
    for number, rows in enumerate(ROWS):
        part = cells[begin : begin + rows] + (cells[:9] if number == 2 else [])
        if number == 1:
            part.append("bad\tC1CC\n")
        path = folder / f"part{number}.tsv"
        path.write_text("CID\tSMILES\n" + "".join(part), encoding="utf-8")
        paths.append(path)
        begin += rows
    return paths


@pytest.fixture(scope="module")
def shards(tables: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index") / "shards"
    assert build_shards(tables, folder) == sum(ROWS) + 9
    return folder


@pytest.fixture(scope="module")
def whole(tables: list[Path]) -> MoleculeIndex:
    """One index over the rows of all tables."""
    lines = [line.split("\t") for table in tables for line in table.read_text("utf-8").splitlines()[1:]]
    return MoleculeIndex.build(((key, smiles) for key, smiles in lines), on_reject=lambda _: None)


@pytest.mark.parametrize("metric", ["dice", "tanimoto"])
@pytest.mark.parametrize("k", [1, 7, 60, 500])
def test_shards_find_what_one_index_finds(
    shards: Path, whole: MoleculeIndex, sample: list[Row], metric: str, k: int
) -> None:
    index = ShardedIndex.open(shards)
    assert len(index) == len(whole)
    queries = [row.smiles for row in sample[:70:6]]
    assert index.search_batch(queries, k, metric=metric) == whole.search_batch(queries, k, metric=metric)
    for query in queries[:3]:
        assert index.search(query, k, metric=metric) == whole.search(query, k, metric=metric)


def test_of_equals_in_two_shards_the_first_row_comes_first(shards: Path, sample: list[Row]) -> None:
    index = ShardedIndex.open(shards)
    repeated = ROWS[0] + ROWS[1] + ROWS[2] + 6
    hits = index.search(sample[6].smiles, 2)
    assert [(hit.row, hit.key, hit.similarity) for hit in hits] == [
        (6, sample[6].key, 1.0),
        (repeated, sample[6].key, 1.0),
    ]
    assert [hit.row for hit in index.search(sample[6].smiles, 1)] == [6]


def test_floors_and_excluded_keys_are_those_of_one_index(shards: Path, whole: MoleculeIndex, sample: list[Row]) -> None:
    index = ShardedIndex.open(shards)
    queries, barred = [row.smiles for row in sample[:4]], [[row.key] for row in sample[:4]]
    found = index.search_batch(queries, 20, floor=0.3, exclude=barred)
    assert found == whole.search_batch(queries, 20, floor=0.3, exclude=barred)
    assert all(hit.key != keys[0] for hits, keys in zip(found, barred, strict=True) for hit in hits)
    assert index.search_batch([], 3) == []


def test_what_is_there_is_not_built_again(shards: Path, tables: list[Path]) -> None:
    rejected = (shards / "00001.rejected.tsv").read_text().splitlines()
    assert len(rejected) == 2
    before = {path: path.stat().st_mtime_ns for path in shards.iterdir()}
    lost = shards / "00002.index"
    content = lost.read_bytes()
    lost.unlink()
    with pytest.raises(InputError, match=r"00002\.index: missing, the shard of part2\.tsv"):
        ShardedIndex.open(shards)
    build_shards(tables, shards)
    assert lost.read_bytes() == content
    after = {path: path.stat().st_mtime_ns for path in shards.iterdir()}
    assert {path for path in before if before[path] != after[path]} == {lost}


def test_shards_of_something_else_are_refused(shards: Path, tables: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="begun with other tables"):
        build_shards(tables[:2], shards)
    with pytest.raises(InputError, match="begun with other fingerprint"):
        build_shards(tables, shards, fingerprint=Fingerprint("maccs"))
    with pytest.raises(InputError, match=r"expected maccs"):
        ShardedIndex.open(shards, Fingerprint("maccs"))
    with pytest.raises(InputError, match="no table to index"):
        build_shards([], tmp_path)
    with pytest.raises(InputError, match=r"none\.tsv: cannot be read"):
        build_shards([tmp_path / "none.tsv"], tmp_path / "none")
    with pytest.raises(InputError, match=r"shards\.json: cannot be read"):
        ShardedIndex.open(tmp_path)
    (tmp_path / "shards.json").write_text(json.dumps({"format": 9}))
    with pytest.raises(InputError, match="another format"):
        ShardedIndex.open(tmp_path)


def test_a_shard_of_another_fingerprint_is_refused(shards: Path, tmp_path: Path) -> None:
    for path in shards.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    MoleculeIndex.build([("a", "CCO")], fingerprint=Fingerprint("maccs")).save(tmp_path / "00003.index")
    with pytest.raises(InputError, match=r"00003\.index: a shard of maccs:0:167, the others are of morgan:2:2048"):
        ShardedIndex.open(tmp_path)
