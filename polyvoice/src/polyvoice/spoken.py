"""Pairs of utterances as the stages see them: text, units with run lengths, and codec codes of both sides.

They are put together from a pair manifest (who says what) and the folder of `speechunits extract` (how it sounds).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from polyvoice.errors import InputError
from speechunits.codecs.protocol import Codes
from speechunits.runs import Runs, deduplicate

if TYPE_CHECKING:
    from polyvoice.corpus.manifest import PairRow
    from speechunits.extracted import Extracted


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a pair.

    Attributes:
        language: such as `zh`.
        text: what is said; None in an unwritten language, or where nobody wrote it down.
        runs: units without repeats, `[S]`, with the frames that each lasts; None when there is no speech.
        codes: codec codes `[K, T]`; None when there is no speech, or none were extracted.
    """

    language: str
    text: str | None
    runs: Runs | None
    codes: Codes | None


@dataclass(frozen=True, eq=False)
class SpokenPair:
    """An utterance and its translation.

    Attributes:
        id: the row's id in the manifest; both directions of a pair share it.
        source: what is translated.
        target: its translation.
        speaker: who speaks both sides; None when not known.
    """

    id: str
    source: Side
    target: Side
    speaker: str | None


def reverse(pair: SpokenPair) -> SpokenPair:
    """The same pair in the other direction; `reverse(reverse(pair))` equals `pair`."""
    return replace(pair, source=pair.target, target=pair.source)


def load_pairs(manifest: Path, extracted: Path, split: str, *, with_codes: bool = True) -> list[SpokenPair]:
    """Put the pairs of one split together, in the manifest's order.

    A pair of which a file could not be extracted is left out, and how many these are is said on stderr.

    Args:
        manifest: a pair manifest; audio paths in it are relative to its folder.
        extracted: the folder of `speechunits extract`; every audio file of the split was in its list.
        split: `train`, `dev` or `test`.
        with_codes: whether codec codes are kept; they are most of the memory.

    Returns:
        The pairs; none when the split has no rows.

    Raises:
        InputError: an audio file was never extracted; all such files are counted.
        speechunits.errors.InputError: the folder cannot be read.
    """
    [pairs] = _load_splits(manifest, extracted, (split,), with_codes)
    return pairs


def _load_splits(manifest: Path, extracted: Path, splits: Sequence[str], with_codes: bool) -> list[list[SpokenPair]]:
    """The pairs of several splits, all put together in one reading of the extracted shards."""
    from polyvoice.corpus.manifest import read_manifest
    from speechunits.extracted import read_extracted

    rows = [row for row in read_manifest(manifest) if row.split in splits]
    wanted = {_key(audio) for row in rows for audio in _audio(row)}
    found: dict[str, Extracted] = {}
    failed: set[str] = set()
    if wanted:
        _, utterances = read_extracted(extracted)
        found = dict(_select(utterances, wanted, manifest.parent, with_codes))
        failed = {_key(manifest.parent / audio) for audio in _read_failures(extracted)}
    missing = sorted(wanted - found.keys() - failed)
    if missing:
        count = f"{len(missing)} of {len(wanted)} audio files of {manifest} were never extracted"
        raise InputError(f"{extracted}: {count}, such as {missing[0]}")
    whole = [row for row in rows if not any(_key(audio) in failed for audio in _audio(row))]
    if len(whole) < len(rows):
        lost = len(rows) - len(whole)
        print(f"{manifest}: {lost} of {len(rows)} pairs left out, as a file could not be extracted", file=sys.stderr)
    return [[_join(row, found) for row in whole if row.split == split] for split in splits]


def load_training_pairs(
    manifest: Path, extracted: Path, *, with_codes: bool = True
) -> tuple[list[SpokenPair], list[SpokenPair]]:
    """The splits train and dev; the second may be empty. See `load_pairs`.

    Raises:
        InputError: there is nothing to train on.
    """
    train, dev = _load_splits(manifest, extracted, ("train", "dev"), with_codes)
    if not train:
        raise InputError(f"{manifest}: no pair of split 'train'")
    return train, dev


def _audio(row: PairRow) -> tuple[Path, ...]:
    return tuple(audio for audio in (row.source_audio, row.target_audio) if audio is not None)


def _read_failures(extracted: Path) -> Iterator[str]:
    """Audio files that were in the list but could not be read or encoded, as the list wrote them."""
    from speechunits.extracted import read_header

    for path in sorted(extracted.glob("[0-9]*.parquet")):
        yield from (failure.audio for failure in read_header(path).failures)


def _select(
    utterances: Iterator[Extracted], wanted: set[str], folder: Path, with_codes: bool
) -> Iterator[tuple[str, Extracted]]:
    """Those that are wanted, by absolute path; a list beside the manifest names its files as the manifest does."""
    for utterance in utterances:
        key = _key(folder / utterance.audio)
        if key in wanted:
            yield key, utterance if with_codes else replace(utterance, codes=None)


def _join(row: PairRow, found: Mapping[str, Extracted]) -> SpokenPair:
    return SpokenPair(
        row.id,
        _side(row.source_lang, row.source_text, row.source_audio, found),
        _side(row.target_lang, row.target_text, row.target_audio, found),
        row.speaker,
    )


def _side(language: str, text: str | None, audio: Path | None, found: Mapping[str, Extracted]) -> Side:
    if audio is None:
        return Side(language, text, None, None)
    utterance = found[_key(audio)]
    runs = None if utterance.units is None else deduplicate(utterance.units)
    return Side(language, text, runs, utterance.codes)


def _key(audio: Path) -> str:
    # Not `resolve()`: a data set may hold links to files elsewhere, and is known by its own names.
    return os.path.normpath(os.path.abspath(audio))  # noqa: PTH100
