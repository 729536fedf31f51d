"""Token shards and packing: nothing lost, nothing mixed up, and a position that resumes exactly."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unitlm.data import Batch, DataPosition, Packer, Packing, read_ahead
from unitlm.errors import InputError
from unitlm.model import ABSENT
from unitlm.settings import parse_settings
from unitlm.shards import Example, ShardSet, deal, read_shard_info, write_shard, write_shards


def make_example(number: int, length: int, conditions: bool = False) -> Example:
    """An example whose ids tell which one it is and where in it they stand."""
    ids = np.arange(length, dtype=np.int32) + 100 * number
    return Example(
        key=f"e{number}",
        ids=ids,
        loss_mask=np.arange(length) >= length // 2,
        conditions=np.full(length, number % 5, np.int32) if conditions else None,
    )


def write_set(folder: Path, lengths: list[int], per_shard: int = 7, conditions: bool = False) -> ShardSet:
    numbers = [list(range(start, min(start + per_shard, len(lengths)))) for start in range(0, len(lengths), per_shard)]
    write_shards(folder, numbers, lambda part: (make_example(n, lengths[n], conditions) for n in part))
    return ShardSet(folder)


def batches(packer: Packer, position: DataPosition, epochs: int | None = None) -> Iterator[Batch]:
    return (layout.build() for layout, _ in packer.layouts(position, epochs=epochs))


def documents(batch: Batch) -> Iterator[tuple[list[int], list[int], list[float], list[int]]]:
    """Ids, targets, weights and positions of each packed document."""
    for row in range(len(batch.ids)):
        for segment in sorted(set(batch.segments[row].tolist()) - {ABSENT}):
            here = batch.segments[row] == segment
            yield tuple(part[row][here].tolist() for part in (batch.ids, batch.targets, batch.weights, batch.positions))


LENGTHS = [int(n) for n in np.random.default_rng(0).integers(2, 17, size=40)]


@pytest.mark.parametrize("shifted", [True, False])
def test_one_pass_holds_every_example_once(shifted: bool, tmp_path: Path) -> None:
    packer = Packer(write_set(tmp_path, LENGTHS), Packing(rows=3, length=20, shifted=shifted, waiting=4))
    seen = []
    for batch in batches(packer, DataPosition(seed=1), epochs=1):
        assert batch.ids.shape == (3, 20)
        for ids, targets, weights, positions in documents(batch):
            number = ids[0] // 100
            whole = make_example(number, LENGTHS[number])
            seen.append(number)
            start, stop = (1, -1) if shifted else (0, None)
            assert ids == whole.ids[:stop].tolist()
            assert targets == whole.ids[start:].tolist()
            assert weights == whole.loss_mask[start:].astype(float).tolist()
            assert positions == list(range(len(ids)))
        padding = batch.segments == ABSENT
        assert (batch.targets[padding] == ABSENT).all()
        assert (batch.weights[padding] == 0).all()
    assert sorted(seen) == list(range(len(LENGTHS)))


def test_documents_lie_side_by_side(tmp_path: Path) -> None:
    packer = Packer(write_set(tmp_path, LENGTHS), Packing(rows=2, length=30))
    batch = next(batches(packer, DataPosition(seed=0)))
    for row in batch.segments.tolist():
        used = [segment for segment in row if segment != ABSENT]
        assert row == used + [ABSENT] * (len(row) - len(used))
        assert all(after - before in (0, 1) for before, after in pairwise(used))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_resuming_at_any_batch_gives_the_same_batches(tmp_path_factory: pytest.TempPathFactory, data) -> None:  # type: ignore[no-untyped-def]
    lengths = data.draw(st.lists(st.integers(2, 13), min_size=1, max_size=30))
    rows, waiting, mixed = (data.draw(st.integers(1, bound)) for bound in (4, 5, 3))
    shards = write_set(tmp_path_factory.mktemp("shards"), lengths, per_shard=data.draw(st.integers(1, 9)))
    packing = Packing(rows=rows, length=14, waiting=waiting, mixed_shards=mixed)
    through = [
        (layout.build(), after) for layout, after in islice(Packer(shards, packing).layouts(DataPosition(5)), 12)
    ]
    stop = data.draw(st.integers(0, 10))
    # Through JSON, as a checkpoint does it.
    saved = parse_settings(DataPosition, json.loads(json.dumps(asdict(through[stop][1]))), "here")
    assert saved == through[stop][1]
    again = islice(Packer(ShardSet(shards.infos[0].path.parent), packing).layouts(saved), 11 - stop)
    for (layout, position), (expected, expected_position) in zip(again, through[stop + 1 :], strict=True):
        batch = layout.build()
        assert position == expected_position
        for name in ("ids", "targets", "weights", "segments", "positions"):
            assert torch.equal(getattr(batch, name), getattr(expected, name))


def test_every_pass_is_whole_and_in_another_order(tmp_path: Path) -> None:
    # Every example has the same length, so that batches close exactly at the end of a pass.
    packer = Packer(write_set(tmp_path, [5] * 12), Packing(rows=3, length=8))
    numbers = [[ids[0] // 100 for ids, *_ in documents(b)] for b in islice(batches(packer, DataPosition(seed=2)), 4)]
    first, second = numbers[0] + numbers[1], numbers[2] + numbers[3]
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second
    other = next(batches(packer, DataPosition(seed=3)))
    assert [ids[0] // 100 for ids, *_ in documents(other)] != numbers[0]


def test_shards_are_mixed(tmp_path: Path) -> None:
    shards = write_set(tmp_path, [5] * 40, per_shard=10)
    together = next(batches(Packer(shards, Packing(rows=8, length=4, mixed_shards=4)), DataPosition(seed=0)))
    alone = next(batches(Packer(shards, Packing(rows=8, length=4, mixed_shards=1)), DataPosition(seed=0)))
    origins = [Counter(ids[0] // 1000 for ids, *_ in documents(batch)) for batch in (together, alone)]
    assert len(origins[0]) > 1
    assert len(origins[1]) == 1


def test_packing_is_dense(tmp_path: Path) -> None:
    lengths = [int(n) for n in np.random.default_rng(1).integers(2, 40, size=600)]
    packer = Packer(write_set(tmp_path, lengths, per_shard=200), Packing(rows=8, length=64, waiting=32))
    filled = [layout.tokens / (8 * 64) for layout, _ in islice(packer.layouts(DataPosition(0)), 15)]
    assert np.mean(filled) > 0.97


def test_conditions_and_codebooks_travel_along(tmp_path: Path) -> None:
    shards = write_set(tmp_path / "c", LENGTHS, conditions=True)
    for batch in batches(Packer(shards, Packing(rows=3, length=20)), DataPosition(seed=1), epochs=1):
        assert batch.conditions is not None
        present = batch.segments >= 0
        assert torch.equal(batch.conditions[present], batch.ids[present] // 100 % 5)
        assert (batch.conditions[~present] == ABSENT).all()

    codes = np.arange(24, dtype=np.int32).reshape(6, 4)
    codes[0, 2] = ABSENT
    write_shard(tmp_path / "k.parquet", [Example("k", codes, np.ones(6, np.bool_))], codebooks=4)
    packer = Packer(ShardSet(tmp_path / "k.parquet"), Packing(rows=1, length=8, shifted=False))
    (batch,) = batches(packer, DataPosition(seed=0), epochs=1)
    assert batch.ids.shape == batch.targets.shape == (1, 8, 4)
    assert batch.ids[0, :6].tolist() == batch.targets[0, :6].tolist() == codes.tolist()
    assert (batch.ids[0, 6:] == ABSENT).all()


def test_processes_fill_in_their_own_rows(tmp_path: Path) -> None:
    layout, _ = next(Packer(write_set(tmp_path, LENGTHS), Packing(rows=4, length=20)).layouts(DataPosition(seed=1)))
    whole, parts = layout.build(), [layout.build(0, 2), layout.build(2, 4)]
    for name in ("ids", "targets", "weights", "segments", "positions"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))
    assert layout.tokens == int((whole.segments != ABSENT).sum())


def test_reading_ahead_changes_nothing() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise InputError("broken shard")

    assert list(read_ahead(iter([None, 0, 3]))) == [None, 0, 3]
    ahead = read_ahead(failing())
    assert next(ahead) == 1
    with pytest.raises(InputError, match="broken shard"):
        next(ahead)


def test_finished_shards_are_skipped(tmp_path: Path) -> None:
    converted = []

    def convert(source: int) -> Iterator[Example]:
        converted.append(source)
        yield make_example(source, 5)
        if source == 2 and len(converted) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path, range(4), convert, provenance="v1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000.parquet", "00001.parquet"]
    write_shards(tmp_path, range(4), convert, provenance="v1")
    assert converted == [0, 1, 2, 2, 3]
    assert [info.rows for info in ShardSet(tmp_path).infos] == [1, 1, 1, 1]


def test_shards_of_other_settings_are_not_taken_for_finished(tmp_path: Path) -> None:
    def one(source: int) -> list[Example]:
        return [make_example(source, 5)]

    write_shards(tmp_path, range(2), one, provenance="k=100")
    with pytest.raises(InputError, match="other inputs or settings"):
        write_shards(tmp_path, range(2), one, provenance="k=500")
    with pytest.raises(InputError, match="not one of the 1 shards"):
        write_shards(tmp_path, range(1), one, provenance="k=100")


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (Example("a", np.array([1], np.int32), np.ones(1, np.bool_)), "1 ids"),
        (Example("a", np.array([1, 2], np.int32), np.ones(3, np.bool_)), "3 entries for 2 ids"),
        (Example("a", np.array([1, -2], np.int32), np.ones(2, np.bool_)), "negative id -2"),
        (Example("a", np.ones((2, 3), np.int32), np.ones(2, np.bool_)), "expected"),
        (Example("a", np.array([1, 2], np.int32), np.ones(2, np.bool_), np.ones(2, np.int32)), "none has"),
    ],
)
def test_malformed_example_is_named(example: Example, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as caught:
        write_shard(tmp_path / "s.parquet", [make_example(0, 4), example])
    assert "example 1 (a)" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_broken_shards_are_refused_in_one_line(tmp_path: Path) -> None:
    shards = write_set(tmp_path / "good", LENGTHS)
    with pytest.raises(InputError, match="room for 11"):
        Packer(shards, Packing(rows=1, length=10))
    path = shards.infos[0].path
    path.write_bytes(path.read_bytes()[:-20])
    (tmp_path / "text.parquet").write_text("hello")
    for broken in (path, tmp_path / "text.parquet", tmp_path / "absent.parquet"):
        with pytest.raises(InputError, match="not a readable parquet file") as caught:
            read_shard_info(broken)
        assert "\n" not in str(caught.value)
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"ids": [1]}), tmp_path / "other.parquet")
    with pytest.raises(InputError, match="not a token shard"):
        ShardSet(tmp_path / "other.parquet")
    with pytest.raises(InputError, match="no shards"):
        ShardSet(tmp_path / "nowhere")


@given(rows=st.integers(0, 60), most=st.integers(1, 20), seed=st.integers(0, 5))
def test_rows_are_dealt_out_once_and_evenly(rows: int, most: int, seed: int) -> None:
    dealt = deal(rows, most, seed)
    assert sorted(row for shard in dealt for row in shard) == list(range(rows))
    assert dealt == deal(rows, most, seed)
    sizes = [len(shard) for shard in dealt]
    assert len(sizes) == -(-rows // most)
    assert max(sizes, default=0) - min(sizes, default=0) <= 1


def test_each_shard_is_a_fair_sample() -> None:
    """Of a table of two corpora, one behind the other, each shard has some of both."""
    for shard in deal(1_000, 100, seed=3):
        assert 25 < sum(row < 500 for row in shard) < 75
