"""CVSS (CC BY 4.0): speech into English from 21 languages; the sources are Common Voice 4, the targets synthetic.

Layout of an archive such as `cvss_t_es_en_v1.0`: `{train,dev,test}.tsv` without a header (Common Voice's file name,
normalized translation) and the folders `train`, `dev`, `test` with `NAME.mp3.wav`. In CVSS-C one voice says all
translations, in CVSS-T that of the source is carried over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvoice.corpus.importers.layout import Imported, check_found, plain_code, read_clips
from polyvoice.corpus.manifest import SPLITS, PairRow
from polyvoice.corpus.tables import read_table
from polyvoice.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def import_cvss(folder: Path, common_voice: Path, source: str, *, same_voice: bool) -> Imported:
    """Read one language of CVSS.

    Args:
        folder: The unpacked archive.
        common_voice: Common Voice 4 of the source language, with `validated.tsv` and `clips`.
        source: Its code, such as `es` or `zh`.
        same_voice: Both sides are of one voice (CVSS-T): the rows then name the speaker.

    Raises:
        InputError: A table is missing or wrong, or no row has both audio files.
    """
    clips = read_clips(common_voice / "validated.tsv")
    tables = {split: folder / f"{split}.tsv" for split in SPLITS if (folder / f"{split}.tsv").is_file()}
    if not tables:
        raise InputError(f"{folder}: none of {', '.join(f'{split}.tsv' for split in SPLITS)} is there")
    rows = []
    missing = 0
    for split, table in tables.items():
        for line in read_table(table, ("path", "translation")).rows:
            name, translation = line.cells
            key = name.removesuffix(".mp3")
            clip = clips.get(f"{key}.mp3")
            audio, target = common_voice / "clips" / f"{key}.mp3", folder / split / f"{key}.mp3.wav"
            if clip is None or not audio.is_file() or not target.is_file():
                missing += 1
                continue
            speaker = clip.speaker if same_voice else None
            code = plain_code(source)
            rows.append(
                PairRow(key, audio, code, clip.sentence or None, target, "en", translation or None, speaker, split)
            )
    return check_found(Imported(tuple(rows), missing), str(folder))
