"""Names of molecules as a table that survives interruption."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path

import pytest

import unitlm.errors
from molregpt.cli import run
from molregpt.errors import InputError
from molregpt.local.names import Naming, build_names, read_molecules

MOLECULES = [(f"k{number}", "C" * number) for number in range(1, 41)]


def count_carbons(smiles: str) -> Naming:
    """A namer for which lengths divisible by seven have no name."""
    return Naming("", "a\tseventh\n one") if len(smiles) % 7 == 0 else Naming(f"{len(smiles)}-carbon", "confirmed")


def hang_on_three(smiles: str) -> Naming:
    if len(smiles) == 3:
        # As openclatura does: whatever goes wrong inside a rule is taken for a rule that does not apply.
        while True:
            try:
                time.sleep(60)
            except Exception:
                continue
    return count_carbons(smiles)


def refuse(smiles: str) -> Naming:
    raise AssertionError(f"{smiles} was named again")


def read(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().removesuffix("\n").split("\n")]


@pytest.mark.parametrize("workers", [1, 3])
def test_names_keep_the_order_and_failures_their_reason(workers: int, tmp_path: Path) -> None:
    summary = build_names(MOLECULES, tmp_path / "names.tsv", workers, namer=count_carbons)
    assert read(summary.path) == [["CID", "SMILES", "name", "audit"]] + [
        [key, smiles, f"{len(smiles)}-carbon", "confirmed"] for key, smiles in MOLECULES if len(smiles) % 7
    ]
    assert read(summary.failures_path) == [["CID", "SMILES", "reason"]] + [
        [key, smiles, "a seventh one"] for key, smiles in MOLECULES if len(smiles) % 7 == 0
    ]
    assert summary.failures_path == tmp_path / "names.failed.tsv"
    assert (summary.named, summary.failed, summary.skipped) == (35, 5, 0)


def test_molecules_of_tables_without_keys_are_told_apart_by_themselves(tmp_path: Path) -> None:
    """Each has its line for a key, and another table has others on these lines."""
    lines = [(f"row-{number}", "C" * number) for number in range(2, 9)]
    build_names(lines, tmp_path / "names.tsv", 1, namer=count_carbons)
    moved = [("row-2", "C" * 9), *((f"row-{number + 1}", smiles) for number, (_, smiles) in enumerate(lines, 2))]
    summary = build_names(moved, tmp_path / "names.tsv", 1, namer=count_carbons)
    assert (summary.named, summary.failed, summary.skipped) == (7, 1, 7)
    assert build_names(moved, tmp_path / "names.tsv", 1, namer=refuse).skipped == 8
    assert [row[1] for row in read(summary.path)[1:]] == ["C" * count for count in (2, 3, 4, 5, 6, 8, 9)]


@pytest.mark.parametrize("kept", [0, 5, 200, 501])
def test_a_killed_run_goes_on_to_the_same_tables(kept: int, tmp_path: Path) -> None:
    whole = build_names(MOLECULES, tmp_path / "whole.tsv", 1, namer=count_carbons)
    torn = whole.path.read_bytes()[:kept]
    failed = [
        line for line in whole.failures_path.read_bytes().splitlines(keepends=True) if line.split(b"\t")[1] in torn
    ]
    (tmp_path / "torn.tsv").write_bytes(torn)
    (tmp_path / "torn.failed.tsv").write_bytes(b"".join(failed))
    resumed = build_names(MOLECULES, tmp_path / "torn.tsv", 2, namer=count_carbons)
    assert resumed.path.read_bytes() == whole.path.read_bytes()
    assert resumed.failures_path.read_bytes() == whole.failures_path.read_bytes()
    assert (resumed.named, resumed.failed) == (whole.named, whole.failed)
    again = build_names(MOLECULES, resumed.path, 1, namer=refuse)
    assert (again.named, again.failed, again.skipped) == (35, 5, 40)


def test_a_molecule_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    summary = build_names(MOLECULES[:5], tmp_path / "names.tsv", 1, namer=hang_on_three, timeout_s=0.2)
    assert read(summary.failures_path)[1:] == [["k3", "CCC", "no name within 0.2 s"]]
    assert summary.named == 4


def test_of_equal_keys_the_first_counts(tmp_path: Path) -> None:
    summary = build_names([("a", "C"), ("b", "CC"), ("a", "CCC")], tmp_path / "names.tsv", 1, namer=count_carbons)
    assert [row[1] for row in read(summary.path)[1:]] == ["C", "CC"]


def test_refusals_say_what_and_where(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one worker, not 0"):
        build_names(MOLECULES, tmp_path / "names.tsv", 0, namer=refuse)
    with pytest.raises(unitlm.errors.InputError, match=r"absent/names\.tsv: cannot be written"):
        build_names(MOLECULES, tmp_path / "absent" / "names.tsv", 1, namer=refuse)
    (tmp_path / "other.tsv").write_text("CID\tSMILES\tdescription\n1\tC\tgas\n")
    with pytest.raises(InputError, match=r"other\.tsv, line 1: not a table of"):
        build_names(MOLECULES, tmp_path / "other.tsv", 1, namer=refuse)
    assert (tmp_path / "other.tsv").read_text() == "CID\tSMILES\tdescription\n1\tC\tgas\n"
    with (tmp_path / "held.tsv").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(unitlm.errors.InputError, match=r"held\.tsv: another run is writing to it"):
            build_names(MOLECULES, tmp_path / "held.tsv", 1, namer=refuse)


def test_molecules_are_read_without_descriptions(tmp_path: Path) -> None:
    (tmp_path / "table.tsv").write_text("SMILES\tCID\nC/C=C\\\\C\t7\nCC\t\n")
    assert read_molecules(tmp_path / "table.tsv") == [("7", "C/C=C\\C"), ("row-3", "CC")]


def test_the_command_names_by_openclaturas_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, out = tmp_path / "table.tsv", tmp_path / "names.tsv"
    table.write_text("CID\tSMILES\n1\tCC(=O)OC1=CC=CC=C1C(=O)O\n2\t[Cd+2]\n3\tC[C@@H](C(=O)O)N\n")
    assert run(["data", "names", str(table), str(out)]) == 0
    assert [row[2:] for row in read(out)[1:]] == [
        ["2-(acetyloxy)benzoic acid", "confirmed"],
        ["(2S)-2-aminopropanoic acid", "confirmed"],
    ]
    [failure] = read(tmp_path / "names.failed.tsv")[1:]
    assert failure[:2] == ["2", "[Cd+2]"]
    assert "2 names" in capsys.readouterr().out
