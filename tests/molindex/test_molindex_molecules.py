"""The index of molecules as a user has it: built, saved, opened, searched, refused."""

from __future__ import annotations

import hashlib
import json
import multiprocessing

import numpy as np
import pytest
from rdkit import rdBase

import molindex.molecules
from molindex.captions import CaptionIndex
from molindex.errors import InputError
from molindex.fingerprints import Fingerprint
from molindex.molecules import MoleculeIndex
from molindex.neighbours import Neighbour
from molindex.smiles import SmilesError, parse_smiles
from molindex.tables import Columns, Rejected

FINGERPRINTS = (Fingerprint(), Fingerprint("morgan", 3, 512), Fingerprint("rdkit"), Fingerprint("maccs"))


@pytest.fixture(scope="module")
def index(sample):
    return MoleculeIndex.build((row.key, row.smiles) for row in sample)


@pytest.fixture
def saved(index, tmp_path):
    path = tmp_path / "molecules.index"
    index.save(path)
    return path


@pytest.mark.parametrize("fingerprint", FINGERPRINTS, ids=str)
@pytest.mark.parametrize("metric", ["dice", "tanimoto"])
def test_neighbours_of_the_sample_equal_rdkits(fingerprint, metric, sample, oracle, tmp_path):
    index = MoleculeIndex.build(((row.key, row.smiles) for row in sample), fingerprint=fingerprint)
    index.save(tmp_path / "index")
    opened = MoleculeIndex.open(tmp_path / "index", fingerprint, verify=True)
    vectors = [fingerprint.of(parse_smiles(row.smiles)) for row in sample]
    found = opened.search_batch([row.smiles for row in sample], 10, metric=metric)
    assert found == index.search_batch([row.smiles for row in sample], 10, metric=metric)
    for vector, neighbours in zip(vectors, found, strict=True):
        rows, similarities = oracle(vector, vectors, 10, metric)
        assert neighbours == [Neighbour(row, sample[row].key, s) for row, s in zip(rows, similarities, strict=True)]


def test_a_molecule_finds_itself_unless_excluded(index, sample):
    row = sample[17]
    assert index.search(row.smiles, 1) == [Neighbour(17, row.key, 1.0)]
    others = index.search(row.smiles, 20, exclude=[row.key, "unknown"])
    assert others == [hit for hit in index.search(row.smiles, 21) if hit.key != row.key]
    batch = index.search_batch([row.smiles] * 2, 20, exclude=[[row.key], []])
    assert batch == [others, index.search(row.smiles, 20)]


def test_a_key_that_occurs_twice_is_excluded_twice():
    index = MoleculeIndex.build([("a", "CCO"), ("b", "CCN"), ("a", "CCO")])
    assert [hit.row for hit in index.search("CCO", 3)] == [0, 2, 1]
    assert [hit.key for hit in index.search("CCO", 3, exclude=["a"])] == ["b"]


def test_the_floor_leaves_out_what_is_less_similar(index, sample):
    everything = index.search(sample[3].smiles, len(index))
    floor = everything[30].similarity
    assert index.search(sample[3].smiles, len(index), floor=floor) == [h for h in everything if h.similarity >= floor]


def test_single_equals_batch_and_molecule_equals_smiles(index, sample):
    singles = [index.search(row.smiles, 5) for row in sample[:20]]
    assert index.search_batch([row.smiles for row in sample[:20]], 5) == singles
    assert [index.search(parse_smiles(row.smiles), 5) for row in sample[:20]] == singles
    assert index.search_batch([], 5) == []


def test_keys_read_like_a_list(index, sample):
    keys = [row.key for row in sample]
    assert list(index.keys) == keys
    assert (index.keys[-1], index.keys[2:9:3], len(index.keys)) == (keys[-1], keys[2:9:3], len(keys))
    with pytest.raises(IndexError):
        index.keys[len(keys)]


