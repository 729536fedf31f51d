"""An index of captions: BM25 by bm25s, kept in one file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

import bm25s
import numpy as np
from numpy.typing import NDArray

from molindex.errors import InputError
from molindex.neighbours import Neighbour
from molindex.postings import Postings
from molindex.progress import track
from molindex.storage import Provenance, read_index, write_index
from molindex.strings import KeyLookup, PackedStrings
from molindex.tables import Columns, Rejected, RejectFile, Row, read_rows
from molindex.tokenization import Tokenizer, settings_of, tokenize

Formula = Literal["lucene", "okapi"]
_OKAPI_EPSILON = 0.25
# Every so manyth score is looked at first (the best of 1,000,000 are found in 2 ms instead of 16).
_SAMPLED = 16
# Among fewer captions all are scored sooner than the promising ones are found.
_FEWEST = 50_000


@dataclass(frozen=True, slots=True)
class Bm25Settings:
    """What the scores depend on.

    With f the count of a term in a caption, n the captions that hold it, N all captions, and L a caption's length over
    the mean length, a term scores idf * f / (f + k1 * (1 - b + b * L)), summed over the query's terms, repeats too.

    Attributes:
        tokenizer: See `tokenization`.
        formula: `lucene`: idf = ln(1 + (N - n + 0.5) / (n + 0.5)), always positive. `okapi`: as rank_bm25's BM25Okapi,
            idf = ln((N - n + 0.5) / (n + 0.5)), a negative one replaced by 0.25 times the mean idf, and the term
            multiplied by k1 + 1.
        k1: How fast repeats of a term saturate.
        b: How much a caption's length counts, 0 to 1.
    """

    tokenizer: Tokenizer = "chemistry"
    formula: Formula = "lucene"
    k1: float = 1.5
    b: float = 0.75

    def __post_init__(self) -> None:
        settings_of(self.tokenizer)
        if self.formula not in get_args(Formula):
            raise InputError(f"unknown BM25 formula {self.formula!r}; known are {', '.join(get_args(Formula))}")
        if self.k1 < 0 or not 0 <= self.b <= 1:
            raise InputError(f"BM25 wants k1 >= 0 and b in 0..1, got {self.k1} and {self.b}")

    def __str__(self) -> str:
        return f"{settings_of(self.tokenizer)}:{self.formula}:{self.k1!r}:{self.b!r}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of `str`.

        Raises:
            InputError: The text is not such settings, or of another revision of the tokenizer.
        """
        try:
            tokenizer, formula, k1, b = text.split(":")
            name = tokenizer.partition(".")[0]
            settings = cls(cast("Tokenizer", name), cast("Formula", formula), float(k1), float(b))
        except ValueError as error:
            raise InputError(f"not BM25 settings: {text!r}: {error}") from error
        if str(settings) != text:
            raise InputError(f"settings {text}, this molindex has {settings}; build the index again")
        return settings


