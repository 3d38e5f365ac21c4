"""This process's place among the ranks: the one session that the functions of this package use.

Fork: a child may not use what its parent initialised; every call there raises ``RuntimeError``. Exit: a process that ends normally says
goodbye to the others and waits for them as long as they live, or for ``HVD_SHUTDOWN_TIMEOUT`` seconds. One that an exception ends tells the
others which, and waits for nobody. Any function from any thread.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from . import _core
from ._uncaught import uncaught, watch_for_uncaught
from ._world import World
from .exceptions import HorovodInternalError, NotInitializedError, WorldError

if TYPE_CHECKING:
    from .process_sets import ProcessSet


# A launcher names the rank that ends first: who only heard of an error lets the one it is about go ahead.
_HEAD_START_S = 0.5


class _Process:
    """What is one for a process. `world` is replaced by init() and shutdown() and by nothing else."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.world: World | None = None
        self.owner = 0
        self.was_shut_down = False
        self.says_goodbye = False


_process = _Process()


def world() -> World:
    """The world that init() has opened. Raises NotInitializedError without one."""
    current = _process.world
    if current is None:
        raise NotInitializedError(
            "horovod_cpp was shut down: call init() again before anything else"
            if _process.was_shut_down
            else "horovod_cpp is not initialised: call init() first"
        )
    return current


def init(comm: Any = None, process_sets: Sequence[ProcessSet] | str | None = None) -> None:
    """Meets the other ranks, as the environment says (hvdrun, mpirun; without either: one rank alone). A further call does nothing.

    comm: None, or all processes, as their ranks or as an MPI communicator of mpi4py; use process sets for fewer.
    process_sets: sets to add at once, the same on every rank; see add_process_set(). "dynamic" is accepted: sets may always be added later.
    Raises HorovodInternalError if ranks do not come within ``HVD_START_TIMEOUT`` seconds, ValueError for bad settings.
    """
    ranks = range(comm.Get_size()) if hasattr(comm, "Get_size") else comm
    if ranks is not None and not isinstance(ranks, Iterable):
        raise TypeError(f"init(comm={comm!r}): expected None, all ranks as [0, 1, ...], or an MPI communicator of mpi4py")
    if process_sets is not None and not isinstance(process_sets, Iterable):
        raise TypeError(f"init(process_sets={process_sets!r}): expected a list of ProcessSets")
    with _process.lock:
        if _process.world is not None:
            _process.world.session.check_owner()
            return
        opened = World(_core.Session.open())
        if ranks is not None and sorted(ranks) != list(range(opened.size)):
            raise ValueError(
                f"rank {opened.rank}: init(comm={comm!r}): expected None or all ranks of the job, which are 0 to {opened.size - 1}. "
                "For some of them call init() on every rank, then add_process_set(ranks)"
            )
        _process.world = opened
        _process.owner = os.getpid()
        if not _process.says_goodbye:
            _process.says_goodbye = True
            watch_for_uncaught()
            atexit.register(_say_goodbye)
    if process_sets and not isinstance(process_sets, str):
        from .process_sets import add_process_set

        for process_set in process_sets:
            add_process_set(process_set)


def shutdown() -> None:
    """Says goodbye to the other ranks and waits until all have, as long as they live, or ``HVD_SHUTDOWN_TIMEOUT`` seconds.

    Operations that are pending end with WorldError. Without init() it does nothing; init() may follow. Process sets and
    DistributedOptimizers are of the time before: make new ones.
    """
    with _process.lock:
        current = _process.world
        if current is None:
            return
        current.session.check_owner()
        _process.world = None
        _process.was_shut_down = True
    current.session.shutdown()


def end_because_of(error: BaseException) -> None:
    """Operations of the other ranks end with WorldError, which quotes the error. Waits for nobody."""
    current = _process.world
    if current is not None and _process.owner == os.getpid():
        what = traceback.format_exception_only(error)[-1].strip()
        current.session.abort(f"rank {current.rank} was ended by an exception: {what}")


def _say_goodbye() -> None:
    if _process.world is None or _process.owner != os.getpid():
        return
    error = uncaught()
    if isinstance(error, WorldError):
        time.sleep(_HEAD_START_S)
    elif error is not None:
        end_because_of(error)
        return
    try:
        shutdown()
    except HorovodInternalError as failure:
        if not isinstance(error, WorldError):  # which was told
            print(f"horovod_cpp: at exit: {failure}", file=sys.stderr)


def is_initialized() -> bool:
    """Whether init() has been called, and shutdown() has not been called since."""
    return _process.world is not None


def rank() -> int:
    """The number of this process: 0 to size() - 1."""
    return world().rank


def size() -> int:
    """How many processes there are."""
    return world().size


def local_rank() -> int:
    """The number of this process among those of its host."""
    return world().session.local_rank


def local_size() -> int:
    """How many processes there are on this host."""
    return world().session.local_size


def cross_rank() -> int:
    """The number of this host."""
    return world().session.cross_rank


def cross_size() -> int:
    """How many hosts there are."""
    return world().session.cross_size


def is_homogeneous() -> bool:
    """Whether every host has as many ranks as this one."""
    current = world()
    return current.session.local_size * current.session.cross_size == current.size


def start_timeline(file_path: str, mark_cycles: bool = False) -> None:
    """Writes what this rank does from now on: to file_path on one rank, otherwise to file_path.rankN. Call it on every rank.

    mark_cycles: with the rounds of negotiation. Raises ValueError if it is on already, or the file cannot be written.
    """
    world().session.start_timeline(file_path, mark_cycles)


def stop_timeline() -> None:
    """Ends the timeline. Does nothing if it is off."""
    world().session.stop_timeline()