def test_provenance_says_how_the_index_was_made(index, saved, sample):
    provenance = MoleculeIndex.open(saved).provenance
    assert provenance == index.provenance
    assert provenance.settings == "morgan:2:2048"
    assert provenance.library == f"rdkit {rdBase.rdkitVersion}"
    assert (provenance.rows, provenance.rejected, provenance.format_version) == (194, 0, 1)
    rows = "".join(f"{row.key}\t{row.smiles}\n" for row in sample)
    assert provenance.source_sha256 == hashlib.sha256(rows.encode()).hexdigest()


def test_an_opened_index_is_read_from_the_file(saved):
    opened = MoleculeIndex.open(saved)
    for array in (opened._fingerprints.codes, opened._fingerprints.folded, opened._lookup.keys.text):
        assert not array.flags.owndata
        assert not array.flags.writeable


def test_workers_do_not_change_the_file(sample, tmp_path, monkeypatch):
    monkeypatch.setattr(molindex.molecules, "_CHUNK_ROWS", 7)
    rows = [(row.key, row.smiles) for row in sample[:60]]
    rows[33] = ("bad", "C1CC")
    files, rejects = [], []
    for workers in (1, 2):
        rejected: list[Rejected] = []
        built = MoleculeIndex.build(rows, workers=workers, on_reject=rejected.append)
        built.save(tmp_path / f"{workers}.index")
        files.append((tmp_path / f"{workers}.index").read_bytes())
        rejects.append(rejected)
    assert files[0] == files[1]
    assert rejects[0] == rejects[1]
    assert [bad.number for bad in rejects[0]] == [34]
    assert not multiprocessing.active_children()


def test_a_bad_row_stops_the_build_unless_someone_takes_it():
    rows = [("1", "CCO"), ("2", "C(C"), ("3", "CC")]
    with pytest.raises(
        InputError, match=r"^row 2: not a SMILES that RDKit can read: 'C\(C': SMILES Parse Error: extra open"
    ):
        MoleculeIndex.build(rows)
    rejected: list[Rejected] = []
    index = MoleculeIndex.build(rows, on_reject=rejected.append)
    assert list(index.keys) == ["1", "3"]
    assert [(bad.file, bad.number) for bad in rejected] == [("", 2)]
    assert (index.provenance.rows, index.provenance.rejected) == (2, 1)


def test_a_table_with_bad_rows_gives_an_index_and_a_side_file(tmp_path):
    table = tmp_path / "pool.csv"
    table.write_text("id,structure\nx,CCO\ny\nz,C(\nw,CC\n")
    index = MoleculeIndex.from_table(table, rejects=tmp_path / "bad.tsv", columns=Columns("id", "structure"))
    assert list(index.keys) == ["x", "w"]
    header, second, third = (tmp_path / "bad.tsv").read_text().splitlines()
    assert header == "file\trow\treason"
    assert second == f"{table}\t3\t1 fields, the header has 2"
    assert third.startswith(f"{table}\t4\tnot a SMILES that RDKit can read: 'C(': SMILES Parse Error")
    assert index.provenance.rejected == 2


def test_a_table_without_a_molecule_is_refused(tmp_path):
    table = tmp_path / "pool.smi"
    table.write_text("not smiles\n")
    with pytest.raises(InputError, match=r"no molecule in it \(1 rows rejected, see "):
        MoleculeIndex.from_table(table, rejects=tmp_path / "bad.tsv")


def test_progress_goes_to_stderr_alone(sample, capfd):
    MoleculeIndex.build(((row.key, row.smiles) for row in sample[:5]), progress=True)
    assert capfd.readouterr().out == ""


def test_another_fingerprint_is_refused(saved):
    with pytest.raises(InputError, match="an index of fingerprint morgan:2:2048, expected morgan:3:2048"):
        MoleculeIndex.open(saved, Fingerprint("morgan", 3))


