"""Extraction over a list: ordered, not stopped by bad files, continued after a kill, refused where kinds would mix."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechunits.audio import Waveform, read_audio, resample, write_wav
from speechunits.encoders.hubert import load_fairseq_hubert
from speechunits.errors import InputError
from speechunits.extract import UnitExtractor, extract
from speechunits.extracted import read_extracted
from speechunits.kmeans import KMeans, Provenance, fit_kmeans, save_kmeans
from speechunits.listing import Listed, read_list


class Doubling:
    """A `Codec` without a network: two levels that say how loud each hundredth of a second is, and its square."""

    sample_rate_hz, frame_rate_hz, levels, codebook_size, identity = 8_000, 100.0, 2, 16, "doubling"

    def encode(self, waveform: Waveform) -> np.ndarray:
        samples = resample(waveform, self.sample_rate_hz).samples
        if samples.size < 80:
            raise InputError("shorter than a frame")
        loudness = np.abs(samples[: samples.size // 80 * 80].reshape(-1, 80)).mean(axis=1).clip(0, 1)
        return np.stack((15 * loudness, 15 * loudness**2)).astype(np.int64)

    def encode_batch(self, waveforms: list[Waveform]) -> list[np.ndarray]:
        return [self.encode(waveform) for waveform in waveforms]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, make_waveform) -> Path:
    """A list of 60 recordings of different lengths and rates; every tenth is bad in a way of its own."""
    folder = tmp_path_factory.mktemp("corpus")
    lines = ["id\taudio\ttext"]
    for number in range(60):
        name = f"{number:02d}.wav"
        write_wav(
            folder / name, make_waveform(0.3 + 0.05 * (number * 7 % 11), number, rate_hz=8_000 + 4_000 * (number % 3))
        )
        lines.append(f'{number}\t{name}\tsome "text"')
    (folder / "05.wav").write_text("no sound")
    (folder / "15.wav").unlink()
    soundfile.write(folder / "25.wav", np.full(900, np.nan), 16_000, subtype="FLOAT")
    soundfile.write(folder / "35.wav", np.zeros(300), 16_000)
    soundfile.write(folder / "45.wav", np.zeros(0), 16_000)
    (folder / "list.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "list.tsv"


@pytest.fixture(scope="module")
def encoder(save_tiny_hubert):
    tiny = save_tiny_hubert()
    return tiny.path, load_fairseq_hubert(tiny.path, 2)


@pytest.fixture(scope="module")
def units(encoder, make_waveform) -> UnitExtractor:
    [features] = encoder[1].encode([make_waveform(3.0)])
    return UnitExtractor(encoder[1], fit_kmeans(features, 20, seed=0, encoder=encoder[1].identity))


def describe(utterances) -> list[tuple]:
    return [
        (row.audio, row.duration_s, row.units.tolist(), None if row.codes is None else row.codes.tolist())
        for row in utterances
    ]


def test_extracts_in_order_and_names_what_failed(corpus: Path, units: UnitExtractor, tmp_path: Path) -> None:
    rows = read_list(corpus)
    codec = Doubling()
    done = extract(rows, tmp_path / "new", units=units, codec=codec, rows_a_shard=7)
    assert (done.utterances, len(done.failures), done.shards, done.missing) == (55, 5, 9, 0)
    info, utterances = read_extracted(tmp_path / "new")
    assert (info.units.encoder, info.units.kmeans) == (units.encoder.identity, units.kmeans.identity)
    assert (info.units.clusters, info.units.frame_rate_hz) == (20, 50.0)
    assert (info.codes.codec, info.codes.levels, info.codes.codebook_size, info.codes.frame_rate_hz) == (
        "doubling",
        2,
        16,
        100.0,
    )
    found = list(utterances)
    assert [row.audio for row in found] == [f"{n:02d}.wav" for n in range(60) if n not in (5, 15, 25, 35, 45)]
    for row in found[::9]:
        waveform = read_audio(corpus.parent / row.audio)
        assert row.duration_s == pytest.approx(waveform.duration_s, abs=1e-6)
        expected = units.kmeans.assign(units.encoder.encode([waveform])[0])
        # Batched sums round differently, which may tip a rare tie between two units.
        assert (row.units == expected).mean() > 0.95
        np.testing.assert_array_equal(row.codes, codec.encode(waveform))
    failed = [line.split("\t") for line in (tmp_path / "new" / "failed.tsv").read_text().splitlines()]
    assert [line[0] for line in failed] == ["audio", "05.wav", "15.wav", "25.wav", "35.wav", "45.wav"]
    for line, reason in zip(
        failed[1:], ["cannot be read", "No such file", "sample 0", "shorter", "at least one"], strict=True
    ):
        assert line[1].count(reason) == 1
        assert str(corpus.parent) not in line[1]


def test_a_second_run_does_nothing(corpus: Path, units: UnitExtractor, tmp_path: Path) -> None:
    rows = read_list(corpus)[:12]
    first = extract(rows, tmp_path, units=units, rows_a_shard=5)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
    assert extract(rows, tmp_path, units=units, rows_a_shard=5) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")} == before


def test_workers_share_the_list(corpus: Path, units: UnitExtractor, tmp_path: Path) -> None:
    rows = read_list(corpus)[:20]
    extract(rows, tmp_path / "one", units=units, rows_a_shard=3)
    done = [extract(rows, tmp_path / "two", units=units, rows_a_shard=3, worker=worker, workers=2) for worker in (1, 0)]
    assert [(each.shards, each.missing) for each in done] == [(3, 4), (7, 0)]
    assert describe(read_extracted(tmp_path / "one")[1]) == describe(read_extracted(tmp_path / "two")[1])
    assert (tmp_path / "one/failed.tsv").read_bytes() == (tmp_path / "two/failed.tsv").read_bytes()


def test_a_killed_run_goes_on_where_it_was(corpus: Path, encoder, units: UnitExtractor, tmp_path: Path) -> None:
    """kill -9 at a moment that nobody chose: what is there is whole and left alone, the rest as if nothing had been."""
    save_kmeans(units.kmeans, tmp_path / "units.safetensors")
    out = tmp_path / "out"
    many = tmp_path / "many.tsv"
    rows = [str(row.path) for row in read_list(corpus)] * 2  # absolute paths are paths, too
    many.write_text("audio\n" + "\n".join(rows) + "\n")
    options = [
        "--out",
        out,
        "--encoder",
        encoder[0],
        "--layer",
        2,
        "--kmeans",
        tmp_path / "units.safetensors",
        "--rows",
        3,
    ]
    command = [sys.executable, "-m", "speechunits.cli.main", "extract", many, *options]
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while len(list(out.glob("*.parquet"))) < 4 and process.poll() is None:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    assert 4 <= len(before) < 40
    with pytest.raises(InputError, match=f"{len(before)} of 40 shards"):
        read_extracted(out)
    (out / ".00039.parquet.half").write_bytes(b"PAR1")  # what a kill in the middle of writing leaves

    extract(read_list(many), out, units=units, rows_a_shard=3)
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    assert {name: after[name] for name in before} == before
    assert sorted(path.name for path in out.iterdir()) == [*(f"{n:05d}.parquet" for n in range(40)), "failed.tsv"]
    extract(read_list(many), tmp_path / "whole", units=units, rows_a_shard=3)
    assert describe(read_extracted(out)[1]) == describe(read_extracted(tmp_path / "whole")[1])
    assert (out / "failed.tsv").read_bytes() == (tmp_path / "whole" / "failed.tsv").read_bytes()


def test_what_was_begun_with_something_else_is_refused(
    corpus: Path, encoder, units: UnitExtractor, tmp_path: Path
) -> None:
    rows = read_list(corpus)[:4]
    extract(rows, tmp_path, units=units, rows_a_shard=2)
    other_layer = load_fairseq_hubert(encoder[0], 1)
    unknown = Provenance("", 0.0, 0, 0, "test")
    moved = UnitExtractor(units.encoder, KMeans(units.kmeans.centroids + 1, unknown))
    cases = [
        (
            {"units": UnitExtractor(other_layer, KMeans(units.kmeans.centroids, unknown))},
            "encoder .* layer 2, not .* layer 1",
        ),
        ({"units": moved}, "kmeans sha256:"),
        ({"units": units, "codec": Doubling()}, "no codes, now with"),
        ({"codec": Doubling()}, "units, now without"),
        ({"units": units, "rows_a_shard": 3}, "another list of recordings or another shard size"),
    ]
    for options, reason in cases:
        with pytest.raises(InputError, match=f"was begun with .*{reason}"):
            extract(rows, tmp_path, **{"rows_a_shard": 2, **options})
    for other in (rows[::-1], rows + rows, [*rows[:3], Listed("other.wav", Path("other.wav"))]):
        with pytest.raises(InputError, match="another list"):
            extract(other, tmp_path, units=units, rows_a_shard=2)
    with pytest.raises(InputError, match="fitted on"):
        UnitExtractor(other_layer, units.kmeans)


@pytest.mark.parametrize("options", [{}, {"codec": Doubling(), "rows_a_shard": 0}, {"codec": Doubling(), "worker": 1}])
def test_impossible_extractions(tmp_path: Path, options: dict) -> None:
    with pytest.raises(InputError):
        extract([Listed("a.wav", tmp_path / "a.wav")], tmp_path, **options)
    with pytest.raises(InputError, match="no recordings"):
        extract([], tmp_path, codec=Doubling())


def test_a_shard_of_bad_files_is_a_shard(tmp_path: Path) -> None:
    rows = [Listed("a.wav", tmp_path / "a.wav")]
    assert extract(rows, tmp_path / "out", codec=Doubling()).utterances == 0
    assert list(read_extracted(tmp_path / "out")[1]) == []


def test_long_recordings_are_held_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus: Path) -> None:
    monkeypatch.setattr("speechunits.extract._SECONDS_AT_ONCE", 0.5)
    held: list[int] = []

    class Counting(Doubling):
        def encode_batch(self, waveforms: list[Waveform]) -> list[np.ndarray]:
            held.append(len(waveforms))
            return super().encode_batch(waveforms)

    done = extract(read_list(corpus)[:5], tmp_path, codec=Counting())
    assert done.utterances == 5
    assert max(held) <= 2


def test_lists(tmp_path: Path) -> None:
    path = tmp_path / "list.tsv"
    path.write_bytes("\ufeffspeaker\taudio\r\nA\tsub/one.wav\r\nB\ttwo\u2028.wav\r\n".encode())
    assert [row.audio for row in read_list(path)] == ["sub/one.wav", "two\u2028.wav"]
    assert read_list(path)[0].path == tmp_path / "sub/one.wav"
    for content, reason in [
        (b"file\na.wav\n", "has no column audio; its columns are file"),
        (b"audio\n", "has no rows"),
        (b"", "has no column audio"),
        (b"audio\ttext\na.wav\n", "line 2 has 1 cells, the header 2"),
        (b"audio\ttext\na.wav\tx\n\tx\n", "line 3 has an empty audio"),
        (b"audio\n\xff\n", "UTF-8"),
    ]:
        path.write_bytes(content)
        with pytest.raises(InputError, match=reason) as caught:
            read_list(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="absent"):
        read_list(tmp_path / "absent")
