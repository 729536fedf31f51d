"""The folder of a run and the settings that it remembers: a run is only ever continued with the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from polyvoice.corpus.manifest import PairRow, format_row
from polyvoice.errors import InputError
from unitlm.files import read_json, write_json

if TYPE_CHECKING:
    from unitlm.files import Json

FORMAT = 1
"""Version of a run folder's files."""
CONFIG_FILE = "config.json"
TRANSLATIONS_FILE = "translations.jsonl"
ROWS_FILE = "rows.jsonl"
SCORES_FILE = "scores.json"
AUDIO_FOLDER = "audio"


def digest_manifest(rows: Sequence[PairRow], folder: Path) -> str:
    """A digest of all that is asked and compared; the place of the manifest does not count.

    Args:
        rows: the manifest's rows.
        folder: the manifest's folder.
    """
    lines = "\n".join(format_row(row, folder) for row in rows)
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def open_run_folder(out: Path, translating: Mapping[str, Json]) -> None:
    """Create a run's folder, or check that the one that exists was made by the same system from the same rows.

    Args:
        out: the folder.
        translating: everything that may change an output of the run.

    Raises:
        InputError: the folder belongs to another run or cannot be made.
    """
    try:
        (out / AUDIO_FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be made a run folder ({error.strerror})") from None
    path = out / CONFIG_FILE
    if not path.exists():
        write_json(path, {"format": FORMAT, "translating": dict(translating), "judging": {}})
        return
    config = read_json(path)
    begun = config.get("translating")
    if config.get("format") != FORMAT or not isinstance(begun, Mapping):
        raise InputError(f"{path}: not the settings of a run; give another folder")
    for name, value in translating.items():
        if begun.get(name) != value:
            raise InputError(
                f"{path}: this run was begun with {name} {begun.get(name)!r}, now it is {value!r}; give another folder"
            )


def are_other_judges(out: Path, judging: Mapping[str, Json]) -> bool:
    """Whether rows that were judged before were judged by others.

    Args:
        out: the run's folder.
        judging: everything that may change the judgement of a row.
    """
    before = read_json(out / CONFIG_FILE).get("judging")
    return bool(before) and before != judging


def remember_judges(out: Path, judging: Mapping[str, Json]) -> None:
    """Write down who judges a run; see `are_other_judges`."""
    config = read_json(out / CONFIG_FILE)
    if config.get("judging") != judging:
        write_json(out / CONFIG_FILE, {**config, "judging": dict(judging)})
