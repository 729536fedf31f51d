"""Names while questions are answered: what is known, what is made, what takes too long."""

from __future__ import annotations

import io
import signal
import subprocess
import time
from pathlib import Path

import pytest

from molregpt.data.shipped import shipped_names, shipped_pairs
from molregpt.naming import Namer, NameStore, serve


@pytest.fixture
def namer() -> Namer:
    return Namer({"CCO": "grain alcohol"})


def test_known_names_are_given_and_others_are_made(namer: Namer) -> None:
    assert namer("CCO") == "grain alcohol"
    assert namer("CCCO") == "propan-1-ol"
    assert namer("C1CC") == ""  # no molecule
    assert namer("CC\nCCO") == ""  # not two questions in one
    assert namer("CCCCO") == "butan-1-ol"  # the process is still in step
    namer.close()


def test_names_are_kept_for_the_next_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cache" / "names.sqlite"
    first = Namer({}, NameStore(path))
    assert [first(smiles) for smiles in ("CCCO", "C1CC")] == ["propan-1-ol", ""]
    monkeypatch.setattr(first, "_timeout_s", 0.0)
    monkeypatch.setattr(first, "_warm", True)
    first._process.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]
    assert first("CCCCO") == ""
    first.close()
    second = Namer({}, NameStore(path))
    monkeypatch.setattr(second, "_ask", {"CCCCO": "butan-1-ol"}.__getitem__)  # nothing else is made again
    assert [second(smiles) for smiles in ("CCCO", "C1CC", "CCCCO")] == ["propan-1-ol", "", "butan-1-ol"]
    second.close()


@pytest.mark.parametrize("content", [b"no database" * 100, None])
def test_a_cache_that_cannot_be_used_is_done_without(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "names.sqlite"
    path.mkdir() if content is None else path.write_bytes(content)
    namer = Namer({}, NameStore(path))
    assert namer("CCCO") == "propan-1-ol"
    namer.close()


def test_what_takes_too_long_has_no_name_and_the_next_one_does(namer: Namer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert namer("CCCO") == "propan-1-ol"
    process = namer._process
    assert isinstance(process, subprocess.Popen)
    process.send_signal(signal.SIGSTOP)  # else it may answer before this thread has its turn to look
    monkeypatch.setattr(namer, "_timeout_s", 0.0)
    begun = time.monotonic()
    assert namer("CCCCO") == ""
    assert time.monotonic() - begun < 5.0
    monkeypatch.undo()
    assert namer("CCCCCO") == "pentan-1-ol"  # of a new process, which has time to start
    assert namer("CCCCO") == ""  # once given up, for good: the same answer every time
    namer.close()


def test_a_process_that_died_is_replaced(namer: Namer) -> None:
    process = namer._process
    assert isinstance(process, subprocess.Popen)
    process.kill()
    process.wait()
    assert namer("CCCO") == ""
    assert namer("CCCCO") == "butan-1-ol"
    namer.close()


def test_every_question_has_one_line() -> None:
    answers = io.StringIO()
    serve(io.StringIO("CCO\n\nC1CC\nCO\n"), answers)
    assert answers.getvalue().split("\n") == ["ethanol", "", "", "methanol", ""]


def test_the_shipped_pool_is_named() -> None:
    names, pairs = shipped_names(), shipped_pairs()
    assert all(pair.smiles in names for pair in pairs)  # known to have none, too: trying again takes long
    named = sum(map(bool, names.values()))
    assert named > 0.95 * len(pairs)
    assert names["CC(=O)OC1=CC=CC=C1"] == "phenyl acetate"
