"""Token shards: examples of a task, written once, read by every epoch.

A shard is a parquet file with one row an example: `key`, `ids` (int32; several codebooks step by step), `loss_mask`
(whether the id is a target) and, when the task has them, `conditions`. The file's metadata names what made it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from unitlm.errors import InputError
from unitlm.files import replacing
from unitlm.task import Compiled

FORMAT = "unitlm-shard-1"
WRITE_ROWS = 4096  # rows turned into a parquet row group at once: bounds the writer's memory

Source = TypeVar("Source")
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Example:
    """One document: a task filled in, with the part to be learned marked.

    Attributes:
        key: Where it comes from, for messages.
        ids: Token ids, int32 [S], or [S, K] with several codebooks.
        loss_mask: Whether each position's id is a target, bool [S].
        conditions: Condition ids, int32 [S], or None.
    """

    key: str
    ids: NDArray[np.int32]
    loss_mask: NDArray[np.bool_]
    conditions: NDArray[np.int32] | None = None

    @classmethod
    def of(cls, key: str, compiled: Compiled) -> Example:
        """A task line, filled in, as an example."""
        return cls(key, np.array(compiled.ids, np.int32), np.array(compiled.loss_mask, np.bool_))


@dataclass(frozen=True)
class ShardInfo:
    """What a shard's metadata says.

    Attributes:
        path: The file.
        rows: Number of examples N.
        longest: Steps of its longest example.
        codebooks: Codebooks K a step.
        conditions: Whether examples carry condition ids.
        provenance: What the writer said it made the shard from.
    """

    path: Path
    rows: int
    longest: int
    codebooks: int
    conditions: bool
    provenance: str


def write_shard(path: Path, examples: Iterable[Example], *, codebooks: int = 1, provenance: str = "") -> bool:
    """Write one shard, unless it is there already.

    Args:
        path: The file; it appears only when it is complete.
        examples: Any iterable; a generator is not started when the shard is finished already.
        codebooks: Codebooks K of every step.
        provenance: Names everything the examples depend on (inputs, settings, versions).

    Returns:
        Whether it was written now.

    Raises:
        InputError: An example is malformed, or a finished shard has another provenance.
    """
    if path.exists():
        finished = read_shard_info(path)
        if (finished.provenance, finished.codebooks) != (provenance, codebooks):
            raise InputError(f"{path}: made from other inputs or settings; remove it or write elsewhere")
        return False
    with replacing(path) as temporary:
        _write_table(temporary, path, examples, codebooks, provenance)
    return True


def deal(rows: int, most: int, seed: int | Sequence[int]) -> list[list[int]]:
    """Deal the rows of a table out to shards of at most `most`, each a fair sample of all of them.

    A table lies as it was put together, one corpus behind the other. Of shards that are cut from it as it lies each is
    of one kind, and training, which has some of them at hand at a time, forgets one kind over the next.

    Args:
        rows: How many there are.
        most: Rows of a shard; no two differ by more than one.
        seed: Another seed, another deal.

    Returns:
        The numbers of the rows of each shard.
    """
    order = np.random.default_rng(seed).permutation(rows).tolist()
    shards = -(-rows // most)
    return [order[rows * shard // shards : rows * (shard + 1) // shards] for shard in range(shards)]


def write_shards(
    folder: Path,
    sources: Sequence[Source],
    convert: Callable[[Source], Iterable[Example]],
    *,
    codebooks: int = 1,
    provenance: str = "",
) -> tuple[Path, ...]:
    """Write one shard for each source; finished shards are skipped, so a killed run continues where it stopped.

    Args:
        folder: Where `00000.parquet`, `00001.parquet`, ... go.
        sources: What each shard is made from, such as a slice of a table.
        convert: Makes a source's examples.
        codebooks: Codebooks K of every step.
        provenance: Names everything the examples depend on.

    Returns:
        The shards in the order of `sources`.

    Raises:
        InputError: As for `write_shard`, or the folder holds shards beyond the last source.
    """
    paths = tuple(folder / f"{index:05d}.parquet" for index in range(len(sources)))
    for path, source in zip(paths, sources, strict=True):
        write_shard(path, (example for example in convert(source)), codebooks=codebooks, provenance=provenance)
    for path in sorted(folder.glob("*.parquet")):
        if path not in paths:
            raise InputError(f"{path}: not one of the {len(paths)} shards written here; remove it")
    return paths


def read_shard_info(path: Path) -> ShardInfo:
    """Read a shard's metadata.

    Raises:
        InputError: The file is missing, cut short or not a token shard.
    """
    try:
        file = pq.ParquetFile(path)
        metadata, rows = file.metadata.metadata or {}, file.metadata.num_rows
        names = set(file.schema_arrow.names)
        file.close()
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable parquet file ({_first_line(error)})") from error
    if metadata.get(b"format") != FORMAT.encode() or not {"key", "ids", "loss_mask"} <= names:
        raise InputError(f"{path}: not a token shard of format {FORMAT}")
    try:
        return ShardInfo(
            path=path,
            rows=rows,
            longest=int(metadata[b"longest"]),
            codebooks=int(metadata[b"codebooks"]),
            conditions="conditions" in names,
            provenance=metadata[b"provenance"].decode(),
        )
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: its metadata is damaged ({_first_line(error)})") from error


class Shard:
    """One shard in memory: flat arrays and offsets, so that a million short examples are not a million objects."""

    def __init__(self, info: ShardInfo) -> None:
        """Read the file that `info` describes; InputError when it cannot be read."""
        try:
            table = pq.read_table(info.path, page_checksum_verification=True).combine_chunks()
            self._codebooks = info.codebooks
            self._keys = table.column("key")
            self._ids, offsets = _flatten(table, "ids", np.int32)
            self._offsets = offsets // info.codebooks
            self._loss_mask, targets = _flatten(table, "loss_mask", np.bool_)
            self._conditions = _flatten(table, "conditions", np.int32)[0] if info.conditions else None
        # Beside what the reader says: a damaged schema gives columns of other types.
        except (OSError, pa.ArrowException, ValueError, TypeError, AttributeError, LookupError) as error:
            raise InputError(f"{info.path}: not a readable parquet file ({_first_line(error)})") from error
        if len(table) != info.rows or not np.array_equal(targets, self._offsets):
            raise InputError(f"{info.path}: damaged: its columns do not fit together")

    def length(self, row: int) -> int:
        """Steps of the example in `row`."""
        return int(self._offsets[row + 1] - self._offsets[row])

    def __getitem__(self, row: int) -> Example:
        start, stop = int(self._offsets[row]), int(self._offsets[row + 1])
        ids = self._ids[start * self._codebooks : stop * self._codebooks]
        return Example(
            key=self._keys[row].as_py(),
            ids=ids if self._codebooks == 1 else ids.reshape(-1, self._codebooks),  # [S] or [S, K]
            loss_mask=self._loss_mask[start:stop],
            conditions=None if self._conditions is None else self._conditions[start:stop],
        )


class ShardSet:
    """The shards of a training set, in a fixed order."""

    def __init__(self, *places: Path) -> None:
        """Open shards.

        Args:
            places: Shard files, or folders of them; several make a mixture.

        Raises:
            InputError: A place holds no shards, or the shards do not belong together.
        """
        files: list[Path] = []
        for place in places:
            found = [place] if place.is_file() else sorted(place.glob("*.parquet"))
            if not found:
                raise InputError(f"{place}: no shards (*.parquet) here")
            files += found
        if not files:
            raise InputError("shards: no file or folder was given")
        self.infos = tuple(read_shard_info(path) for path in files)
        self.codebooks, self.conditions = self.infos[0].codebooks, self.infos[0].conditions
        for info in self.infos:
            if (info.codebooks, info.conditions) != (self.codebooks, self.conditions):
                raise InputError(f"{info.path}: other codebooks or conditions than {self.infos[0].path}")
        if not sum(info.rows for info in self.infos):
            raise InputError(f"{files[0].parent}: the shards hold no examples")

    def __len__(self) -> int:
        return len(self.infos)

    @property
    def digest(self) -> str:
        """A short hash of what the shards are, not of where they lie: another training set has another one."""
        facts = [(info.path.name, info.rows, info.longest, info.provenance) for info in self.infos]
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def load(self, shard: int) -> Shard:
        """Read one shard into memory."""
        return Shard(self.infos[shard])


def _write_table(temporary: Path, path: Path, examples: Iterable[Example], codebooks: int, provenance: str) -> None:
    """Stream `examples` to `temporary`; messages name `path`."""
    stream = iter(examples)
    first = next(stream, None)
    if first is None:
        raise InputError(f"{path}: no examples to write")
    with_conditions, longest, row = first.conditions is not None, 0, 0
    columns = [("key", pa.string()), ("ids", pa.list_(pa.int32())), ("loss_mask", pa.list_(pa.bool_()))]
    if with_conditions:
        columns.append(("conditions", pa.list_(pa.int32())))
    schema = pa.schema(columns)
    # With checksums, so that a bit that flips on the disk is never another token.
    options = {"compression": "zstd", "store_schema": True, "write_page_checksum": True}
    with pq.ParquetWriter(temporary, schema, **options) as writer:
        for group in _batches(first, stream):
            for example in group:
                _check(example, codebooks, with_conditions, f"{path}: example {row} ({example.key})")
                longest, row = max(longest, len(example.ids)), row + 1
            values = [
                pa.array([example.key for example in group], pa.string()),
                pa.array([example.ids.reshape(-1) for example in group], pa.list_(pa.int32())),
                pa.array([example.loss_mask for example in group], pa.list_(pa.bool_())),
            ]
            if with_conditions:
                values.append(pa.array([example.conditions for example in group], pa.list_(pa.int32())))
            writer.write_table(pa.table(values, schema=schema))
        writer.add_key_value_metadata(
            {"format": FORMAT, "codebooks": str(codebooks), "longest": str(longest), "provenance": provenance}
        )


def _check(example: Example, codebooks: int, with_conditions: bool, where: str) -> None:
    steps = len(example.ids)
    shape = (steps,) if codebooks == 1 else (steps, codebooks)
    if steps < 2:
        raise InputError(f"{where}: {steps} ids; an example has at least two")
    if example.ids.shape != shape:
        raise InputError(f"{where}: ids are {list(example.ids.shape)}, expected {list(shape)}")
    if example.loss_mask.shape != (steps,):
        raise InputError(f"{where}: the loss mask has {len(example.loss_mask)} entries for {steps} ids")
    if (example.conditions is not None) != with_conditions:
        raise InputError(f"{where}: all examples of a shard have conditions, or none has")
    if example.conditions is not None and example.conditions.shape != (steps,):
        raise InputError(f"{where}: {len(example.conditions)} conditions for {steps} ids")
    if codebooks == 1 and int(example.ids.min()) < 0:
        raise InputError(f"{where}: negative id {int(example.ids.min())}")


def _batches(first: Example, stream: Iterator[Example]) -> Iterator[list[Example]]:
    group = [first]
    for example in stream:
        if len(group) == WRITE_ROWS:
            yield group
            group = []
        group.append(example)
    yield group


def _flatten(table: pa.Table, name: str, kind: type[Scalar]) -> tuple[NDArray[Scalar], NDArray[np.int64]]:
    """A list column as one flat array and the N + 1 offsets of its rows."""
    column = table.column(name).combine_chunks()
    lists = column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks)
    offsets = lists.offsets.to_numpy(zero_copy_only=False).astype(np.int64)
    values = lists.values.to_numpy(zero_copy_only=False).astype(kind, copy=False)
    return values, offsets


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
