"""A translation memory: sentences with their translations, found by the letters that they share.

A model of a few million values knows few words and fewer turns of phrase. What it was trained on it can be shown again:
the sentences nearest to the one in question, with their translations, stand as examples before it, and much of the
answer can be taken from them ("Neural Fuzzy Repair", Bulté and Tezcan, ACL 2019).

How near two sentences are is the cosine of what they are made of: sequences of one to three characters, rare ones
weighing more. That needs no words, which Chinese does not mark, and forgives a character that was misheard.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from polyvoice.errors import InputError
from polyvoice.spoken import SpokenPair
from polyvoice.tasks import Direction
from unitlm.files import replacing

FILE = "memory.parquet"

_COLUMNS = ("source_lang", "source_text", "target_lang", "target_text")
_LONGEST = 3
_CODE_BITS = 21  # of a code point, so that three fit into one number
_ENTRIES_AT_ONCE = 1 << 24  # similarities in memory
# What so many sentences have says nothing, and comparing all of them by it would take most of the time.
_COMMON, _FEW = 0.1, 1_000


@dataclass(frozen=True, slots=True)
class Recalled:
    """A sentence with its translation, and how near it is to the one in question, 0 to 1."""

    source: str
    target: str
    similarity: float


class TranslationMemory:
    """Sentences with their translations, each in both directions."""

    def __init__(self, rows: Iterable[tuple[Direction, str, str]]) -> None:
        """Keep each pair of sentences once: its languages, what is said in the first, and in the second."""
        self._couples: dict[tuple[str, str], _Couple] = {}
        found: dict[tuple[str, str], dict[tuple[str, str], None]] = {}
        for way, source, target in rows:
            languages, texts = (way.source, way.target), (source, target)
            if languages[::-1] in found:
                languages, texts = languages[::-1], texts[::-1]
            found.setdefault(languages, {})[texts] = None
        for languages, pairs in found.items():
            self._couples[languages] = _Couple(tuple(pairs))

    @classmethod
    def of(cls, pairs: Iterable[SpokenPair]) -> TranslationMemory:
        """Of the pairs that have text on both sides."""
        return cls(
            (Direction(pair.source.language, pair.target.language), pair.source.text, pair.target.text)
            for pair in pairs
            if pair.source.text and pair.target.text
        )

    @classmethod
    def load(cls, path: Path) -> TranslationMemory:
        """Read what `save` wrote.

        Raises:
            InputError: the file is not a memory, or damaged.
        """
        try:
            table = pq.read_table(path, columns=list(_COLUMNS), page_checksum_verification=True)
            table = table.cast(pa.schema([pa.field(name, pa.string(), nullable=False) for name in _COLUMNS]))
            source_langs, sources, target_langs, targets = (table.column(name).to_pylist() for name in _COLUMNS)
            ways = map(Direction, source_langs, target_langs)
            return cls(zip(ways, sources, targets, strict=True))
        # Beside what the reader says: damaged columns hold other things, or are of other lengths.
        except (OSError, pa.ArrowException, ValueError, TypeError, AttributeError, LookupError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"{path}: not a translation memory ({reason})") from error

    def save(self, path: Path) -> None:
        """Write all pairs as a Parquet file, atomically."""
        rows = list(self)
        values = [
            [way.source for way, *_ in rows],
            [source for _, source, _ in rows],
            [way.target for way, *_ in rows],
            [target for *_, target in rows],
        ]
        table = pa.table(dict(zip(_COLUMNS, [pa.array(column, pa.string()) for column in values], strict=True)))
        with replacing(path) as temporary:
            pq.write_table(table, temporary, compression="zstd", compression_level=19, write_page_checksum=True)

    def __len__(self) -> int:
        """How many pairs of sentences there are."""
        return sum(len(couple.pairs) for couple in self._couples.values())

    def __iter__(self) -> Iterator[tuple[Direction, str, str]]:
        """All pairs, as they were given."""
        for languages, couple in self._couples.items():
            for source, target in couple.pairs:
                yield Direction(*languages), source, target

    def prepare(self) -> None:
        """Make all indexes now, so that the first sentence is found as fast as the others."""
        for couple in self._couples.values():
            _ = couple.sources, couple.targets

    def recall(self, text: str, way: Direction, count: int) -> list[Recalled]:
        """The sentences nearest to one in the source language, the nearest first; none that shares nothing with it."""
        [found] = self.recall_all([text], way, count, itself=True)
        return found

    def recall_all(
        self, texts: Sequence[str], way: Direction, count: int, *, itself: bool = False
    ) -> Iterator[list[Recalled]]:
        """The same for many sentences, one after the other.

        Args:
            texts: in the source language.
            way: from which language into which.
            count: the most that are recalled for each.
            itself: whether a sentence that says exactly the same may be; in training it would be the answer.
        """
        couple, turned = self._couples.get((way.source, way.target)), False
        if couple is None:
            couple, turned = self._couples.get((way.target, way.source)), True
        if couple is None or not count:
            yield from ([] for _ in texts)
            return
        index = couple.targets if turned else couple.sources
        some = max(1, _ENTRIES_AT_ONCE // len(couple.pairs))
        for start in range(0, len(texts), some):
            for found in index.search(texts[start : start + some], count, itself=itself):
                sides = ((couple.pairs[row], similarity) for row, similarity in found)
                yield [Recalled(*(side[::-1] if turned else side), near) for side, near in sides]


class _Couple:
    """All pairs of two languages, and an index of each side, made when it is first asked."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.pairs = pairs

    @cached_property
    def sources(self) -> _Index:
        return _Index([source for source, _ in self.pairs])

    @cached_property
    def targets(self) -> _Index:
        return _Index([target for _, target in self.pairs])


