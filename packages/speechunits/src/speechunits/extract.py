"""From a list of recordings to shards of units and codes: restartable, ordered, and not stopped by bad files.

A shard is made from a fixed range of the list and written in one step, so a run that is killed loses the shard at work
and nothing else: the same command goes on with the first shard that is missing. Several machines may share the work:
those of a Ray cluster (`engine`), or any others by each making every n-th shard.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from speechunits.audio import Waveform, read_audio
from speechunits.clustering import require_same_encoder
from speechunits.codecs.protocol import Codec
from speechunits.encoders.protocol import SpeechEncoder
from speechunits.engine import Engine, LocalEngine, Recipe
from speechunits.errors import InputError
from speechunits.extracted import (
    ROWS_A_SHARD,
    CodesInfo,
    Extracted,
    ExtractedInfo,
    Failure,
    ShardHeader,
    UnitsInfo,
    digest_rows,
    read_header,
    shard_path,
    write_shard,
)
from speechunits.files import hold_folder, write_atomically
from speechunits.kmeans import KMeans
from speechunits.listing import Listed
from speechunits.progress import show_progress

# What is held in memory at once: enough to fill batches of similar length. A longer recording is on its own.
_FILES_AT_ONCE = 32
_SECONDS_AT_ONCE = 600.0


@dataclass(frozen=True)
class UnitExtractor:
    """What turns waveforms into units.

    Attributes:
        encoder: gives the features.
        kmeans: gives the unit of each.

    Raises:
        InputError: the centroids belong to another encoder or layer.
    """

    encoder: SpeechEncoder
    kmeans: KMeans

    def __post_init__(self) -> None:
        require_same_encoder(self.kmeans, self.encoder)


@dataclass(frozen=True)
class ShardContent:
    """What the rows of one shard give.

    Attributes:
        found: in their order, without those that failed.
        failures: those that gave nothing.
    """

    found: tuple[Extracted, ...]
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class ModelNames:
    """What to extract with, by name: a recipe for machines that load the models themselves.

    Attributes:
        encoder: as `load_encoder` takes it; None extracts no units.
        layer: the encoder's.
        kmeans: file of the centroids.
        codec: as `load_codec` takes it; None extracts no codes.
        device: torch device.

    Raises:
        InputError: there is nothing to extract, or something lacks for units.
    """

    encoder: str | None = None
    layer: int | None = None
    kmeans: Path | None = None
    codec: str | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if (self.encoder, self.layer, self.kmeans).count(None) not in (0, 3):
            raise InputError("units need --encoder, --layer and --kmeans together")
        if self.encoder is None and self.codec is None:
            raise InputError("give --encoder, --layer and --kmeans for units, --codec for codes, or all of them")

    def load(self) -> tuple[UnitExtractor | None, Codec | None]:
        """Load the models.

        Raises:
            InputError: a name is wrong, or the models do not belong together.
        """
        from speechunits.clustering import load_centroids
        from speechunits.codecs.load import load_codec
        from speechunits.encoders.load import load_encoder

        units = None
        if self.encoder is not None and self.layer is not None and self.kmeans is not None:
            kmeans = load_centroids(self.kmeans)
            units = UnitExtractor(load_encoder(self.encoder, self.layer, self.device), kmeans)
        return units, None if self.codec is None else load_codec(self.codec, self.device)

    def prepare(self) -> Callable[[Sequence[Listed]], ShardContent]:
        """See `speechunits.engine.Recipe`."""
        units, codec = self.load()
        return partial(extract_shard, units=units, codec=codec)


@dataclass(frozen=True)
class Extraction:
    """What a folder holds after a run.

    Attributes:
        utterances: rows of all shards that are there.
        failures: rows of the list that gave nothing, in its order.
        shards: how many shards are there.
        missing: how many are not, because other workers make them.
    """

    utterances: int
    failures: tuple[Failure, ...]
    shards: int
    missing: int


def extract(
    rows: Sequence[Listed],
    folder: Path,
    *,
    units: UnitExtractor | None = None,
    codec: Codec | None = None,
    rows_a_shard: int = ROWS_A_SHARD,
    worker: int = 0,
    workers: int = 1,
    engine: Engine | None = None,
    recipe: Recipe[Sequence[Listed], ShardContent] | None = None,
) -> Extraction:
    """Extract units, codes or both from a list of recordings; shards that are there are left alone.

    A recording that cannot be read or is too short gives no row. It is named with the reason in failed.tsv (columns
    audio, reason), which is written anew whenever a shard is done.

    Args:
        rows: the recordings; the shards keep their order.
        folder: where the shards go; it is made if need be.
        units: None extracts no units.
        codec: None extracts no codes.
        rows_a_shard: recordings in a shard.
        worker: number of this process among `workers`, from 0.
        workers: how many processes share the work.
        engine: computes the shards, which are written here; this process by default.
        recipe: makes `units` and `codec` on the engine's machines, such as `ModelNames`; by default they are
            copied with every shard.

    Raises:
        InputError: the list is empty, nothing is to be extracted, a number is out of range, or the folder was begun
            with another list, shard size, encoder, k-means or codec, or another run is writing to it.
    """
    if not rows:
        raise InputError("there are no recordings to extract anything from")
    if rows_a_shard < 1 or not 0 <= worker < workers:
        raise InputError(f"worker {worker} of {workers} with {rows_a_shard} recordings a shard is impossible")
    engine = engine or LocalEngine()
    info = describe(units, codec)
    starts = range(0, len(rows), rows_a_shard)
    names = [[row.audio for row in rows[start : start + rows_a_shard]] for start in starts]
    empty = [ShardHeader(info, shard, len(starts), digest_rows(listed)) for shard, listed in enumerate(names)]
    done = {header.shard: header for header in _read_beginning(folder, empty)}
    folder.mkdir(parents=True, exist_ok=True)
    # Workers that share a list write different shards; two runs of all of it would write the same ones.
    with hold_folder(folder, shared=workers > 1):
        if workers == 1:  # what others have begun to write is theirs
            _remove_halves(folder, "failed.tsv")
        todo = [shard for shard in range(worker, len(starts), workers) if shard not in done]
        mine = sum(len(names[shard]) for shard in range(worker, len(starts), workers))
        with show_progress("extracting", mine, mine - sum(len(names[shard]) for shard in todo)) as count:
            # In this process the bar moves with every recording, elsewhere with every shard.
            here = isinstance(engine, LocalEngine)
            loaded = _Loaded(units, codec, count if here else None)
            work = loaded if here or recipe is None else recipe
            shards = (rows[shard * rows_a_shard : (shard + 1) * rows_a_shard] for shard in todo)
            for place, content in engine.map(work, shards):
                shard = todo[place]
                if not here:
                    count(len(names[shard]))
                _remove_halves(folder, shard_path(folder, shard).name)
                done[shard] = replace(empty[shard], failures=content.failures)
                write_shard(folder, done[shard], content.found)
                _write_failures(folder, [done[shard] for shard in sorted(done)])
    # From the shards once more: other workers have made some, or a run was killed right behind its last one.
    headers = _read_beginning(folder, empty)
    lost = _write_failures(folder, headers)
    listed = sum(len(names[header.shard]) for header in headers)
    return Extraction(listed - len(lost), lost, len(headers), len(starts) - len(headers))


def extract_shard(
    rows: Sequence[Listed],
    units: UnitExtractor | None,
    codec: Codec | None,
    count: Callable[[int], None] | None = None,
) -> ShardContent:
    """Extract the rows of one shard; the result depends on nothing but the arguments.

    Args:
        rows: its recordings.
        units: None extracts no units.
        codec: None extracts no codes.
        count: told of each row that is done.
    """
    found: list[Extracted] = []
    failures: list[Failure] = []
    for result in _extract_rows(rows, units, codec):
        if isinstance(result, Failure):
            failures.append(result)
        else:
            found.append(result)
        if count is not None:
            count(1)
    return ShardContent(tuple(found), tuple(failures))


@dataclass(frozen=True, eq=False)
class _Loaded:
    """The recipe of models that are loaded already."""

    units: UnitExtractor | None
    codec: Codec | None
    count: Callable[[int], None] | None

    def prepare(self) -> Callable[[Sequence[Listed]], ShardContent]:
        return partial(extract_shard, units=self.units, codec=self.codec, count=self.count)


def describe(units: UnitExtractor | None, codec: Codec | None) -> ExtractedInfo:
    """Return what extraction with these gives.

    Raises:
        InputError: both are None.
    """
    units_info = codes_info = None
    if units is not None:
        encoder, kmeans = units.encoder, units.kmeans
        units_info = UnitsInfo(encoder.identity, kmeans.identity, len(kmeans.centroids), encoder.frame_rate_hz)
    if codec is not None:
        codes_info = CodesInfo(codec.identity, codec.levels, codec.codebook_size, codec.frame_rate_hz)
    return ExtractedInfo(units_info, codes_info)


def _read_beginning(folder: Path, expected: Sequence[ShardHeader]) -> list[ShardHeader]:
    """Return the headers of the shards that are there, in order, after making sure that they belong to this work."""
    headers = [read_header(path) for path in sorted(folder.glob("[0-9]*.parquet"))]
    for header in headers:
        if header.info != expected[0].info:
            raise InputError(f"{folder}: was begun with {_difference(header.info, expected[0].info)}")
        if header.shards != len(expected) or header.listed != expected[header.shard].listed:
            raise InputError(f"{folder}: was begun with another list of recordings or another shard size")
    return headers


def _difference(before: ExtractedInfo, now: ExtractedInfo) -> str:
    """Say in a few words what differs first."""
    for name, old, new in (("units", before.units, now.units), ("codes", before.codes, now.codes)):
        if (old is None) != (new is None):
            return f"{name}, now without" if new is None else f"no {name}, now with"
        if old is not None and new is not None and old != new:
            values = asdict(new)
            field = next(field for field, value in asdict(old).items() if value != values[field])
            return f"{field} {asdict(old)[field]}, not {values[field]}"
    return "something else"


def _remove_halves(folder: Path, name: str) -> None:
    """Remove what a killed process left of a file (`write_atomically` hides it until it is whole)."""
    for path in folder.glob(f".{name}.*"):
        path.unlink(missing_ok=True)


def _extract_rows(
    rows: Sequence[Listed], units: UnitExtractor | None, codec: Codec | None
) -> Iterator[Extracted | Failure]:
    """Yield what each row gives, in order."""
    held: list[tuple[Listed, Waveform | Failure]] = []
    seconds = 0.0
    for row in rows:
        waveform = _read(row)
        held.append((row, waveform))
        seconds += waveform.duration_s if isinstance(waveform, Waveform) else 0.0
        if len(held) >= _FILES_AT_ONCE or seconds >= _SECONDS_AT_ONCE:
            yield from _extract_held(held, units, codec)
            held, seconds = [], 0.0
    yield from _extract_held(held, units, codec)


def _read(row: Listed) -> Waveform | Failure:
    try:
        return read_audio(row.path)
    except InputError as error:
        return Failure(row.audio, str(error).removeprefix(f"{row.path}: "))


def _extract_held(
    held: Sequence[tuple[Listed, Waveform | Failure]], units: UnitExtractor | None, codec: Codec | None
) -> list[Extracted | Failure]:
    readable = [(row, waveform) for row, waveform in held if isinstance(waveform, Waveform)]
    found = iter(_extract_together(readable, units, codec) if readable else [])
    return [waveform if isinstance(waveform, Failure) else next(found) for _, waveform in held]


def _extract_together(
    items: Sequence[tuple[Listed, Waveform]], units: UnitExtractor | None, codec: Codec | None
) -> list[Extracted | Failure]:
    waveforms = [waveform for _, waveform in items]
    try:
        features = units.encoder.encode(waveforms) if units else [None] * len(items)
        codes = codec.encode_batch(waveforms) if codec else [None] * len(items)
        return [
            Extracted(
                audio=row.audio,
                duration_s=waveform.duration_s,
                units=units.kmeans.assign(frames) if units and frames is not None else None,
                codes=its_codes,
            )
            for (row, waveform), frames, its_codes in zip(items, features, codes, strict=True)
        ]
    except InputError as error:
        if len(items) == 1:
            return [Failure(items[0][0].audio, str(error))]
        # One of them is at fault, which the message does not name: each on its own, then.
        return [result for item in items for result in _extract_together([item], units, codec)]


def _write_failures(folder: Path, headers: Sequence[ShardHeader]) -> tuple[Failure, ...]:
    """Write failed.tsv from what the shards say, so that it cannot disagree with them, and return its rows."""
    failures = tuple(failure for header in headers for failure in header.failures)
    if failures:
        lines = [f"{failure.audio}\t{' '.join(failure.reason.split())}\n" for failure in failures]
        write_atomically(folder / "failed.tsv", "".join(["audio\treason\n", *lines]).encode())
    return failures
