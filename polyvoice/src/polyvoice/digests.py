"""Digests of files: what a folder holds, whatever it is called."""

from __future__ import annotations

import hashlib
from pathlib import Path


def digest_files(root: Path) -> str:
    """A digest of a file, or of all files of a folder by their paths in it; empty where there is none."""
    files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            digest.update(str(path.relative_to(root)).encode() + hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest() if files else ""
