"""Joining short recordings of one speaker into long ones, as people speak who say more than a phrase.

A model that has only seen short examples fails on long ones; examples that are two or three others, one behind the
other, teach it what they look like ("Sentence Concatenation Approach to Data Augmentation for Neural Machine
Translation", Kondo et al., NAACL SRW 2021).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from polyvoice.corpus.copying import MANIFEST, name_file
from polyvoice.corpus.flac import write_flac
from polyvoice.corpus.manifest import PairRow, read_manifest, write_manifest
from polyvoice.corpus.splits import join_texts
from polyvoice.corpus.workers import claim_folder, open_pool, work_through
from polyvoice.errors import InputError
from speechunits.audio import Waveform, read_audio

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SETTINGS = "join.json"
_PARTS = (2, 2, 3)
# Of pauses between sentences that one says in a breath.
_PAUSE_S = (0.02, 0.25)
# Draws for each row that is wanted, as most of long recordings do not fit.
_DRAWS = 20


@dataclass(frozen=True, slots=True)
class _Joined:
    """A row to be written: which it is made of, and the pauses between them."""

    row: PairRow
    parts: tuple[PairRow, ...]
    pauses_s: tuple[float, ...]


def join_corpus(
    manifest: Path, out: Path, *, count: int, longest_s: float = 8.0, seed: int = 0, workers: int = 1
) -> int:
    """Write a manifest of training rows that are two or three of a manifest's, one behind the other.

    Rows are joined that have the same languages and the same speaker, who must be known. Both sides are joined; where
    one of them lacks the target's sound or a text, the joined row does.

    Args:
        manifest: The pair manifest; only its rows of split train with source audio are joined.
        out: Folder to write to: `pairs.tsv`, `join.json` and the folder `audio`.
        count: How many rows are wanted; there may be fewer, as no two are made of the same ones.
        longest_s: Neither side is longer.
        seed: Another seed, other rows.
        workers: Processes.

    Returns:
        How many rows there are.

    Raises:
        InputError: The manifest cannot be read, no two rows can be joined, a number is not positive, or the folder is
            of other settings.
        speechunits.errors.InputError: An audio file cannot be read.
    """
    if count < 1 or workers < 1 or not longest_s > 0:
        raise InputError(f"count, workers and the longest length are positive, not {count}, {workers}, {longest_s:g}")
    rows = [row for row in read_manifest(manifest) if row.split == "train" and row.source_audio and row.speaker]
    claim_folder(out, SETTINGS, {"count": count, "longest_s": longest_s, "seed": seed})
    planned = list(_plan(rows, out, count, longest_s, seed))
    if not planned:
        raise InputError(f"{manifest}: no two recordings of a speaker fit into {longest_s:g} s")
    with open_pool(workers) as pool:
        deque(work_through(pool, "joining", _write, planned), maxlen=0)
    write_manifest(out / MANIFEST, [joined.row for joined in planned])
    return len(planned)


def _plan(rows: Sequence[PairRow], out: Path, count: int, longest_s: float, seed: int) -> Iterator[_Joined]:
    chance = np.random.default_rng(seed)
    lengths = {path: _length_s(path) for row in rows for path in (row.source_audio, row.target_audio) if path}
    groups: dict[tuple[str | None, str, str], list[PairRow]] = {}
    for row in rows:
        groups.setdefault((row.speaker, row.source_lang, row.target_lang), []).append(row)
    drawn_from = [group for group in groups.values() for _ in group if len(group) > 1]
    seen: set[tuple[str, ...]] = set()
    for _ in range(_DRAWS * count if drawn_from else 0):
        group = drawn_from[int(chance.integers(len(drawn_from)))]
        most = min(_PARTS[int(chance.integers(len(_PARTS)))], len(group))
        parts = tuple(group[which] for which in chance.choice(len(group), most, replace=False))
        pauses_s = tuple(float(chance.uniform(*_PAUSE_S)) for _ in parts[1:])
        key = "+".join(part.id for part in parts)
        sides = ([part.source_audio for part in parts], [part.target_audio for part in parts])
        length_s = max(sum(lengths.get(path, 0.0) for path in side if path) for side in sides) + sum(pauses_s)
        if length_s > longest_s or tuple(sorted(key.split("+"))) in seen:
            continue
        seen.add(tuple(sorted(key.split("+"))))
        yield _Joined(_join(key, parts, out), parts, pauses_s)
        if len(seen) == count:
            return


def _join(key: str, parts: Sequence[PairRow], out: Path) -> PairRow:
    first = parts[0]
    return PairRow(
        id=key,
        source_audio=name_file(f"{key}.{first.source_lang}", out),
        source_lang=first.source_lang,
        source_text=_join_texts([part.source_text for part in parts]),
        target_audio=name_file(f"{key}.{first.target_lang}", out) if all(part.target_audio for part in parts) else None,
        target_lang=first.target_lang,
        target_text=_join_texts([part.target_text for part in parts]),
        speaker=first.speaker,
        split="train",
    )


def _join_texts(texts: Sequence[str | None]) -> str | None:
    known = [text for text in texts if text]
    return join_texts(known) if len(known) == len(texts) else None


def _length_s(path: Path) -> float:
    try:
        return float(soundfile.info(path).duration)
    except (OSError, soundfile.LibsndfileError):
        raise InputError(f"{path}: cannot be read as audio") from None


def _write(joined: _Joined) -> None:
    """Write both sides; runs in a worker."""
    row = joined.row
    sides = (
        (row.source_audio, [part.source_audio for part in joined.parts]),
        (row.target_audio, [part.target_audio for part in joined.parts]),
    )
    for path, parts in sides:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_flac(path, _concatenate([read_audio(part) for part in parts if part], joined.pauses_s))


def _concatenate(waveforms: Sequence[Waveform], pauses_s: Sequence[float]) -> Waveform:
    rate_hz = waveforms[0].rate_hz
    pieces = [waveforms[0].samples]
    for waveform, pause_s in zip(waveforms[1:], pauses_s, strict=True):
        if waveform.rate_hz != rate_hz:
            raise InputError(f"recordings of one speaker with {rate_hz} and {waveform.rate_hz} samples a second")
        pieces += [np.zeros(round(pause_s * rate_hz), np.float32), waveform.samples]
    return Waveform(np.concatenate(pieces), rate_hz)
