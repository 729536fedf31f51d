"""Threads that run the same compiled function together, each its share of the work, and wait for each other in it.

Sleeping and waking costs more than a small decoder's whole layer, so members wait by looking at a counter; one that
waits long lets others have its core.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from unitlm.engine.compiled import compiled
from unitlm.engine.vector_code import INT, LONG, VectorWriter, is_x86

_PATIENCE = 2000
"""Looks at the counter, some tens of microseconds, before a member lets others have its core."""
_GIVEN_UP = 1 << 62
"""What the counter holds once a member has failed: more than any meeting waits for."""

_LEAST_WORK = 8e6
"""Multiplications that a member must have for its part to be worth waking a thread."""


class Member(NamedTuple):
    """One thread's place in a team.

    Attributes:
        gate: What `meet` counts in, int64 [1]; the same array for all members.
        place: Which member this is.
        members: How many there are.
    """

    gate: NDArray[np.int64]
    place: int
    members: int


ALONE = Member(np.zeros(1, np.int64), 0, 1)


def _arrive_at(_: object, __: Any) -> tuple[Any, Callable[..., ir.Value]]:
    """Add one to the counter at an address; what it was before."""

    def generate(_: Any, builder: ir.IRBuilder, __: object, arguments: tuple[ir.Value, ...]) -> ir.Value:
        pointer = builder.inttoptr(arguments[0], LONG.as_pointer())
        return builder.atomic_rmw("add", pointer, ir.Constant(LONG, 1), "seq_cst")

    return types.int64(types.int64), generate


def _look_at(_: object, __: Any) -> tuple[Any, Callable[..., ir.Value]]:
    """The counter at an address, as other members have left it."""

    def generate(_: Any, builder: ir.IRBuilder, __: object, arguments: tuple[ir.Value, ...]) -> ir.Value:
        return builder.load_atomic(builder.inttoptr(arguments[0], LONG.as_pointer()), "seq_cst", 8)

    return types.int64(types.int64), generate


def _pause_here(_: object) -> tuple[Any, Callable[..., ir.Value]]:
    """Tell the core that this is a loop that waits."""

    def generate(context: Any, builder: ir.IRBuilder, _: object, __: object) -> ir.Value:
        if is_x86():
            VectorWriter(builder).call("llvm.x86.sse2.pause", ir.VoidType())
        return context.get_dummy_value()

    return types.void(), generate


def _give_core(_: object) -> tuple[Any, Callable[..., ir.Value]]:
    """Let another thread have this core, where the system has a call for that."""

    def generate(context: Any, builder: ir.IRBuilder, _: object, __: object) -> ir.Value:
        if os.name == "posix":
            VectorWriter(builder).call("sched_yield", INT)
        return context.get_dummy_value()

    return types.void(), generate


_arrive = cast("Callable[[int], int]", intrinsic(_arrive_at))
_look = cast("Callable[[int], int]", intrinsic(_look_at))
_pause = cast("Callable[[], None]", intrinsic(_pause_here))
_give_way = cast("Callable[[], None]", intrinsic(_give_core))


@compiled
def meet(member: Member) -> None:
    """Wait until all members have come here, or one has failed."""
    if member.members == 1:
        return
    address = member.gate.ctypes.data
    # The counter only grows: the n-th meeting is over when it has reached n times the members.
    arrived = _arrive(address) + 1
    if arrived > _GIVEN_UP:
        return
    wanted = (arrived + member.members - 1) // member.members * member.members
    looks = 0
    while _look(address) < wanted:
        looks += 1
        if looks < _PATIENCE:
            _pause()
        else:
            _give_way()


@compiled
def share(total: int, member: Member) -> tuple[int, int]:
    """The member's part of a range: its first index, and the one behind its last."""
    return total * member.place // member.members, total * (member.place + 1) // member.members


class Team:
    """The threads of this process that decode together, started when they are first needed.

    Only one call has them at a time; another one that comes meanwhile runs alone, so that members never wait for a
    thread that is busy elsewhere. A member that fails lets the others go: what they give is then thrown away.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._size = 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def run(self, count: int, function: Callable[[Member], Any]) -> Any:
        """Call a function that releases the interpreter's lock as each of `count` members; the first one's result.

        Where no thread can be started, as when the interpreter shuts down, it is called once, alone.
        """
        if count < 2 or not self._lock.acquire(blocking=False):
            return function(ALONE)
        try:
            return self._run_together(count, function)
        finally:
            self._lock.release()

    def _run_together(self, count: int, function: Callable[[Member], Any]) -> Any:
        gate = np.zeros(1, np.int64)

        def work(place: int) -> Any:
            try:
                return function(Member(gate, place, count))
            except BaseException:
                gate[0] = _GIVEN_UP
                raise

        others: list[Future[Any]] = []
        try:
            pool = self._threads(count - 1)
            for place in range(1, count):
                others.append(pool.submit(work, place))
            result = work(0)
        except BaseException as error:
            gate[0] = _GIVEN_UP
            wait(others)
            if not isinstance(error, RuntimeError) or len(others) == count - 1:
                raise
            self._stop()  # what could not be started may still be in line
            return function(ALONE)
        wait(others)
        for other in others:
            other.result()
        return result

    def _threads(self, count: int) -> ThreadPoolExecutor:
        if self._pool is None or self._size < count:
            self._stop()
            self._pool, self._size = ThreadPoolExecutor(count, "unitlm"), count
        return self._pool

    def _stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._pool, self._size = None, 0

    def _forget(self) -> None:
        """Threads do not survive a fork."""
        self._lock, self._pool, self._size = threading.Lock(), None, 0


TEAM = Team()


def choose_members(work: float) -> int:
    """How many threads are worth their meeting for so many multiplications; at most torch's number of threads.

    That number is `torch.set_num_threads` or `OMP_NUM_THREADS`: set it where a container's quota is less than its
    cores, for members that wait use up the quota of those that work.
    """
    return max(1, min(torch.get_num_threads(), int(work / _LEAST_WORK)))
