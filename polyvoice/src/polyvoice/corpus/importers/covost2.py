r"""CoVoST 2 (CC0): Common Voice 4 with translations as text, 21 languages into English and English into 15.

Layout: `covost_v2.SRC_TGT.tsv` (path, translation, split) as it is published, or the three files that its
get_covost_splits.py writes, `covost_v2.SRC_TGT.{train,dev,test}.tsv` (path, sentence, translation, client_id); beside
them a Common Voice folder with `validated.tsv` and `clips`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyvoice.corpus.importers.layout import Imported, check_found, plain_code, read_clips, read_escaped
from polyvoice.corpus.manifest import SPLITS, PairRow
from polyvoice.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Version 2 trains on what was added for it too, but neither develops nor tests on that.
_SPLIT_OF = {"train": "train", "train_covost": "train", "dev": "dev", "test": "test"}


def import_covost2(folder: Path, common_voice: Path, source: str, target: str) -> Imported:
    """Read one direction of CoVoST 2; the rows have target text and no target audio.

    Args:
        folder: Holds the `covost_v2` tables.
        common_voice: Common Voice's folder of the source language.
        source: Its code there, such as `es` or `zh-CN`.
        target: The code of the translation's language.

    Raises:
        InputError: Tables are missing or wrong, or no clip is there.
    """
    rows = []
    missing = 0
    for path, sentence, translation, speaker, split in _read(folder, common_voice, f"{source}_{target}"):
        audio = common_voice / "clips" / path
        if not audio.is_file():
            missing += 1
        elif sentence and translation:
            key = f"{path.removesuffix('.mp3')}.{plain_code(target)}"
            codes = plain_code(source), plain_code(target)
            rows.append(PairRow(key, audio, codes[0], sentence, None, codes[1], translation, speaker or None, split))
    return check_found(Imported(tuple(rows), missing), str(folder))


def _read(folder: Path, common_voice: Path, direction: str) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield path, sentence, translation, speaker and split."""
    prepared = {split: folder / f"covost_v2.{direction}.{split}.tsv" for split in SPLITS}
    published = folder / f"covost_v2.{direction}.tsv"
    if any(path.is_file() for path in prepared.values()):
        for split, path in prepared.items():
            if path.is_file():
                for name, sentence, translation, speaker in read_escaped(
                    path, ("path", "sentence", "translation", "client_id")
                ):
                    yield name, sentence, translation, speaker, split
    elif published.is_file():
        clips = read_clips(common_voice / "validated.tsv")
        for name, translation, split in read_escaped(published, ("path", "translation", "split")):
            if name in clips and split in _SPLIT_OF:
                yield name, clips[name].sentence, translation, clips[name].speaker, _SPLIT_OF[split]
    else:
        raise InputError(f"{folder}: neither {published.name} nor {prepared['train'].name} is there")
