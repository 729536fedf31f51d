"""Rows of scripts that lie beside their own package and know nothing of this one.

Such a script writes the keys that say how it stands beside a peer: name, peer, size, ratio_min, ratio_median,
ratio_max, target, met, versions. What else a row holds is filled in from these.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from bench.rows import Row, read_rows

_NEEDED = ("name", "peer", "size", "ratio_min", "ratio_median", "ratio_max")


def read_loose_rows(path: Path, subject: str) -> list[Row]:
    """Read rows, whole or loose; the names of loose ones get `subject` in front unless it is there.

    Raises:
        ValueError: the file is not a JSON list of either kind.
        OSError: it cannot be read.
    """
    values: Any = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(values, list):
        raise ValueError(f"{path}: not a list of rows")
    if all(isinstance(value, dict) and "job" in value for value in values):
        return read_rows(path)
    return [_fill_row(value, subject) for value in values]


def _fill_row(value: dict[str, Any], subject: str) -> Row:
    missing = [key for key in _NEEDED if key not in value]
    if missing:
        raise ValueError(f"row {value.get('name')}: without {', '.join(missing)}")
    label = re.sub(r"[^a-z0-9.]+", "-", str(value["name"]).lower()).strip("-")
    name = label if label.startswith(subject) else f"{subject}-{label}"
    size, unit = split_size(value["size"])
    target = value.get("target")
    return Row(
        name=name,
        job=str(value.get("job", name)),
        what=str(value.get("what", value["name"])),
        peer=str(value["peer"]),
        size=size,
        unit=unit,
        per=str(value.get("per", "token")),
        target=target,
        ratio_min=value["ratio_min"],
        ratio_median=value["ratio_median"],
        ratio_max=value["ratio_max"],
        met=value.get("met", None if target is None else value["ratio_median"] >= target),
        equal=value.get("equal"),
        clock=str(value.get("clock", "wall")),
        note=str(value.get("note", "")),
        versions=dict(value.get("versions", {})),
    )


def split_size(size: object) -> tuple[float, str]:
    """The number that a size begins with, and the words after it: "41.6 M parameters" is 41.6e6 and "parameters"."""
    if isinstance(size, int | float):
        return float(size), ""
    found = re.match(r"\s*([\d.,]*\d)\s*([kMG]?)\b\s*(.*)", str(size))
    if not found:
        return 1.0, str(size)
    number = float(found[1].replace(",", ""))
    return number * {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}[found[2]], found[3].strip()
