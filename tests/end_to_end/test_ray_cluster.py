"""A Ray cluster of two machines, one of which dies in the middle of the work: the files are those of one machine.

Nothing is lost, and nothing that was finished is done a second time.
"""

from __future__ import annotations

import runpy
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ray")

import ray
from ray.cluster_utils import Cluster

from molindex.molecules import MoleculeIndex
from molindex.sharded import ShardedIndex, build_shards
from polyvoice.evaluation.evaluate import evaluate
from polyvoice.evaluation.judges import Judges
from speechunits.audio import Waveform, write_wav
from speechunits.encoders.mfcc import MfccEncoder
from speechunits.engine import EngineOptions, RayEngine
from speechunits.errors import InputError
from speechunits.extract import ModelNames, extract
from speechunits.extracted import read_extracted
from speechunits.kmeans import fit_kmeans, save_kmeans
from speechunits.listing import read_list

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[1]
STORE_BYTES = 80 * 2**20
# A death is to be noticed soon, and a machine that shares a slow processor is not to be taken for dead.
HEALTH = {
    "health_check_initial_delay_ms": 3_000,
    "health_check_period_ms": 1_000,
    "health_check_timeout_ms": 5_000,
    "health_check_failure_threshold": 3,
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """The head, with one processor; a second machine comes with `doomed`."""
    machine = {"num_cpus": 1, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    found = Cluster(initialize_head=True, head_node_args={**machine, "_system_config": HEALTH})
    ray.init(address=found.address, log_to_driver=False, logging_level="ERROR")
    # The processes of the cluster cannot import this file.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield found
    ray.shutdown()
    found.shutdown()


@dataclass(frozen=True)
class Watched:
    """A recipe that notes in a folder what is begun and what is finished, and by whom.

    The doomed machine finishes one shard and hangs in the next; the other one waits until it is alone.
    """

    recipe: Any
    doomed: str
    notes: Path

    def prepare(self) -> Callable[[Any], Any]:
        work, here = self.recipe.prepare(), ray.get_runtime_context().get_node_id()
        mine = "doomed" if here == self.doomed else "head"

        def watched(shard: Any) -> Any:
            name = uuid.uuid4().hex
            begun = len(list(self.notes.glob(f"{mine}-*.begun")))
            (self.notes / f"{mine}-{name}.begun").touch()
            while (mine == "doomed" and begun == 1) or not (mine == "doomed" or (self.notes / "dead").exists()):
                time.sleep(0.05)
            result = work(shard)
            (self.notes / f"{mine}-{name}.finished").touch()
            return result

        return watched


class DyingMachine:
    """The engine of a cluster whose second machine dies when it has a shard in its hands.

    Attributes:
        numbers: of the shards, in the order in which their results came.
    """

    def __init__(self, cluster: Cluster, notes: Path) -> None:
        self._cluster, self._notes = cluster, notes
        self._machine = cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
        cluster.wait_for_nodes()
        self.numbers: list[int] = []

    def map(self, recipe: Any, shards: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        if self.numbers:  # dead since the first time
            yield from RayEngine(EngineOptions(engine="ray")).map(recipe, shards)
            return
        Thread(target=self._kill, daemon=True).start()
        watched = Watched(recipe, self._machine.node_id, self._notes)
        for number, result in RayEngine(EngineOptions(engine="ray")).map(watched, shards):
            self.numbers.append(number)
            yield number, result

    def _kill(self) -> None:
        while len(list(self._notes.glob("doomed-*.begun"))) < 2:
            time.sleep(0.05)
        time.sleep(0.5)  # its first result is on its way
        self._cluster.remove_node(self._machine, allow_graceful=False)
        (self._notes / "dead").touch()

    def check(self, shards: int) -> None:
        """Each shard gave one result and was finished once; only the one in hand was begun twice."""
        assert sorted(self.numbers) == list(range(shards))
        begun, finished = (
            Counter(path.name.partition("-")[0] for path in self._notes.glob(f"*.{state}"))
            for state in ("begun", "finished")
        )
        assert begun == {"doomed": 2, "head": shards - 1}
        assert finished == {"doomed": 1, "head": shards - 1}


@pytest.fixture
def dying(cluster: Cluster, tmp_path: Path) -> DyingMachine:
    (tmp_path / "notes").mkdir()
    return DyingMachine(cluster, tmp_path / "notes")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ModelNames]:
    """A list of 14 recordings, two of which cannot be read, and what to extract with."""
    folder, chance = tmp_path_factory.mktemp("recordings"), np.random.default_rng(0)
    names = [f"{number}.wav" for number in range(14)]
    for number, name in enumerate(names):
        samples = chance.normal(0, 0.1, 4_000 + 400 * (number * 5 % 7)).astype(np.float32)
        write_wav(folder / name, Waveform(samples, 16_000))
    (folder / "3.wav").write_text("no sound")
    (folder / "8.wav").unlink()
    (folder / "list.tsv").write_text("\n".join(["audio", *names]) + "\n")
    encoder = MfccEncoder()
    [features] = encoder.encode([Waveform(chance.normal(0, 0.1, 40_000).astype(np.float32), 16_000)])
    save_kmeans(fit_kmeans(features, 12, seed=0, encoder=encoder.identity), folder / "kmeans.safetensors")
    return folder / "list.tsv", ModelNames("mfcc", 1, folder / "kmeans.safetensors")


def contents(folder: Path, pattern: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob(pattern))}


def test_extraction_outlives_a_machine(
    dying: DyingMachine, recordings: tuple[Path, ModelNames], tmp_path: Path
) -> None:
    rows, names = read_list(recordings[0]), recordings[1]
    units, _ = names.load()
    alone = extract(rows, tmp_path / "one", units=units, rows_a_shard=2)
    together = extract(rows, tmp_path / "many", units=units, rows_a_shard=2, engine=dying, recipe=names)
    dying.check(7)
    assert together == alone
    assert contents(tmp_path / "many", "*") == contents(tmp_path / "one", "*")
    _, utterances = read_extracted(tmp_path / "many")
    assert [row.audio for row in utterances] == [f"{number}.wav" for number in range(14) if number not in (3, 8)]


def test_evaluation_outlives_a_machine(dying: DyingMachine, tmp_path: Path) -> None:
    tones = SimpleNamespace(**runpy.run_path(str(TESTS / "polyvoice" / "evaluation_worker.py")))
    lines = ["id\tsource_audio\tsource_lang\ttarget_audio\ttarget_lang"]
    for number, text in enumerate(("uno dos", "tres", "dos uno tres", "uno", "tres tres dos uno")):
        for language in ("es", "en"):
            write_wav(tmp_path / f"{number}.{language}.wav", tones.speak(text))
        lines.append(f"row{number}\t{number}.es.wav\tes\t{number}.en.wav\ten")
    (tmp_path / "manifest.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    system, judges = tones.Interpreter(), Judges(units=tones.ToneUnits())
    alone = evaluate(tmp_path / "manifest.tsv", tmp_path / "one", system, judges)
    together = evaluate(tmp_path / "manifest.tsv", tmp_path / "many", system, judges, engine=dying)
    dying.check(5)
    assert together == alone
    assert contents(tmp_path / "many", "**/*.*") == contents(tmp_path / "one", "**/*.*")
    assert len(contents(tmp_path / "many", "audio/*.wav")) == 5


SAMPLE = TESTS / "molindex" / "data" / "chebi20_sample.tsv"


def test_fingerprinting_outlives_a_machine(
    dying: DyingMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("molindex.molecules._CHUNK_ROWS", 40)
    alone = MoleculeIndex.from_table(SAMPLE, rejects=tmp_path / "rejected.tsv")
    together = MoleculeIndex.from_table(SAMPLE, rejects=tmp_path / "rejected.tsv", engine=dying)
    dying.check(5)
    alone.save(tmp_path / "one.index")
    together.save(tmp_path / "many.index")
    assert (tmp_path / "many.index").read_bytes() == (tmp_path / "one.index").read_bytes()


def test_shards_of_molecules_outlive_a_machine_when_built_and_when_searched(
    dying: DyingMachine, cluster: Cluster, tmp_path: Path
) -> None:
    header, *lines = SAMPLE.read_text("utf-8").splitlines()
    tables = [tmp_path / f"{number}.tsv" for number in range(4)]
    for number, table in enumerate(tables):
        table.write_text("\n".join([header, *lines[number::4]]) + "\n", "utf-8")
    assert build_shards(tables, tmp_path / "many", engine=dying) == build_shards(tables, tmp_path / "one") == len(lines)
    dying.check(4)
    assert contents(tmp_path / "many", "*") == contents(tmp_path / "one", "*")

    machine = cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    cluster.wait_for_nodes()
    queries = [line.split("\t")[1] for line in lines[:5]]
    expected = ShardedIndex.open(tmp_path / "one").search_batch(queries, 30)
    index = ShardedIndex.open(tmp_path / "many", actors=2)
    assert index.search_batch(queries, 30) == expected
    cluster.remove_node(machine, allow_graceful=False)
    assert index.search_batch(queries, 30) == expected


@dataclass(frozen=True)
class Halves:
    """Work that cannot be done on odd numbers."""

    def prepare(self) -> Callable[[int], int]:
        def halve(number: int) -> int:
            if number % 2:
                raise InputError(f"{number} is odd")
            return number // 2

        return halve


def test_what_is_wrong_is_told_in_one_line(cluster: Cluster) -> None:
    engine = RayEngine(EngineOptions(engine="ray"))
    assert sorted(engine.map(Halves(), range(0, 20, 2))) == [(number, number) for number in range(10)]
    with pytest.raises(InputError, match=r"^3 is odd$"):
        list(engine.map(Halves(), (0, 2, 3, 4)))
