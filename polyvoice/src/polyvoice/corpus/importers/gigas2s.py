"""GigaS2S: GigaSpeech with GigaST's Chinese translations (CC BY-NC 4.0) spoken by one synthetic voice.

Layout: `train.tsv` (id, src_text, tgt_text) and the unpacked archives of Chinese audio, files named by their ids. The
English side is GigaSpeech, cut into segments, files named by the same ids.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from polyvoice.corpus.importers.layout import Imported, check_found
from polyvoice.corpus.manifest import PairRow
from polyvoice.corpus.tables import read_table

if TYPE_CHECKING:
    from pathlib import Path

_AUDIO = {".wav", ".flac", ".opus", ".mp3"}
_LANGUAGE = re.compile(r"_(EN|ZH)$", re.IGNORECASE)
# GigaSpeech writes punctuation as words, and sounds that are no speech as tags.
_MARKS = {"<COMMA>": ",", "<PERIOD>": ".", "<QUESTIONMARK>": "?", "<EXCLAMATIONPOINT>": "!"}
_TAG = re.compile(r"<[A-Z]+>")


def import_gigas2s(table: Path, target_audio: Path, source_audio: Path) -> Imported:
    """Read GigaS2S, all of it as split `train`: its authors test on GigaST's test set.

    Args:
        table: `train.tsv`.
        target_audio: Folder with the Chinese audio, at any depth; `ID.wav` or `ID_ZH.wav`.
        source_audio: Folder with GigaSpeech's segments, at any depth; `ID.wav`, `ID.opus` or `ID_EN.wav`.

    Raises:
        InputError: The table cannot be read or has other columns, or no row has both audio files.
    """
    texts = read_table(table)
    key_at, source_at, target_at = (texts.require(name) for name in ("id", "src_text", "tgt_text"))
    sources, targets = _list_audio(source_audio), _list_audio(target_audio)
    rows = []
    missing = 0
    for line in texts.rows:
        key = line.cells[key_at]
        if key in sources and key in targets:
            english, chinese = _clean(line.cells[source_at]) or None, line.cells[target_at] or None
            rows.append(PairRow(key, sources[key], "en", english, targets[key], "zh", chinese, None, "train"))
        else:
            missing += 1
    return check_found(Imported(tuple(rows), missing), str(table))


def _list_audio(folder: Path) -> dict[str, Path]:
    found = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in _AUDIO)
    return {_LANGUAGE.sub("", path.stem): path for path in found}


def _clean(text: str) -> str:
    for mark, sign in _MARKS.items():
        text = text.replace(f" {mark}", sign)
    return " ".join(_TAG.sub("", text).split())
