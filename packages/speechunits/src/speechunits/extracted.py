"""What `speechunits extract` writes: a folder of parquet shards, one row an utterance, in the order of its list.

Shard 00003.parquet holds rows 3 n to 4 n - 1 of the list (n rows a shard) without those that failed. Everything that is
known about the shard lies in its own metadata, so a shard is either there and complete or has to be made again, and
no second file can disagree with it.

Letters in shapes: T unit frame or codec frame, K level.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from speechunits.codecs.protocol import Codes
from speechunits.errors import InputError
from speechunits.files import write_atomically
from speechunits.runs import Units

if TYPE_CHECKING:
    import pyarrow

_FORMAT = "speechunits.extracted.1"
_KEY = b"speechunits"
ROWS_A_SHARD = 256


@dataclass(frozen=True)
class UnitsInfo:
    """What the units of a folder are.

    Attributes:
        encoder: `SpeechEncoder.identity`.
        kmeans: `KMeans.identity`.
        clusters: how many units there are.
        frame_rate_hz: units per second, before deduplication.
    """

    encoder: str
    kmeans: str
    clusters: int
    frame_rate_hz: float


@dataclass(frozen=True)
class CodesInfo:
    """What the codes of a folder are: see the properties of `Codec` of the same names."""

    codec: str
    levels: int
    codebook_size: int
    frame_rate_hz: float


@dataclass(frozen=True)
class ExtractedInfo:
    """What a folder holds.

    Attributes:
        units: None when no units were extracted.
        codes: None when no codes were extracted.

    Raises:
        InputError: both are None.
    """

    units: UnitsInfo | None
    codes: CodesInfo | None

    def __post_init__(self) -> None:
        if self.units is None and self.codes is None:
            raise InputError("units or codes are extracted, or both")


@dataclass(frozen=True, eq=False, slots=True)
class Extracted:
    """One utterance.

    Attributes:
        audio: the path as the list wrote it.
        duration_s: length of the recording.
        units: one unit a frame `[T]` int64, not deduplicated; None when no units were extracted.
        codes: `[K, T]` int64; None when no codes were extracted.
    """

    audio: str
    duration_s: float
    units: Units | None
    codes: Codes | None


@dataclass(frozen=True)
class Failure:
    """A file of the list that gave nothing, and why."""

    audio: str
    reason: str


@dataclass(frozen=True)
class ShardHeader:
    """What a shard says about itself.

    Attributes:
        info: what all shards of the folder hold.
        shard: its number, from 0.
        shards: how many there will be in all.
        listed: digest of the list's rows that it covers (`digest_rows`).
        failures: those of its rows that gave nothing.
    """

    info: ExtractedInfo
    shard: int
    shards: int
    listed: str
    failures: tuple[Failure, ...] = ()


def digest_rows(audio: Sequence[str]) -> str:
    """Return a digest of rows of a list, which tells whether a shard was made from them."""
    return hashlib.sha256("\n".join(audio).encode()).hexdigest()


def shard_path(folder: Path, shard: int) -> Path:
    """Return where a shard lies."""
    return folder / f"{shard:05d}.parquet"


def read_extracted(folder: Path) -> tuple[ExtractedInfo, Iterator[Extracted]]:
    """Read a folder that `extract` or `write_extracted` has finished.

    Returns:
        What the folder holds, and the utterances in the order of the list; they are read shard by shard.

    Raises:
        InputError: the folder is missing, holds no shards, is not finished, or its shards do not belong together.
    """
    headers = [read_header(path) for path in sorted(folder.glob("[0-9]*.parquet"))]
    if not headers:
        raise InputError(f"{folder}: there is nothing extracted in it")
    first = headers[0]
    for header in headers:
        if header.info != first.info or header.shards != first.shards:
            raise InputError(f"{shard_path(folder, header.shard)}: does not belong to the other shards")
    if [header.shard for header in headers] != list(range(first.shards)):
        raise InputError(f"{folder}: {len(headers)} of {first.shards} shards are there; extract the rest first")
    return first.info, _read_shards(folder, first)


def write_extracted(
    folder: Path, info: ExtractedInfo, utterances: Sequence[Extracted], *, rows_a_shard: int = ROWS_A_SHARD
) -> None:
    """Write a whole folder at once; `extract` is for what is too long for that.

    Raises:
        InputError: there is no utterance, one does not fit `info`, or the folder holds shards already.
    """
    if not utterances:
        raise InputError(f"{folder}: there is no utterance to write")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.glob("[0-9]*.parquet")):
        raise InputError(f"{folder}: holds shards already")
    starts = range(0, len(utterances), rows_a_shard)
    for shard, start in enumerate(starts):
        rows = utterances[start : start + rows_a_shard]
        write_shard(folder, ShardHeader(info, shard, len(starts), digest_rows([row.audio for row in rows])), rows)


def write_shard(folder: Path, header: ShardHeader, utterances: Sequence[Extracted]) -> None:
    """Write one shard, atomically.

    Raises:
        InputError: an utterance does not fit the header.
    """
    import pyarrow
    import pyarrow.parquet

    for utterance in utterances:
        _require_fitting(utterance, header.info)
    numbers = pyarrow.list_(pyarrow.int32())
    schema = pyarrow.schema(
        [
            pyarrow.field("audio", pyarrow.string(), nullable=False),
            pyarrow.field("duration_s", pyarrow.float32(), nullable=False),
            pyarrow.field("units", numbers),
            pyarrow.field("codes", numbers),  # frame after frame, K codes a frame
        ],
        metadata={_KEY: json.dumps({"format": _FORMAT, **asdict(header)})},
    )
    columns = {
        "audio": [utterance.audio for utterance in utterances],
        "duration_s": [utterance.duration_s for utterance in utterances],
        "units": [None if row.units is None else row.units.astype(np.int32) for row in utterances],
        "codes": [None if row.codes is None else row.codes.T.astype(np.int32).reshape(-1) for row in utterances],
    }
    buffer = pyarrow.BufferOutputStream()
    # With checksums, so that a bit that flips on the disk is never another unit.
    table = pyarrow.table(columns, schema=schema)
    pyarrow.parquet.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    write_atomically(shard_path(folder, header.shard), buffer.getvalue().to_pybytes())


def read_header(path: Path) -> ShardHeader:
    """Read what a shard says about itself.

    Raises:
        InputError: the file is not such a shard.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.read_schema(path).metadata or {}
        return _parse_header(json.loads(metadata.get(_KEY, b"{}")))
    except (OSError, pyarrow.ArrowException, ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: not a shard of extracted units or codes") from error


def _parse_header(values: dict[str, Any]) -> ShardHeader:
    if values.pop("format") != _FORMAT:
        raise InputError("another format")
    units, codes = values["info"]["units"], values["info"]["codes"]
    info = ExtractedInfo(units and UnitsInfo(**units), codes and CodesInfo(**codes))
    failures = tuple(Failure(**failure) for failure in values["failures"])
    return ShardHeader(**{**values, "info": info, "failures": failures})


def _read_shards(folder: Path, first: ShardHeader) -> Iterator[Extracted]:
    import pyarrow
    import pyarrow.parquet

    for shard in range(first.shards):
        path = shard_path(folder, shard)
        try:
            with pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as file:
                missing = file.metadata.num_rows
                for batch in file.iter_batches(batch_size=ROWS_A_SHARD):
                    missing -= len(batch)
                    yield from _read_rows(batch, first.info)
                if missing:
                    raise InputError(f"{missing} rows are missing")
        except (OSError, pyarrow.ArrowException, ValueError, TypeError, AttributeError, LookupError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"{path}: damaged ({reason}); remove it and extract again") from error


def _read_rows(batch: "pyarrow.RecordBatch", info: ExtractedInfo) -> list[Extracted]:
    """The rows of a batch, each as `info` has it; ValueError and its like where they are not."""
    levels = info.codes.levels if info.codes else 1
    rows = []
    for audio, duration_s, units, codes in zip(*batch.columns, strict=True):
        flat = _to_numpy(codes)
        row = Extracted(
            audio=audio.as_py(),
            duration_s=duration_s.as_py(),
            units=_to_numpy(units),
            codes=None if flat is None else flat.reshape(-1, levels).T,  # [K, T]
        )
        _require_fitting(row, info)
        rows.append(row)
    return rows


def _to_numpy(numbers: "pyarrow.ListScalar") -> Units | None:
    return numbers.values.to_numpy().astype(np.int64) if numbers.is_valid else None


def _require_fitting(utterance: Extracted, info: ExtractedInfo) -> None:
    for name, values, wanted in (("units", utterance.units, info.units), ("codes", utterance.codes, info.codes)):
        if (values is None) != (wanted is None):
            raise InputError(f"{utterance.audio}: has {'no ' if values is None else ''}{name}, unlike the folder")
    if utterance.units is not None and info.units is not None:
        _require_within(utterance, "units", utterance.units, (utterance.units.size,), info.units.clusters)
    if utterance.codes is not None and info.codes is not None:
        shape = (info.codes.levels, *utterance.codes.shape[1:2])
        _require_within(utterance, "codes", utterance.codes, shape, info.codes.codebook_size)


def _require_within(utterance: Extracted, name: str, values: Units | Codes, shape: tuple[int, ...], size: int) -> None:
    if values.dtype.kind not in "iu" or values.shape != shape or len(shape) != (1 if name == "units" else 2):
        raise InputError(f"{utterance.audio}: {name} {values.dtype} {list(values.shape)} do not fit the folder")
    if values.size and (values.min() < 0 or values.max() >= size):
        raise InputError(f"{utterance.audio}: {name} lie in 0 to {size - 1}, not {values.min()} to {values.max()}")
