"""What each rank does in test_lifecycle.py. Each case is a job of its own, by horovod_cpp.run()."""

from __future__ import annotations

import gc
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import horovod_cpp.numpy as hvd


def _thread_count() -> int:
    return len(os.listdir("/proc/self/task"))


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def places(factor: int, offset: int = 0) -> tuple[int, int, int, float]:
    hvd.init()
    hvd.init()
    assert hvd.is_initialized() and hvd.is_homogeneous() and hvd.local_size() == hvd.size() and hvd.cross_size() == 1
    mean = hvd.allreduce(np.array([hvd.rank() * factor + offset], np.float64))
    return hvd.rank(), hvd.local_rank(), hvd.cross_rank(), float(mean[0])


def fails_on_one(rank: int) -> None:
    hvd.init()
    if hvd.rank() == rank:
        raise KeyError("on purpose")
    hvd.allreduce(np.ones(3))


def dies(rank: int) -> None:
    hvd.init()
    if hvd.rank() == rank:
        os.kill(os.getpid(), signal.SIGKILL)
    hvd.allreduce(np.ones(3))


def leaves_early(rank: int) -> str:
    """A normal exit while others wait is an error that names who left."""
    hvd.init()
    if hvd.rank() == rank:
        return ""
    with pytest.raises(hvd.WorldError) as raised:
        hvd.allreduce(np.ones(3), name="late")
    return str(raised.value)


def interrupted() -> float:
    """Ctrl-C in a wait that nobody ends: seconds until it is raised. The group shuts down cleanly afterwards."""
    hvd.init()
    took = 0.0
    if hvd.rank() == 0:
        sent: list[float] = []

        def interrupt() -> None:
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        signal.signal(signal.SIGINT, signal.default_int_handler)
        timer = threading.Timer(0.3, interrupt)
        timer.start()
        handle = hvd.allreduce_async(np.ones(3), name="waits")
        with pytest.raises(KeyboardInterrupt):
            handle.wait()
        took = time.monotonic() - sent[0]
        np.testing.assert_array_equal(handle.wait(), np.ones(3))
    else:
        time.sleep(1.0)
        hvd.allreduce(np.ones(3), name="waits")
    hvd.shutdown()
    return took


def other_threads_run() -> int:
    """While one thread waits for another rank, Python goes on."""
    hvd.init()
    turns = 0
    if hvd.rank() == 0:
        handle = hvd.allreduce_async(np.ones(3), name="waits")
        waiter = threading.Thread(target=handle.wait)
        waiter.start()
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            turns += 1
        assert waiter.is_alive()
        hvd.broadcast_(np.zeros(1), 0, name="go on")
        waiter.join()
    else:
        hvd.broadcast_(np.zeros(1), 0, name="go on")
        hvd.allreduce(np.ones(3), name="waits")
    return turns


def forks() -> list[str]:
    """A child may not communicate, is told so, and harms nobody by its end, whichever way it takes."""
    hvd.init()
    words: list[str] = []
    for way in ("os._exit", "sys.exit"):
        readable, writable = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                hvd.allreduce(np.ones(1))
            except RuntimeError as error:
                os.write(writable, str(error).encode())
            if way == "os._exit":
                os._exit(0)
            # As a script ends: with what atexit has.
            import atexit

            atexit._run_exitfuncs()
            os._exit(0)
        os.close(writable)
        with os.fdopen(readable, "rb") as file:
            words.append(file.read().decode())
        assert os.waitpid(child, 0)[1] == 0
        assert hvd.allreduce(np.ones(1))[0] == 1
    return words