class CaptionIndex:
    """Captions by key, searchable by words; made by `build`, `from_table` or `open`.

    Attributes:
        keys: The keys in row order.
        settings: Tokenizer and formula.
        provenance: Where the index comes from.
    """

    def __init__(self, lookup: KeyLookup, terms: PackedStrings, postings: Postings, provenance: Provenance) -> None:
        self.keys: Sequence[str] = lookup.keys
        self.settings = Bm25Settings.parse(provenance.settings)
        self.provenance = provenance
        self._lookup = lookup
        self._terms = terms
        self._postings = postings
        self._term_numbers = {term: number for number, term in enumerate(terms)}
        self._bm25 = bm25s.BM25(k1=self.settings.k1, b=self.settings.b, method="lucene", dtype="float64")
        self._bm25.nonoccurrence_array = None
        self._bm25.scores = {
            "data": postings.scores,
            "indices": postings.rows,
            "indptr": postings.starts,
            "num_docs": len(self.keys),
        }

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def build(
        cls,
        rows: Iterable[tuple[str, str]],
        tokenizer: Tokenizer = "chemistry",
        *,
        formula: Formula = "lucene",
        k1: float = 1.5,
        b: float = 0.75,
        progress: bool = False,
    ) -> CaptionIndex:
        """Index (key, caption) pairs.

        Args:
            rows: Keys need not be unique. A caption without any token is indexed and never found by a word.
            tokenizer: See `tokenization`.
            formula: See `Bm25Settings`, like k1 and b.
            k1: Repeats.
            b: Length.
            progress: Show a bar on stderr.
        """
        settings = Bm25Settings(tokenizer, formula, k1, b)
        numbered = (Row(number, key, "", text) for number, (key, text) in enumerate(rows, start=1))
        return _build(numbered, settings, progress, None)

    @classmethod
    def from_table(
        cls,
        path: Path,
        *,
        rejects: Path,
        columns: Columns | None = None,
        settings: Bm25Settings | None = None,
        progress: bool = False,
    ) -> CaptionIndex:
        """Index the captions of a table file (see `tables.read_rows`; the SMILES column is not read).

        Args:
            path: TSV, CSV or SDF, plain or gzipped.
            rejects: The side file that names each row left out and why; written only if there are any.
            columns: Defaults to CID and description.
            settings: Tokenizer and formula.
            progress: Show a bar on stderr.

        Raises:
            InputError: The file cannot be read, or no row of it can.
        """
        wanted = replace(columns or Columns(), smiles="")
        if not wanted.text:
            raise InputError("an index of captions needs a text column")
        with RejectFile(rejects) as side_file:
            index = _build(read_rows(path, wanted), settings or Bm25Settings(), progress, side_file.write)
        if not len(index):
            raise InputError(f"{path}: no caption in it ({index.provenance.rejected} rows rejected, see {rejects})")
        return index

    def save(self, path: Path) -> None:
        """Write the index to one file, atomically."""
        arrays: dict[str, NDArray[Any]] = {
            "key_text": self._lookup.keys.text,
            "key_ends": self._lookup.keys.ends,
            "key_order": self._lookup.order,
            "term_text": self._terms.text,
            "term_ends": self._terms.ends,
            "posting_scores": self._postings.scores,
            "posting_rows": self._postings.rows,
            "posting_starts": self._postings.starts,
        }
        write_index(path, self.provenance, arrays)

    @classmethod
    def open(cls, path: Path, expect: Bm25Settings | None = None, *, verify: bool = False) -> CaptionIndex:
        """Open an index file memory-mapped.

        Args:
            path: A file that `save` wrote.
            expect: Refuse an index of other settings.
            verify: Check every byte against the stored SHA-256 sums.

        Raises:
            InputError: The file is missing, cut off, damaged, or does not match.
        """
        provenance, arrays = read_index(path, "captions", verify=verify)
        if expect is not None and provenance.settings != str(expect):
            raise InputError(f"{path}: an index of {provenance.settings}, expected {expect}")
        lookup = KeyLookup(PackedStrings(arrays["key_text"], arrays["key_ends"]), arrays["key_order"])
        terms = PackedStrings(arrays["term_text"], arrays["term_ends"])
        postings = Postings(arrays["posting_scores"], arrays["posting_rows"], arrays["posting_starts"])
        return cls(lookup, terms, postings, provenance)

    def search(self, query: str, k: int, *, exclude: Collection[str] = ()) -> list[Neighbour]:
        """The k captions that score highest.

        Args:
            query: A caption, or any words.
            k: The most to return.
            exclude: Keys that may not be found, such as the query's own.

        Returns:
            Best first; equal scores in row order. Captions that share no word with the query score 0.0 and fill up the
            list to k.

        Raises:
            InputError: k is below 1.
        """
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}")
        terms, barred = self._read_terms(query), self._lookup.rows(exclude)
        candidates = self._postings.find_candidates(terms, len(self), k, barred) if len(self) >= _FEWEST else None
        if candidates is not None:
            scores = self._postings.score(terms, candidates)
        else:
            candidates, scores = np.arange(len(self)), self.scores(query)
            scores[barred] = -np.inf
        best = _find_best(scores, k)
        return [Neighbour(int(candidates[at]), self.keys[int(candidates[at])], float(scores[at])) for at in best]

    def search_batch(
        self, queries: Sequence[str], k: int, *, exclude: Sequence[Collection[str]] | None = None
    ) -> list[list[Neighbour]]:
        """As `search`, for B queries; `exclude` holds one collection of keys for each.

        Raises:
            InputError: k is below 1, or `exclude` has not B entries.
        """
        if exclude is not None and len(exclude) != len(queries):
            raise InputError(f"{len(queries)} queries but {len(exclude)} collections of keys to exclude")
        barred = exclude if exclude is not None else [()] * len(queries)
        return [self.search(query, k, exclude=keys) for query, keys in zip(queries, barred, strict=True)]

    def scores(self, query: str) -> NDArray[np.float64]:
        """The score of every caption, float64 [N]. Words that no caption holds count nothing."""
        terms = self._read_terms(query)
        if not terms:
            return np.zeros(len(self))
        return cast("NDArray[np.float64]", self._bm25.get_scores_from_ids(terms))

    def _read_terms(self, query: str) -> list[int]:
        known = [self._term_numbers.get(token) for token in tokenize(query, self.settings.tokenizer)]
        return [number for number in known if number is not None]


