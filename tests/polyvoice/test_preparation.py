"""A run folder is prepared once, by one run at a time; the processes of one run wait for each other."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from filelock import FileLock

from polyvoice.errors import InputError
from polyvoice.stages.preparation import RECORD, prepare_once


def count_calls(out: Path, calls: list[Path]) -> None:
    prepare_once(out, {"data": "d", "directions": ("zh-en",)}, lambda: calls.append(out))


def test_it_is_prepared_once_and_for_one_purpose(tmp_path: Path) -> None:
    calls: list[Path] = []
    count_calls(tmp_path, calls)
    count_calls(tmp_path, calls)
    assert calls == [tmp_path]
    with pytest.raises(InputError, match=r"begun with directions = \['zh-en'\], not \('en-zh',\)"):
        prepare_once(tmp_path, {"data": "d", "directions": ("en-zh",)}, lambda: calls.append(tmp_path))


def test_what_was_given_when_it_was_prepared_cannot_be_left_out(tmp_path: Path) -> None:
    calls: list[Path] = []
    prepare_once(tmp_path, {"data": "d", "base": "b"}, lambda: calls.append(tmp_path))
    with pytest.raises(InputError, match="begun with base = 'b', not None"):
        prepare_once(tmp_path, {"data": "d"}, lambda: calls.append(tmp_path))
    assert calls == [tmp_path]


def test_a_killed_preparation_is_done_again(tmp_path: Path) -> None:
    def die() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_once(tmp_path, {}, die)
    calls: list[Path] = []
    count_calls(tmp_path, calls)
    assert calls == [tmp_path]


def test_another_run_is_refused_at_once(tmp_path: Path) -> None:
    calls: list[Path] = []
    with FileLock(tmp_path / ".prepare.lock"), pytest.raises(InputError, match="another process is preparing") as told:
        count_calls(tmp_path, calls)
    assert str(tmp_path) in str(told.value)
    assert not calls
    assert not (tmp_path / RECORD).exists()


def test_a_process_of_the_same_run_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    calls: list[Path] = []
    other = threading.Thread(target=count_calls, args=(tmp_path, calls))
    with FileLock(tmp_path / ".prepare.lock"):
        other.start()
        other.join(0.2)
        assert other.is_alive()
    other.join()
    assert calls == [tmp_path]
