"""Mistakes of Horovod's users that end a job or keep it from starting: each ends in time, and what is said names who, why and what to do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import horovod_cpp
import job_cases as cases
from horovod_cpp.running import hvdrun_path

IMPATIENT = {"HVD_STALL_CHECK_TIME_SECONDS": "1", "HVD_STALL_SHUTDOWN_TIME_SECONDS": "2"}

# The argument is what rank 1 does, once the steady state has begun.
TRAINING = """
import os, signal, sys
import torch
import horovod_cpp.torch as hvd

hvd.init()
model = torch.nn.Linear(2, 1)
optimizer = hvd.DistributedOptimizer(torch.optim.SGD(model.parameters(), lr=0.1), model.named_parameters())
for step in range(1000):
    if hvd.rank() == 1 and step == 3:
        exec(sys.argv[1])
    optimizer.zero_grad()
    model(torch.ones(4, 2)).sum().backward()
    optimizer.step()
"""


def _python(
    *arguments: str, ranks: int = 1, timeout_s: float = 100, path: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """path: where the package is, if it is not this one."""
    launcher = [hvdrun_path(), "-np", str(ranks), "--no-prefix", "--no-bind"] if ranks > 1 else []
    package = str(path or Path(horovod_cpp.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": package, "OMP_NUM_THREADS": "1", **variables}
    command = [*launcher, sys.executable, "-B", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False)


def test_before_init() -> None:
    cases.before_init()


@pytest.mark.parametrize(
    "case", [cases.an_optimizer_of_before, cases.init_with_some_ranks, cases.without_descriptors], ids=lambda c: c.__name__
)
def test_is_told_on_every_rank(case: Callable[[], None]) -> None:
    horovod_cpp.run(case, np=2)


def test_fewer_steps_on_a_rank() -> None:
    _, said = horovod_cpp.run(cases.fewer_steps, np=2)
    negotiated, *steady = said
    assert "rank 0 shut down without submitting it" in negotiated and "Run the same number of steps on every rank" in negotiated
    assert len(steady) == 2
    for words in steady:
        assert "rank 0 has shut down" in words and "take the same number of steps" in words and "join()" in words


def test_too_large_an_allgather() -> None:
    for words in horovod_cpp.run(cases.too_large_an_allgather, np=2):
        assert "allgather 'everything'" in words and "its result of 134217728 bytes does not fit into this rank's memory" in words
        assert "take fewer rows at a time" in words


def test_a_call_on_some_ranks_only(capfd: pytest.CaptureFixture[str]) -> None:
    for words in horovod_cpp.run(cases.a_call_on_some_ranks, np=2, env=IMPATIENT):
        assert "submitted by rank" in words and "ended because HVD_STALL_SHUTDOWN_TIME_SECONDS asks for it" in words
    warned = capfd.readouterr().err
    for who in ("allreduce 'a metric' has waited 1 s: submitted by rank 0, not by rank 1", "submitted by rank 1, not by rank 0"):
        assert f"{who}. Either that rank is slow, or it takes another path through the program" in warned


def test_a_backward_on_some_ranks_only(capfd: pytest.CaptureFixture[str]) -> None:
    for words in horovod_cpp.run(cases.a_backward_on_some_ranks, np=2, env=IMPATIENT):
        assert "ended because HVD_STALL_SHUTDOWN_TIME_SECONDS asks for it" in words
    warned = capfd.readouterr().err
    assert "at the end of a backward of DistributedOptimizer 0 for rank 1, which still has to produce 4 of 4 gradients" in warned


@pytest.mark.parametrize(
    "mistake, status, words",
    [
        (
            "raise KeyError('bad data')",
            1,
            [
                "WorldError: .*rank 1 was ended by an exception: KeyError: 'bad data'",
                r"hvdrun: rank 1 \(pid \d+\) exited with status 1; the job has ended",
            ],
        ),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, ["WorldError: rank 1 .* is gone", "rank 1 .* was killed by SIGKILL"]),
    ],
    ids=["exception", "death"],
)
def test_a_rank_that_ends_ends_the_job(mistake: str, status: int, words: list[str]) -> None:
    done = _python("-c", TRAINING, mistake, ranks=2)
    assert done.returncode == status, done.stderr
    for one in words:
        assert re.search(one, done.stderr), f"{one}: {done.stderr}"


def test_a_rank_without_shared_memory_slows_the_job_down(capfd: pytest.CaptureFixture[str]) -> None:
    assert horovod_cpp.run(cases.without_shared_memory, np=2) == [2.0, 2.0]
    assert "shared memory cannot be had, and ranks go on more slowly" in (said := capfd.readouterr().err) and "see ulimit -f" in said


def test_settings() -> None:
    script = "import horovod_cpp; horovod_cpp.init()"
    done = _python("-c", script, ranks=2, HOROVOD_CYCLE_TIME="5", HOROVOD_FUSION_TRESHOLD="1")
    assert done.returncode == 0
    assert "HOROVOD_CYCLE_TIME has no effect: there is no cycle" in done.stderr
    assert "HOROVOD_FUSION_TRESHOLD is not a setting and has no effect; did you mean HOROVOD_FUSION_THRESHOLD?" in done.stderr
    done = _python("-c", script, ranks=2, HOROVOD_FUSION_THRESHOLD="lots")
    assert done.returncode == 1 and "HOROVOD_FUSION_THRESHOLD='lots': expected a whole number from 0 to" in done.stderr


def test_what_is_not_installed() -> None:
    lacks_torch = "import sys; sys.modules['torch'] = None\nimport horovod_cpp\nprint(horovod_cpp.check_build())"
    done = _python("-c", lacks_torch, HVD_PLUGIN_PATH="/nowhere")
    missing = [line for line in done.stdout.splitlines() if line.startswith("  [ ] ")]
    assert "  [ ] PyTorch: not installed: pip install torch" in missing, done.stderr
    assert all("install" in line.lower() for line in missing), missing
    done = _python("-c", f"{lacks_torch}\nimport horovod_cpp.torch")
    assert "ImportError: horovod_cpp.torch needs PyTorch, which is not installed here: pip install torch" in done.stderr


def test_an_extension_that_is_not_built(tmp_path: Path) -> None:
    package = Path(horovod_cpp.__file__).parent
    shutil.copytree(package, tmp_path / "horovod_cpp", ignore=shutil.ignore_patterns("_core.*.so", "bin", "*.dist-info"))
    done = _python("-c", "import horovod_cpp.torch", path=tmp_path)
    assert "its extension is not built for this Python" in done.stderr and "pip install ." in done.stderr


def test_elastic_training() -> None:
    script = "import horovod_cpp.as_horovod, sys; sys.modules['horovod_cpp.torch.elastic'] = None\nimport horovod.torch as hvd\nhvd.elastic"
    assert "no elastic training from Python yet; the C++ API has it (hvd::run_elastic)" in _python("-c", script).stderr