def _find_best(scores: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Rows of the k highest scores that are finite, best first; equal ones in row order, int64 [at most k]."""
    floor = -np.inf
    sample = scores[::_SAMPLED]
    if k < len(sample):
        # The k-th of some is not above the k-th of all: one comparison leaves few to sort among.
        floor = np.partition(sample, len(sample) - k)[len(sample) - k]
    near = np.flatnonzero(scores > floor if floor == -np.inf else scores >= floor)
    found = scores[near]
    if k < len(near):
        # Every row that reaches the k-th score, so that ties at the border are settled by row order.
        kept = np.flatnonzero(found >= np.partition(found, len(found) - k)[len(found) - k])
        near, found = near[kept], found[kept]
    return near[np.lexsort((near, -found))[:k]]


def _build(
    rows: Iterable[Row | Rejected],
    settings: Bm25Settings,
    progress: bool,
    on_reject: Callable[[Rejected], None] | None,
) -> CaptionIndex:
    source = hashlib.sha256()
    term_numbers: dict[str, int] = {}
    keys: list[str] = []
    documents: list[list[int]] = []
    rejected = 0
    for row in track(rows, "captions", shown=progress):
        if isinstance(row, Rejected):
            rejected += 1
            if on_reject is not None:
                on_reject(row)
            continue
        source.update(f"{row.key}\t{row.text}\n".encode())
        keys.append(row.key)
        tokens = tokenize(row.text, settings.tokenizer)
        documents.append([term_numbers.setdefault(token, len(term_numbers)) for token in tokens])
    provenance = Provenance(
        "captions", str(settings), f"bm25s {bm25s.__version__}", len(keys), rejected, source.hexdigest()
    )
    lookup = KeyLookup.sort(PackedStrings.pack(keys))
    return CaptionIndex(lookup, PackedStrings.pack(term_numbers), _score(documents, term_numbers, settings), provenance)


def _score(documents: list[list[int]], term_numbers: dict[str, int], settings: Bm25Settings) -> Postings:
    """bm25s's eager scores of N tokenized captions."""
    if not term_numbers:
        return Postings(np.empty(0), np.empty(0, np.int32), np.zeros(1, np.int64))
    bm25 = bm25s.BM25(k1=settings.k1, b=settings.b, method="lucene", dtype="float64")
    bm25.index((documents, term_numbers), create_empty_token=False, show_progress=False)
    starts = np.asarray(bm25.scores["indptr"], np.int64)
    scores = np.asarray(bm25.scores["data"], np.float64)
    if settings.formula == "okapi":
        # bm25s has no formula with rank_bm25's floor under negative idf. Each term's scores are a product with its idf,
        # so the other formula is reached by one factor a term; lucene's idf is never 0.
        counts = np.diff(starts)
        odds = (len(documents) - counts + 0.5) / (counts + 0.5)
        okapi = np.log(odds)
        okapi[okapi < 0] = _OKAPI_EPSILON * okapi.mean()
        scores = scores * np.repeat((settings.k1 + 1) * okapi / np.log1p(odds), counts)
    return Postings(scores, np.asarray(bm25.scores["indices"], np.int32), starts)