def test_another_rdkit_is_refused_unless_allowed(saved, monkeypatch):
    monkeypatch.setattr(molindex.molecules, "_library", lambda: "rdkit 1999.01.1")
    with pytest.raises(InputError, match=r"computed by rdkit 20.*, this is rdkit 1999.01.1; build the index again"):
        MoleculeIndex.open(saved)
    assert len(MoleculeIndex.open(saved, allow_other_rdkit=True)) == 194


def test_an_index_of_captions_is_refused(sample, tmp_path):
    CaptionIndex.build((row.key, row.text) for row in sample).save(tmp_path / "captions.index")
    with pytest.raises(InputError, match="an index of captions, expected one of molecules"):
        MoleculeIndex.open(tmp_path / "captions.index")


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 100, 0.1, 0.5, 0.999])
def test_a_cut_file_is_refused_in_one_line(saved, kept):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: kept if isinstance(kept, int) else int(len(whole) * kept)])
    with pytest.raises(InputError) as caught:
        MoleculeIndex.open(saved)
    assert str(caught.value).startswith(f"{saved}: ")
    assert "\n" not in str(caught.value)


def test_a_flipped_bit_in_any_byte_of_the_header_is_refused(tmp_path):
    path = tmp_path / "small.index"
    MoleculeIndex.build([("a", "CCO")]).save(path)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for place in range(header):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        with pytest.raises(InputError) as caught:
            MoleculeIndex.open(path)
        assert len(str(caught.value).splitlines()) == 1


def test_a_flipped_bit_of_the_data_is_found_by_verify(saved):
    whole = bytearray(saved.read_bytes())
    whole[len(whole) // 2] ^= 1
    saved.write_bytes(bytes(whole))
    with pytest.raises(InputError, match=r"damaged: \w+ does not agree with its SHA-256"):
        MoleculeIndex.open(saved, verify=True)


def test_a_newer_format_is_refused(saved, monkeypatch):
    monkeypatch.setattr("molindex.storage.FORMAT_VERSION", 2)
    with pytest.raises(InputError, match="index format 1, this molindex reads 2"):
        MoleculeIndex.open(saved)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.index: cannot be opened"):
        MoleculeIndex.open(tmp_path / "none.index")


def test_saving_over_an_open_index_leaves_it_readable(saved, sample):
    opened = MoleculeIndex.open(saved)
    MoleculeIndex.build([("a", "C")]).save(saved)
    assert opened.search(sample[0].smiles, 1)[0].key == sample[0].key
    assert len(MoleculeIndex.open(saved)) == 1
    assert [entry.name for entry in saved.parent.iterdir()] == [saved.name]


def test_an_empty_index_is_saved_and_searched(tmp_path):
    MoleculeIndex.build([]).save(tmp_path / "empty.index")
    opened = MoleculeIndex.open(tmp_path / "empty.index", verify=True)
    assert (len(opened), opened.search("CCO", 3)) == (0, [])


def test_the_file_opens_with_safetensors(saved, index):
    from safetensors import safe_open

    with safe_open(saved, framework="numpy") as file:
        assert json.loads(file.metadata()["molindex"])["provenance"]["settings"] == "morgan:2:2048"
        assert np.array_equal(file.get_tensor("codes"), index._fingerprints.codes)


def test_bad_queries_are_refused(index):
    with pytest.raises(SmilesError):
        index.search("C(", 1)
    with pytest.raises(InputError, match="a collection of keys is wanted, not the one string '26035'"):
        index.search("C", 1, exclude="26035")
    with pytest.raises(InputError, match=r"packed morgan:2:2048 is uint8 \[B, 256\], got uint8 \[1, 24\]"):
        index.search_packed(Fingerprint("maccs").pack([parse_smiles("C")]), 1)
    with pytest.raises(InputError, match="2 queries but 1 collections of keys to exclude"):
        index.search_batch(["C", "C"], 1, exclude=[[]])
    with pytest.raises(InputError, match="workers must be at least 1, got 0"):
        MoleculeIndex.build([], workers=0)
