"""How sessions begin and end; run(); waits; what is kept and let go; what is said to mistakes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import horovod_cpp
import lifecycle_cases as cases

FULL = os.environ.get("HVD_TEST_ROUNDS") == "full"


def test_run_returns_the_results_of_all_ranks() -> None:
    assert horovod_cpp.run(cases.places, (2,), {"offset": 1}, np=3) == [(0, 0, 0, 3.0), (1, 1, 0, 3.0), (2, 2, 0, 3.0)]


def test_run_raises_what_a_rank_raised() -> None:
    with pytest.raises(KeyError, match="on purpose") as raised:
        horovod_cpp.run(cases.fails_on_one, (1,), np=2)
    assert "on rank 1" in str(raised.value.__cause__) and "fails_on_one" in str(raised.value.__cause__)


def test_run_names_a_rank_that_was_killed() -> None:
    with pytest.raises(horovod_cpp.HorovodInternalError, match="rank 1") as raised:
        horovod_cpp.run(cases.dies, (1,), np=2)
    assert "rank 1" in str(raised.value)


def test_a_rank_that_leaves_is_named_to_those_who_wait() -> None:
    _, said = horovod_cpp.run(cases.leaves_early, (0,), np=2)
    assert "rank 0" in said and "late" in said


def test_ctrl_c_ends_a_wait_within_a_second() -> None:
    assert horovod_cpp.run(cases.interrupted, np=2)[0] < 1.0


def test_waiting_leaves_the_interpreter_to_others() -> None:
    assert horovod_cpp.run(cases.other_threads_run, np=2)[0] > 1000


def test_a_forked_child_is_refused_and_harms_nobody() -> None:
    for words in horovod_cpp.run(cases.forks, np=2):
        assert all("was forked from" in one and "spawn" in one for one in words)


def test_many_sessions_in_one_process() -> None:
    for threads, bytes_a_round in horovod_cpp.run(cases.starts_anew, (1000 if FULL else 60,), np=2):
        assert threads <= 0
        assert bytes_a_round < (1024 if FULL else 16384)


def test_handles_that_nobody_waits_for() -> None:
    for bytes_a_round, alive in horovod_cpp.run(cases.drops_handles, (10_000 if FULL else 2_000,), np=2):
        assert bytes_a_round < (100 if FULL else 1024)
        assert alive == 0


def test_join() -> None:
    assert horovod_cpp.run(cases.joins, np=3) == [2, 2, 2]


def test_shutdown_is_the_end_until_init() -> None:
    assert all("was shut down" in words for words in horovod_cpp.run(cases.shuts_down_in_between, np=2))


def test_mistakes() -> None:
    expected = {
        "average and op": "ValueError: pass op or average",
        "op": "ValueError: op=17: expected Average",
        "complex": "ValueError: rank {}, allreduce",
        "list in place": "TypeError: rank {}, allreduce 'unnamed allreduce 0': expected a NumPy array, got list",
        "read-only": "read-only",
        "overlap": "share memory",
        "average of bool": "ValueError: rank {}",
        "scale of integers": "ValueError: rank {}",
        "root": "ValueError: rank {}, broadcast",
        "uneven": "cannot be divided evenly among 2 ranks: pass splits",
        "splits": "expected 2 numbers",
        "0-d reducescatter": "ValueError: rank {}, reducescatter",
        "process set": "TypeError: process_set: expected a ProcessSet",
        "set not added": "was not added",
        "unknown ranks": "ValueError",
        "no such member": "ValueError: rank {}",
        "shape": "MismatchError",
        "type": "MismatchError",
        "same name": "ValueError: rank {}, allreduce 'twice'",
    }
    for rank, said in enumerate(horovod_cpp.run(cases.mistakes, np=2)):
        for what, words in said.items():
            assert expected[what].format(rank) in words, f"rank {rank}, {what}: {words}"


def _python(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)


def test_importing_needs_no_framework() -> None:
    script = "import sys; sys.modules['torch'] = None; import horovod_cpp, horovod_cpp.numpy; print(horovod_cpp.check_build())"
    done = _python(script)
    assert done.returncode == 0, done.stderr
    assert "[X] NumPy" in done.stdout and "shared memory" in done.stdout
    assert "torch" not in _python("import sys, horovod_cpp.numpy; print(*sys.modules)").stdout.split()


def test_the_extension_links_no_framework() -> None:
    extension = next(Path(horovod_cpp.__file__).parent.glob("_core.*.so"))
    needed = subprocess.run(["readelf", "-d", str(extension)], capture_output=True, text=True, check=True).stdout
    assert "libhorovod_cpp" in needed
    assert not any(word in needed for word in ("torch", "cuda", "nccl", "mpi", "libpython"))


def test_one_process_alone() -> None:
    done = _python(
        "import horovod_cpp.numpy as hvd, numpy as np; hvd.init(); print(hvd.size(), hvd.allreduce(np.ones(2)), hvd.allgather([1, 2]))"
    )
    assert (done.returncode, done.stdout) == (0, "1 [1. 1.] [1 2]\n"), done.stderr


def test_before_init() -> None:
    done = _python("import horovod_cpp as hvd\ntry:\n  hvd.rank()\nexcept ValueError as error:\n  print(error)")
    assert "call init() first" in done.stdout


def test_run_explains_what_cannot_be_pickled() -> None:
    done = _python("import sys; sys.modules['cloudpickle'] = None\nimport horovod_cpp\nhorovod_cpp.run(lambda: 1, np=1)")
    assert "pip install cloudpickle" in done.stderr
