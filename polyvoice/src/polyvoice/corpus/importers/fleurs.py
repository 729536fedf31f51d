"""FLEURS (CC BY 4.0): the sentences of FLoRes-101 read aloud in 102 languages, by up to three people each.

Layout: a folder a language, such as `en_us`, with `{train,dev,test}.tsv` without a header (id of the sentence, file,
text as written, normalized text, characters, samples, gender) and `audio/{train,dev,test}/FILE`. Any two languages are
parallel by the ids of the sentences; the two sides are read by different people.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polyvoice.corpus.importers.layout import Imported, check_found, plain_code
from polyvoice.corpus.manifest import SPLITS, PairRow
from polyvoice.corpus.tables import read_table
from polyvoice.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

_COLUMNS = ("id", "file", "text", "normalized", "characters", "samples", "gender")


@dataclass(frozen=True, slots=True)
class _Reading:
    audio: Path
    text: str
    gender: str


def import_fleurs(folder: Path, source: str, target: str) -> Imported:
    """Pair two languages of FLEURS: each reading of the source with one of the target, of the same gender if any is.

    Args:
        folder: Holds the folders of the languages.
        source: One of them, such as `en_us`.
        target: Another, such as `cmn_hans_cn`.

    Raises:
        InputError: A folder or table is missing or wrong, or the languages share no sentence with audio.
    """
    rows = []
    missing = 0
    for split in SPLITS:
        sides = []
        for language in (source, target):
            readings, lost = _read(folder / language, split)
            sides.append(readings)
            missing += lost
        for sentence in [sentence for sentence in sides[0] if sentence in sides[1]]:
            for number, reading in enumerate(sides[0][sentence]):
                alike = [other for other in sides[1][sentence] if other.gender == reading.gender] or sides[1][sentence]
                said = alike[number % len(alike)]
                key = f"fleurs-{sentence}-{reading.audio.stem}.{plain_code(target)}"
                codes = plain_code(source), plain_code(target)
                rows.append(
                    PairRow(key, reading.audio, codes[0], reading.text, said.audio, codes[1], said.text, None, split)
                )
    return check_found(Imported(tuple(rows), missing), f"{folder} ({source}, {target})")


def _read(folder: Path, split: str) -> tuple[dict[str, list[_Reading]], int]:
    """The readings of each sentence, and how many have no file."""
    table = folder / f"{split}.tsv"
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    readings: dict[str, list[_Reading]] = defaultdict(list)
    missing = 0
    if table.is_file():
        for line in read_table(table, _COLUMNS).rows:
            sentence, file, text, _, _, _, gender = line.cells
            # The archive on the Hugging Face hub is unpacked to `audio`, some tools put its folders beside the tables.
            places = (folder / "audio" / split / file, folder / split / file)
            audio = next((place for place in places if place.is_file()), None)
            if audio is None:
                missing += 1
            else:
                readings[sentence].append(_Reading(audio, text, gender))
    return readings, missing