class _Index:
    """Sentences by their sequences of characters."""

    def __init__(self, texts: Sequence[str]) -> None:
        folded = [_fold(text) for text in texts]
        self._rows: dict[str, list[int]] = {}
        for row, text in enumerate(folded):  # one sentence may have several translations
            self._rows.setdefault(text, []).append(row)
        rows, keys = _list_ngrams(folded)
        self._keys, columns = np.unique(keys, return_inverse=True)
        counts = csr_matrix(
            (np.ones(len(keys), np.float32), (rows, columns)), shape=(len(texts), len(self._keys)), dtype=np.float32
        )
        counts.sum_duplicates()
        seen = np.bincount(counts.indices, minlength=len(self._keys))
        self._weights = np.sqrt(np.log(max(len(texts), 2) / np.maximum(seen, 1))).astype(np.float32)
        self._weights[seen > max(_FEW, _COMMON * len(texts))] = 0.0
        self._table = self._weigh(counts).T.tocsr()  # [N-grams, sentences]

    def search(self, texts: Sequence[str], count: int, *, itself: bool) -> Iterator[list[tuple[int, float]]]:
        """The nearest sentences' rows, and how near they are, of each text."""
        folded = [_fold(text) for text in texts]
        rows, keys = _list_ngrams(folded)
        columns = np.searchsorted(self._keys, keys)
        known = np.flatnonzero(self._keys[np.minimum(columns, len(self._keys) - 1)] == keys)
        shape = (len(texts), len(self._keys))
        counts = csr_matrix((np.ones(len(known), np.float32), (rows[known], columns[known])), shape=shape)
        counts.sum_duplicates()
        near = (self._weigh(counts) @ self._table).toarray()  # [texts, sentences]
        for text, own in zip(folded, near, strict=True):
            if not itself:
                own[self._rows.get(text, [])] = 0.0
            most = min(count, len(own))
            best = np.argpartition(-own, most - 1)[:most]
            best = best[np.lexsort((best, -own[best]))]
            yield [(int(row), float(own[row])) for row in best if own[row] > 0.0]

    def _weigh(self, counts: csr_matrix) -> csr_matrix:
        """Rows of length 1: repeated sequences count little more, rare ones more."""
        weighed = counts.copy()
        weighed.data = (1.0 + np.log(weighed.data)) * self._weights[weighed.indices]
        weighed.eliminate_zeros()
        lengths = np.sqrt(np.asarray(weighed.multiply(weighed).sum(axis=1)).ravel())
        weighed.data /= np.repeat(np.maximum(lengths, 1e-9), np.diff(weighed.indptr)).astype(np.float32)
        return weighed


def _fold(text: str) -> str:
    return " ".join(text.lower().split())


def _list_ngrams(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sequences of one to three characters of texts with marks at both ends: the text of each, and its number."""
    marked = [f"\x02{text}\x03" for text in texts]
    codes = np.frombuffer("".join(marked).encode("utf-32-le"), np.uint32).astype(np.int64)
    owners = np.repeat(np.arange(len(marked)), [len(text) for text in marked])
    rows, keys = [], []
    key = np.zeros(len(codes), np.int64)
    for length in range(_LONGEST):
        count = max(len(codes) - length, 0)
        key = (key[:count] << _CODE_BITS) | codes[length:]
        whole = owners[:count] == owners[length:]
        rows.append(owners[:count][whole])
        keys.append(key[whole])
    return np.concatenate(rows), np.concatenate(keys)
