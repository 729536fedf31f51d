"""The engines of `speechunits extract` without a cluster: one and the same in both libraries, and told in one line."""

import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from speechunits.cli.main import run
from speechunits.engine import EngineOptions, LocalEngine
from speechunits.errors import InputError

ROOT = Path(__file__).parents[2] / "packages"


@dataclass(frozen=True)
class Counted:
    """Counts how often it is prepared."""

    prepared: list[int]

    def __hash__(self) -> int:
        return 0

    def prepare(self) -> Callable[[int], int]:
        self.prepared.append(1)
        return lambda number: number**2


def test_this_process_prepares_once_and_keeps_the_order() -> None:
    recipe = Counted([])
    with EngineOptions().open() as engine:
        assert isinstance(engine, LocalEngine)
        assert list(engine.map(recipe, iter([3, 1, 2]))) == [(0, 9), (1, 1), (2, 4)]
    assert recipe.prepared == [1]


def test_a_missing_ray_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "list.tsv").write_text("audio\na.wav\n")
    words = ["extract", str(tmp_path / "list.tsv"), "--out", str(tmp_path / "out"), "--codec", str(tmp_path)]
    monkeypatch.setattr("speechunits.extract.ModelNames.load", lambda _: (None, None))
    assert run([*words, "--engine", "ray"]) == 2
    assert capsys.readouterr().err == "speechunits: --engine ray needs Ray: pip install 'speechunits[ray]'\n"


def test_an_address_where_nobody_listens_is_told_at_once() -> None:
    pytest.importorskip("ray")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        options = EngineOptions(engine="ray", ray_address=address)
        with pytest.raises(InputError, match=f"^no Ray cluster at {address}: "), options.open():
            pass


@pytest.mark.parametrize("options", [{"task_cpus": 0.0}, {"task_gpus": -1.0}, {"task_retries": -1}])
def test_options_are_checked(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="task_cpus must be above 0"):
        EngineOptions(**options)  # type: ignore[arg-type]


def test_both_libraries_have_the_same_engines() -> None:
    """They stand alone, so the file is there twice."""
    ours, theirs = (
        [line for line in (ROOT / name / "src" / name / "engine.py").read_text().splitlines() if name not in line]
        for name in ("speechunits", "molindex")
    )
    assert ours == theirs
    assert len(ours) > 100
