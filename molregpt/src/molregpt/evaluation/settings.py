"""What defines a run, and the folder that remembers it: a run is only ever continued with the same settings."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from molregpt.errors import InputError
from molregpt.records import Direction
from unitlm.files import write_text

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1
"""Version of a run folder's files."""
SETTINGS_FILE = "config.json"


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Everything that may change an answer of a run.

    Attributes:
        direction: Which way the questions go.
        test: Digest of the test rows (see `database.digest_pairs`).
        pool: Digest of the pool's rows.
        backend: The back end's identity.
        retrieval: The retrieval strategy's identity.
        shots: Examples shown with each question.
    """

    direction: Direction
    test: str
    pool: str
    backend: str
    retrieval: str
    shots: int


def open_run_folder(folder: Path, settings: RunSettings, *, begun: bool = True) -> None:
    """Create a run's folder, or check that the one that exists was made with the same settings.

    Args:
        folder: The folder.
        settings: What the run is made with.
        begun: Whether a row has been answered there. Before that the settings of a run may change: a first try often
            fails for a wrong one.

    Raises:
        InputError: The folder belongs to a run with other settings, holds other files' `config.json`, or cannot be
            written.
    """
    path = folder / SETTINGS_FILE
    wanted = {"format": FORMAT, **asdict(settings)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        write_settings(folder, settings)
        return
    except OSError as error:
        raise InputError(f"{folder}: cannot be used as a run folder ({error.strerror})") from None
    except ValueError:
        raise InputError(f"{path}: not the settings of a run; give another --out") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: not the settings of a run; give another --out")
    if not begun and found.keys() == wanted.keys():
        return
    for name, value in wanted.items():
        if found.get(name) != value:
            raise InputError(
                f"{path}: this run was begun with {name} {found.get(name)!r}, now it is {value!r}; give another --out"
            )


def write_settings(folder: Path, settings: RunSettings) -> None:
    """Write what a run is made with into its folder.

    Raises:
        InputError: The folder cannot be written.
    """
    text = json.dumps({"format": FORMAT, **asdict(settings)}, indent=2, ensure_ascii=False)
    write_text(folder / SETTINGS_FILE, text + "\n")
