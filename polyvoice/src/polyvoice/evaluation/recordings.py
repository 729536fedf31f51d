"""Speech that some system has made already, in files."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from polyvoice.errors import InputError

_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")


class Recordings:
    """Speech that some system has made already: a folder of files ID.wav (or .flac, .ogg, .mp3)."""

    def __init__(self, folder: Path) -> None:
        """Look into the folder.

        Raises:
            InputError: there is no such folder.
        """
        if not folder.is_dir():
            raise InputError(f"{folder}: not a folder of recordings")
        self._folder = folder
        # Not the path: it belongs on no page, and the same recordings may lie elsewhere tomorrow.
        digest = hashlib.sha256()
        for path in sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES):
            digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
        self.identity = f"recordings {folder.resolve().name} {digest.hexdigest()[:16]}"

    def find(self, key: str) -> Path | None:
        """The recording of a row; None where there is no file, or the file holds no sample: nothing was said.

        Raises:
            InputError: the file is not audio.
        """
        paths = (self._folder / f"{file_stem(key)}{suffix}" for suffix in _SUFFIXES)
        path = next((path for path in paths if path.is_file()), None)
        # A system that says nothing often leaves an empty file; to the scores it is an empty output.
        return path if path is not None and path.stat().st_size and _has_samples(path) else None


def file_stem(key: str) -> str:
    """A row's id as the name of a file: what file systems do not take is written as %XX."""
    name = re.sub(r'[\x00-\x1f<>:"/\\|?*%]', lambda found: f"%{ord(found[0]):02X}", key)
    return f"%2E{name[1:]}" if name.startswith(".") else name


def _has_samples(path: Path) -> bool:
    import soundfile

    try:
        return bool(soundfile.info(path).frames)
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path}: cannot be read as audio: {error.error_string}") from error
