"""Rows of scripts that lie beside their own package and know nothing of this one.

Such a script writes, as a JSON list or one object a line, the keys that say how it stands beside a peer: name, peer,
size, ratio_min, ratio_median, ratio_max, and it may write target, met, versions; ours and theirs, units of work a
second; same_rows, the share of results that are equal; note. What else a row holds is filled in from these.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from bench.rows import Row

_NEEDED = ("name", "peer", "size", "ratio_min", "ratio_median", "ratio_max")
_MULTIPLES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}


def read_loose_rows(path: Path, subject: str) -> list[Row]:
    """Read rows, whole or loose; the names of loose ones get `subject` in front.

    Raises:
        ValueError: the file holds something else.
        OSError: it cannot be read.
    """
    text = path.read_text(encoding="utf-8")
    values: Any = json.loads(text) if text.lstrip().startswith("[") else list(map(json.loads, text.splitlines()))
    if not all(isinstance(value, dict) for value in values):
        raise ValueError(f"{path}: not rows")
    return [Row.parse(value) if "job" in value else _fill_row(value, subject) for value in values]


def _fill_row(value: dict[str, Any], subject: str) -> Row:
    missing = [key for key in _NEEDED if key not in value]
    if missing:
        raise ValueError(f"row {value.get('name')}: without {', '.join(missing)}")
    job = _slug(f"{subject} {value['name']}")
    size, unit = split_size(value["size"])
    target, same = value.get("target"), value.get("same_rows")
    notes = [str(value["note"])] if value.get("note") else []
    notes += [] if same in (None, 1) else [f"{same:.0%} of the rows are the same"]
    ours, theirs = (None if value.get(side) is None else 1 / value[side] for side in ("ours", "theirs"))
    return Row(
        name=_slug(f"{job} {value['size']}"),
        job=job,
        what=str(value["name"]),
        peer=str(value["peer"]),
        size=size,
        unit=unit,
        per="token",
        target=target,
        seconds_min=ours,
        seconds_median=ours,
        seconds_max=ours,
        peer_seconds_median=theirs,
        ratio_min=value["ratio_min"],
        ratio_median=value["ratio_median"],
        ratio_max=value["ratio_max"],
        met=value.get("met", None if target is None else value["ratio_median"] >= target),
        equal=None if same is None else same == 1,
        note=", ".join(notes),
        versions={str(name): str(version) for name, version in value.get("versions", {}).items()},
    )


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def split_size(size: object) -> tuple[float, str]:
    """The number that a size begins with, and the words after it: "41.6 M parameters" is 41.6e6 and "parameters"."""
    if isinstance(size, int | float):
        return float(size), ""
    found = re.match(r"\s*([\d.,]*\d)\s*([kMG]?)\b\s*(.*)", str(size))
    if not found:
        return 1.0, str(size)
    number = float(found[1].replace(",", ""))
    return number * _MULTIPLES[found[2]], found[3].strip()
