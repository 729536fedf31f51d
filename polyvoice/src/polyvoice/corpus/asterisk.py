"""Prompts of the telephone exchange Asterisk: real recordings of one speaker in English and Spanish.

They come in Debian packages, as G.722 at 16 kHz with transcripts (CC BY-SA 3.0; English and Spanish: Allison Smith).
Sixty prompts are the test split of this project and of nothing else: see `assets/asterisk_test_ids.txt`.
"""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polyvoice.corpus.flac import write_flac
from polyvoice.corpus.manifest import PairRow, write_manifest
from polyvoice.corpus.merge import find_leaks
from polyvoice.corpus.splits import Shares, split_groups
from polyvoice.errors import InputError
from speechunits.audio import Waveform
from speechunits.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator

RATE_HZ = 16_000
MANIFEST = "pairs.tsv"
ATTRIBUTION = "ATTRIBUTION.txt"

_CREDIT = (
    "Asterisk core sounds 1.6.1, by their speakers (English and Spanish: Allison Smith, theivrvoice.com) and Digium, "
    "Inc. Licence: CC BY-SA 3.0. Changes: decoded from G.722 and written as FLAC.\n"
)
_NOTE_AT_END = re.compile(r"\s*[\[(<][^\])>]*[\])>]\s*$")
_BRACKETS = re.compile(r"[\[\]()<>]")


@dataclass(frozen=True, slots=True)
class _Prompts:
    """The prompts of one language: files by id, texts by id, and who speaks."""

    files: dict[str, Path]
    texts: dict[str, str]
    speaker: str


@dataclass(frozen=True, slots=True)
class AsteriskSummary:
    """What was written.

    Attributes:
        manifest: The pair manifest.
        rows: Its rows.
        test: Those of split `test`.
        dropped: Training prompts left out because a test prompt has the same words.
        hours: How long both sides last.
    """

    manifest: Path
    rows: int
    test: int
    dropped: int
    hours: float

    def __str__(self) -> str:
        return f"{self.manifest}: {self.rows} pairs, {self.test} test, {self.hours:.2f} h; {self.dropped} dropped"


def import_asterisk(unpacked: Path, out: Path, source: str = "en", target: str = "es") -> AsteriskSummary:
    """Decode the prompts that two languages share, and write a pair manifest.

    Prompts that are no speech (tones, silence, empty files) are left out. Of those that are not tested on, a twentieth
    is `dev`.

    Args:
        unpacked: Folder into which asterisk-core-sounds-XX-g722 and asterisk-core-sounds-XX were unpacked.
        out: Folder to write to: `pairs.tsv`, `ATTRIBUTION.txt` and the folder `audio`.
        source: Language of the source.
        target: Language of the target.

    Raises:
        InputError: PyAV is missing, a package is not there, or a file cannot be decoded.
    """
    sides = {language: _find_prompts(unpacked, language) for language in (source, target)}
    shared = [key for key in sorted(sides[source].files) if key in sides[target].files and _is_speech(key, sides)]
    if not shared:
        raise InputError(f"{unpacked}: {source} and {target} share no prompt")
    rows = _split_rows(shared, sides, out, source, target)
    leaking = {leak.train for leak in find_leaks(rows)}
    kept = [row for row in rows if row.id not in leaking]
    seconds = 0.0
    for row in kept:
        for language, audio in ((source, row.source_audio), (target, row.target_audio)):
            if audio is not None:
                waveform = read_g722(sides[language].files[row.id])
                audio.parent.mkdir(parents=True, exist_ok=True)
                write_flac(audio, waveform)
                seconds += waveform.duration_s
    write_atomically(out / ATTRIBUTION, _CREDIT.encode())
    write_manifest(out / MANIFEST, kept)
    tested = sum(row.split == "test" for row in kept)
    return AsteriskSummary(out / MANIFEST, len(kept), tested, len(leaking), seconds / 3600)


def read_test_ids() -> frozenset[str]:
    """The ids of the prompts that are tested on."""
    return frozenset(files("polyvoice.corpus.assets").joinpath("asterisk_test_ids.txt").read_text("utf-8").split())


def read_g722(path: Path) -> Waveform:
    """Decode a raw G.722 file of 64 kbit/s to 16 kHz.

    Raises:
        InputError: PyAV is missing, or the file cannot be read.
    """
    try:
        import av
    except ModuleNotFoundError:
        raise InputError("G.722 needs PyAV: pip install 'polyvoice-s2st[corpus]'") from None
    try:
        with av.open(str(path), format="g722") as container:
            pieces = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]  # int16
    except (OSError, av.FFmpegError) as error:
        raise InputError(f"{path}: cannot be decoded ({error})") from None
    if not pieces:
        raise InputError(f"{path}: holds no sound")
    return Waveform(np.concatenate(pieces).astype(np.float32) / np.float32(32_768), RATE_HZ)


def _split_rows(shared: list[str], sides: dict[str, _Prompts], out: Path, source: str, target: str) -> list[PairRow]:
    test_ids = read_test_ids()
    texts = [tuple((language, sides[language].texts.get(key, key)) for language in (source, target)) for key in shared]
    splits = split_groups(texts, Shares(dev=0.05, test=0))
    same = sides[source].speaker == sides[target].speaker
    return [
        PairRow(
            id=key,
            source_audio=out / "audio" / source / f"{key}.flac",
            source_lang=source,
            source_text=sides[source].texts.get(key),
            target_audio=out / "audio" / target / f"{key}.flac",
            target_lang=target,
            target_text=sides[target].texts.get(key),
            speaker=sides[source].speaker if same else None,
            split="test" if key in test_ids else split,
        )
        for key, split in zip(shared, splits, strict=True)
    ]


def _is_speech(key: str, sides: dict[str, _Prompts]) -> bool:
    # A transcript that is nothing but a note in brackets describes a sound; not every prompt has a transcript.
    texts = [side.texts[key] for side in sides.values() if key in side.texts]
    return not key.startswith("silence/") and all(texts)


def _find_prompts(unpacked: Path, language: str) -> _Prompts:
    package = f"asterisk-core-sounds-{language}"
    folder = next(iter(sorted(unpacked.glob(f"usr/share/asterisk/sounds/{language}_*"))), None)
    transcripts = unpacked / f"usr/share/doc/{package}/core-sounds-{language}.txt.gz"
    if folder is None or not transcripts.is_file():
        missing = f"{package}-g722" if folder is None else package
        raise InputError(f"{unpacked}: {missing} is not unpacked here; apt-get download {missing}, then dpkg-deb -x")
    found = {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in folder.rglob("*.g722")
        if path.stat().st_size
    }
    texts: dict[str, str] = {}
    for key, text in _read_transcripts(transcripts):
        texts.setdefault(key, text)  # one id stands there twice
    return _Prompts(found, texts, folder.name.rpartition("_")[2].lower())


def _read_transcripts(path: Path) -> Iterator[tuple[str, str]]:
    """Yield id and text; the text of a sound that is no speech is empty."""
    try:
        lines = gzip.decompress(path.read_bytes()).decode("utf-8").splitlines()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    for line in lines:
        key, colon, text = line.partition(":")
        if colon and text.strip() and not line.startswith(";"):
            # "plus [+]" says how a sign is read; "[temporales]" in the middle is said.
            yield key.strip(), " ".join(_BRACKETS.sub("", _NOTE_AT_END.sub("", text)).split())
