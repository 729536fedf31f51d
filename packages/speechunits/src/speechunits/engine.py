"""Where shards are computed: in this process, or on the machines of a Ray cluster. The results are the same.

`speechunits` and `molindex` stand alone, so each has this file; a test keeps the two alike.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from speechunits.errors import InputError

if TYPE_CHECKING:
    from types import ModuleType

Shard = TypeVar("Shard")
Result = TypeVar("Result")
Shard_ = TypeVar("Shard_", contravariant=True)
Result_ = TypeVar("Result_", covariant=True)

# Shards in hand for each processor: one that it works on, and one that waits for it.
_WAITING = 2


class Recipe(Hashable, Protocol[Shard_, Result_]):
    """What a process needs in order to work on shards, said in a few words that travel to other machines.

    Equal recipes prepare equal work; a process of a cluster prepares once for all shards that it gets.
    """

    def prepare(self) -> Callable[[Shard_], Result_]:
        """Load what the work needs, and return the work: a function that does nothing but compute its result."""


class Engine(Protocol):
    """Maps a recipe's work over shards."""

    def map(self, recipe: Recipe[Shard, Result], shards: Iterable[Shard]) -> Iterator[tuple[int, Result]]:
        """Yield each shard's number, from 0, and its result: each exactly once, as they come.

        Raises:
            InputError: from the work; what was yielded before that is good.
        """


class LocalEngine:
    """This process, one shard after the other."""

    def map(self, recipe: Recipe[Shard, Result], shards: Iterable[Shard]) -> Iterator[tuple[int, Result]]:
        """See `Engine`."""
        work = recipe.prepare()
        for number, shard in enumerate(shards):
            yield number, work(shard)


class RayEngine:
    """Tasks of a Ray cluster (docs.ray.io). What a machine had in hand when it died is computed by another one.

    Every machine needs this package and sees the same files under the same paths.
    """

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._ray = import_ray()

    def map(self, recipe: Recipe[Shard, Result], shards: Iterable[Shard]) -> Iterator[tuple[int, Result]]:
        """See `Engine`; shards and results are copied between machines."""
        ray, options = self._ray, self._options
        task = ray.remote(_work).options(
            num_cpus=options.task_cpus,
            num_gpus=options.task_gpus,
            max_retries=options.task_retries,
            scheduling_strategy="SPREAD",
        )
        numbered, folder = enumerate(shards), os.getcwd()  # noqa: PTH109
        pending: dict[Any, int] = {}
        try:
            while True:
                # Asked each time, for machines come and go. Bounded, or a long list of shards would fill the memory.
                room = max(1, int(ray.cluster_resources().get("CPU", 1) / options.task_cpus)) * _WAITING - len(pending)
                for number, shard in islice(numbered, max(0, room)):
                    pending[task.remote(folder, recipe, shard)] = number
                if not pending:
                    return
                [done], _ = ray.wait(list(pending), num_returns=1)
                try:
                    result = ray.get(done)
                except ray.exceptions.RayTaskError as error:
                    # The error itself, not Ray's account of it; work that fails would fail again, so it is not retried.
                    raise error.cause from None
                yield pending.pop(done), result
        finally:
            for left in pending:
                ray.cancel(left, force=True)


@dataclass(frozen=True)
class EngineOptions:
    """Where shards are computed.

    Attributes:
        engine: local: in this process; ray: on a Ray cluster.
        ray_address: Of the cluster's head; by default the one that runs on this machine, or else a new one of this
            machine alone.
        task_cpus: Processors that one shard takes (ray).
        task_gpus: GPUs that one shard takes, such as 0.5 (ray).
        task_retries: How often a shard is begun anew when its machine dies (ray).

    Raises:
        InputError: a value is out of range.
    """

    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    task_cpus: float = 1.0
    task_gpus: float = 0.0
    task_retries: int = 3

    def __post_init__(self) -> None:
        if not self.task_cpus > 0.0 or self.task_gpus < 0.0 or self.task_retries < 0:
            raise InputError("task_cpus must be above 0, and neither task_gpus nor task_retries below it")

    @contextmanager
    def open(self) -> Iterator[Engine]:
        """The engine; a connection to a cluster is closed at the end, unless there was one before.

        Raises:
            InputError: Ray is not installed, or there is no cluster at the address.
        """
        if self.engine == "local":
            yield LocalEngine()
            return
        ray = import_ray()
        joined = not ray.is_initialized()
        if joined:
            _knock(self.ray_address)
            try:
                ray.init(self.ray_address, include_dashboard=None if self.ray_address else False, log_to_driver=False)
            except (ConnectionError, ValueError) as error:
                raise InputError(f"no Ray cluster at {self.ray_address}: {' '.join(str(error).split())}") from error
        try:
            yield RayEngine(self)
        finally:
            if joined:
                ray.shutdown()


def in_order(results: Iterable[tuple[int, Result]]) -> Iterator[Result]:
    """The results of `Engine.map` in the order of their shards; what comes early is held back."""
    early: dict[int, Result] = {}
    wanted = 0
    for number, result in results:
        early[number] = result
        while wanted in early:
            yield early.pop(wanted)
            wanted += 1


def import_ray() -> ModuleType:
    """Ray, which is an extra of this package.

    Raises:
        InputError: it is not installed.
    """
    try:
        import_module("ray.exceptions")
        return import_module("ray")
    except ImportError as error:
        raise InputError("--engine ray needs Ray: pip install 'speechunits[ray]'") from error


def _knock(address: str | None) -> None:
    """See whether anybody listens at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"no Ray cluster at {address}: {error}") from error


def _work(folder: str, recipe: Recipe[Shard, Result], shard: Shard) -> Result:
    """What a task does."""
    try:
        os.chdir(folder)  # relative paths are those of the process that asks
    except OSError as error:
        raise InputError(f"{folder}: a machine of the cluster does not see this folder") from error
    work: Callable[[Shard], Result] = _prepare(recipe)
    return work(shard)


# One: a process serves one run at a time, and models are large.
@lru_cache(maxsize=1)
def _prepare(recipe: Recipe[Any, Any]) -> Callable[[Any], Any]:
    return recipe.prepare()
