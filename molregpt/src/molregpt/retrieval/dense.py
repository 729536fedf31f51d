"""Retrieval by sentence embeddings instead of BM25.

Needs the extra `molregpt[dense]`. The search is an exact inner product over normalised vectors in FAISS.
"""

from __future__ import annotations

import contextlib
import io
from functools import cache
from typing import TYPE_CHECKING, Protocol

import unitlm.errors
from molregpt.errors import InputError
from molregpt.records import Example
from molregpt.retrieval.base import NO_ROWS
from unitlm.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from molregpt.records import Pair


class Encoder(Protocol):
    """Turns texts into vectors; `sentence_transformers.SentenceTransformer` is one."""

    def encode(self, sentences: list[str]) -> NDArray[np.float32]:
        """One vector per text, shape [N, D]."""
        ...


@cache
def load_encoder(model: str) -> Encoder:
    """Load a sentence-transformers model, from its cache or from the Hugging Face hub.

    Raises:
        InputError: The extra is not installed, or the model cannot be loaded.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise InputError("strategy dense needs sentence embeddings: pip install 'molregpt[dense]'") from None
    try:
        encoder: Encoder = SentenceTransformer(model)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"sentence-transformers cannot load {model!r}: {reason}") from None
    return encoder


class DenseRetriever:
    """Finds descriptions by the cosine of their embeddings."""

    def __init__(self, pairs: Sequence[Pair], encoder: Encoder, *, model: str, cache: Path | None = None) -> None:
        """Embed the pool's descriptions, or read them from an earlier time.

        Args:
            pairs: The pool.
            encoder: Makes the vectors.
            model: The encoder's name: it is part of the identity and of the cache file's name.
            cache: Folder of this pool in the cache; None embeds anew each time.
        """
        import faiss

        self._pairs = pairs
        self._encoder = encoder
        self._model = model
        vectors = self._read_or_embed(cache)
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(vectors)

    @property
    def identity(self) -> str:
        """See `Retriever`."""
        return f"dense({self._model})"

    def retrieve(self, query: str, count: int, exclude: frozenset[int] = NO_ROWS) -> list[Example]:
        """See `Retriever`; the similarity is the cosine."""
        if not query.strip():
            raise InputError("the description is empty")
        wanted = min(count + len(exclude), len(self._pairs))
        cosines, rows = self._index.search(self._embed([query]), wanted)
        found = [(int(row), float(cosine)) for row, cosine in zip(rows[0], cosines[0], strict=True)]
        found.sort(key=lambda near: (-near[1], near[0]))
        return [Example(self._pairs[row], cosine) for row, cosine in found if row not in exclude][:count]

    def _embed(self, texts: list[str]) -> NDArray[np.float32]:
        import numpy as np

        vectors = np.ascontiguousarray(self._encoder.encode(texts), dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        normalised: NDArray[np.float32] = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
        return normalised

    def _read_or_embed(self, cache: Path | None) -> NDArray[np.float32]:
        import hashlib

        import numpy as np

        path = cache and cache / f"dense-{hashlib.sha256(self._model.encode()).hexdigest()[:16]}.npy"
        if path and path.is_file():
            with contextlib.suppress(OSError, ValueError):
                stored = np.load(path, allow_pickle=False)
                if stored.ndim == 2 and stored.dtype == np.float32 and len(stored) == len(self._pairs):
                    return np.asarray(stored, dtype=np.float32)
        vectors = self._embed([pair.caption for pair in self._pairs])
        if path:
            # A folder that cannot be written costs time at the next start, nothing else.
            buffer = io.BytesIO()
            np.save(buffer, vectors)
            with contextlib.suppress(unitlm.errors.InputError):
                write_bytes(path, buffer.getvalue())
        return vectors