def starts_anew(rounds: int) -> tuple[int, float]:
    """Many sessions in one process: threads at the end beyond those at the beginning, and bytes a round.

    Of four stretches the one that took least: allocators grow now and then by a megabyte at once, a leak grows in each of them.
    """

    def one_round() -> None:
        hvd.init()
        assert hvd.allreduce(np.array([hvd.rank()], np.int64), op=hvd.Sum)[0] == hvd.size() * (hvd.size() - 1) // 2
        hvd.shutdown()

    def bytes_of(stretch: int) -> float:
        begin = _resident_bytes()
        for _ in range(stretch):
            one_round()
        gc.collect()
        return (_resident_bytes() - begin) / stretch

    for _ in range(20):
        one_round()
    gc.collect()
    threads = _thread_count()
    slope = min(bytes_of(rounds // 4) for _ in range(4))
    return _thread_count() - threads, slope


def drops_handles(rounds: int) -> tuple[float, int]:
    """Handles that nobody waits for: bytes of memory a round, and arrays that live on."""
    hvd.init()
    made: list[weakref.ref[Any]] = []

    class Traced(np.ndarray):
        pass

    def some(count: int) -> None:
        for _ in range(count):
            array = np.zeros(100, np.float32).view(Traced)
            if len(made) < 1000:
                made.append(weakref.ref(array))
            hvd.allreduce_async_(array)

    some(500)
    begin = _resident_bytes()
    some(rounds)
    grown = (_resident_bytes() - begin) / rounds
    hvd.barrier()
    hvd.allreduce(np.ones(1))
    time.sleep(0.2)
    hvd.allreduce(np.ones(1))
    gc.collect()
    return grown, sum(one() is not None for one in made)


def joins() -> int:
    hvd.init()
    rank, size = hvd.rank(), hvd.size()
    for step in range(rank + 1):
        total = hvd.allreduce(np.array([1.0]), op=hvd.Sum, name=f"step {step}")
        assert total[0] == size - step
        assert len(hvd.allgather(np.array([rank]), name=f"gather {step}")) == size - step
    return hvd.join()


def shuts_down_in_between() -> str:
    hvd.init()
    hvd.barrier()
    hvd.shutdown()
    hvd.shutdown()
    try:
        hvd.rank()
    except hvd.NotInitializedError as error:
        return str(error)
    return ""


def in_a_subprocess_of_its_own(script: str) -> str:
    """For what ends a process."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    return f"{done.returncode}\n{done.stdout}{done.stderr}"


def mistakes() -> dict[str, str]:
    """What is said to each."""
    hvd.init()
    rank, size = hvd.rank(), hvd.size()
    ones = np.ones((3, 2), np.float32)
    read_only = np.ones(3)
    read_only.flags.writeable = False
    calls: dict[str, Any] = {
        "average and op": lambda: hvd.allreduce(ones, average=True, op=hvd.Sum),
        "op": lambda: hvd.allreduce(ones, op=17),
        "complex": lambda: hvd.allreduce(np.ones(3, np.complex64)),
        "list in place": lambda: hvd.allreduce_([1.0]),
        "read-only": lambda: hvd.allreduce_(read_only),
        "overlap": lambda: hvd.allreduce_(np.lib.stride_tricks.as_strided(np.ones(1), (3,), (0,))),
        "average of bool": lambda: hvd.allreduce(np.ones(3, bool)),
        "scale of integers": lambda: hvd.allreduce(np.ones(3, np.int32), op=hvd.Sum, prescale_factor=0.5),
        "root": lambda: hvd.broadcast(ones, size),
        "uneven": lambda: hvd.alltoall(np.ones(size + 1)),
        "splits": lambda: hvd.alltoall(ones, [1] * size + [1]),
        "0-d reducescatter": lambda: hvd.reducescatter(np.float32(1)),
        "process set": lambda: hvd.allreduce(ones, process_set=[0, 1]),
        "set not added": lambda: hvd.allreduce(ones, process_set=hvd.ProcessSet([0])),
        "unknown ranks": lambda: hvd.add_process_set([0, size]),
        "no such member": lambda: hvd.allreduce(ones, process_set=other),
        "shape": lambda: hvd.allreduce(np.ones(3 + rank), name="shape"),
        "type": lambda: hvd.allreduce(np.ones(3, np.float32 if rank else np.float64), name="type"),
    }
    other = hvd.add_process_set([(rank + 1) % size]) if size == 1 else hvd.add_process_set([0])
    said: dict[str, str] = {}
    for what, call in calls.items():
        if what == "no such member" and rank == 0:
            continue
        said[what] = _heard(call)
    for turn in range(size):
        if rank == turn:
            said["same name"] = _heard(lambda: [hvd.allreduce_async(ones, name="twice") for _ in range(2)])
        hvd.barrier()
        if rank != turn:  # not before: the first of the two is not to end between them
            hvd.allreduce(ones, name="twice")
    return said


def _heard(call: Callable[[], Any]) -> str:
    try:
        call()
    except (ValueError, TypeError, hvd.HorovodInternalError) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"
