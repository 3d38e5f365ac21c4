"""Scripts that import horovod get this package where that was asked for, and nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from horovod_cpp.running import hvdrun_path

IMPORTS = """
import horovod
import horovod.torch as hvd
import horovod_cpp.torch as ours
from horovod.common.exceptions import HorovodInternalError, HostsUpdatedInterrupt
from horovod.common.process_sets import global_process_set
from horovod.common.util import check_extension, gpu_available, num_rank_is_power_2, split_list
from horovod.runner import run
from horovod.torch.compression import Compression
from horovod.torch.functions import broadcast_object
from horovod.torch.mpi_ops import Adasum, Average, Sum, allreduce_async_, rank, size, synchronize
from horovod.torch.optimizer import DistributedOptimizer

check_extension("horovod.torch", "HOROVOD_WITH_PYTORCH")
assert DistributedOptimizer is hvd.DistributedOptimizer is ours.DistributedOptimizer
assert Compression is hvd.Compression and hvd.mpi_ops.rank is rank
assert HorovodInternalError is ours.HorovodInternalError and Sum is ours.Sum
assert horovod.run is run and not num_rank_is_power_2(6) and split_list([1, 2, 3], 2) == [[1], [2, 3]]
assert all(hasattr(hvd, name) for name in ours.__all__)
hvd.init()
print(horovod.__version__, hvd.rank(), size())
"""

CHILDREN = """
import subprocess, sys
import torch
import horovod.torch as hvd

class Squares(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        import horovod.torch

        return torch.tensor(index**2)

if __name__ == "__main__":
    hvd.init()
    loader = torch.utils.data.DataLoader(Squares(), num_workers=1, multiprocessing_context="spawn")
    assert [int(one) for one in loader] == [0, 1, 4, 9]
    child = "import horovod, horovod_cpp; print(horovod.rank is horovod_cpp.rank)"
    print(subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout.strip())
"""


def _variables(path: Path | None = None, with_package: bool = True) -> dict[str, str]:
    """Of an interpreter that finds this package, and in `path` a Horovod that somebody has installed."""
    entries = [str(path)] if path else []
    entries += [entry for entry in sys.path if entry and with_package]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entries), "OMP_NUM_THREADS": "1", "HVD_START_TIMEOUT": "120"}


def _run(command: list[str], variables: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=variables, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def _installed_horovod(folder: Path) -> Path:
    (folder / "horovod").mkdir(parents=True)
    (folder / "horovod" / "__init__.py").write_text("is_the_installed_one = True\n")
    return folder


def test_hvdrun_gives_all_names(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(IMPORTS)
    command = [hvdrun_path(), "-np", "2", "--no-prefix", "--no-bind", "--as-horovod", sys.executable, "script.py"]
    done = _run(command, _variables(_installed_horovod(tmp_path / "site")), tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["0.28.1 0 2", "0.28.1 1 2"]


@pytest.mark.parametrize("options", [[], ["--fp16-allreduce"]], ids=["plain", "fp16"])
def test_a_script_for_horovod_runs_as_it_is(tmp_path: Path, options: list[str]) -> None:
    script = Path(__file__).parent / "horovod_script.py"
    assert "horovod_cpp" not in script.read_text()
    launcher = [hvdrun_path(), "-np", "2", "--gloo", "--cycle-time-ms", "1", "--no-prefix", "--no-bind", "--as-horovod"]
    done = _run([*launcher, sys.executable, str(script), *options], _variables(), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--cycle-time-ms has no effect" in done.stderr
    said = json.loads(done.stdout)
    assert said["losses"][-1] < said["losses"][0] / 2 and said["accuracy"] > 0.9
    assert said["last"] == 1 and said["total"] == [1.0, 1.0] and said["gathered"] == [0, 1, 1] and said["config"] == {"epochs": 6}
    assert [one["rank"] for one in said["fingerprints"]] == [0, 1]
    assert said["fingerprints"][0]["sum"] == said["fingerprints"][1]["sum"], "the ranks' models differ"


def test_children_of_a_rank_see_them(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(CHILDREN)
    command = [hvdrun_path(), "-np", "2", "--no-prefix", "--no-bind", "--as-horovod", sys.executable, "script.py"]
    done = _run(command, _variables(), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "True"]


def test_the_names_find_the_package(tmp_path: Path) -> None:
    """Of a build tree, which is in nobody's PYTHONPATH."""
    command = [hvdrun_path(), "-np", "1", "--no-bind", "--as-horovod", sys.executable, "-c", "import horovod; print(horovod.check_build)"]
    done = _run(command, _variables(with_package=False), tmp_path)
    assert done.returncode == 0 and "check_build" in done.stdout, done.stderr


def test_by_import(tmp_path: Path) -> None:
    script = f"import horovod_cpp.as_horovod\n{IMPORTS}"
    done = _run([sys.executable, "-c", script], _variables(_installed_horovod(tmp_path)), tmp_path)
    assert (done.returncode, done.stdout) == (0, "0.28.1 0 1\n"), done.stderr


def test_run_of_horovod(tmp_path: Path) -> None:
    script = """
import horovod_cpp.as_horovod, horovod

def place(factor):
    import horovod.torch as hvd
    hvd.init()
    return hvd.rank() * factor

if __name__ == "__main__":
    print(horovod.run(place, (3,), np=2, use_gloo=True, use_mpi=False, start_timeout=100))
    try:
        horovod.run(place, (3,), np=2, nonsense=1)
    except TypeError as error:
        print(error)
"""
    pytest.importorskip("cloudpickle")
    (tmp_path / "script.py").write_text(script)
    done = _run([sys.executable, "script.py"], _variables(_installed_horovod(tmp_path / "site")), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[0, 3]\nrun() has no argument nonsense")


def test_an_installed_horovod_is_left_alone(tmp_path: Path) -> None:
    script = "import horovod_cpp.torch, horovod; print(horovod.is_the_installed_one)"
    variables = _variables(_installed_horovod(tmp_path))
    assert _run([sys.executable, "-c", script], variables, tmp_path).stdout == "True\n"
    command = [hvdrun_path(), "-np", "1", "--no-bind", sys.executable, "-c", script]
    assert _run(command, variables, tmp_path).stdout == "True\n"


def test_elastic_is_what_the_package_has() -> None:
    script = """
import sys, types
import horovod_cpp.as_horovod, horovod_cpp.torch
import horovod.torch as hvd

ours = types.ModuleType("horovod_cpp.torch.elastic")
ours.run, ours.TorchState, ours.ElasticSampler = object(), object(), object()
sys.modules[ours.__name__] = ours
assert hvd.elastic.run is ours.run
from horovod.torch.elastic import TorchState
from horovod.torch.elastic.sampler import ElasticSampler
assert (TorchState, ElasticSampler) == (ours.TorchState, ours.ElasticSampler)
print("as it is")
"""
    done = _run([sys.executable, "-c", script], _variables(), Path.cwd())
    assert done.stdout == "as it is\n", done.stderr


def test_too_late_to_ask(tmp_path: Path) -> None:
    script = "import horovod\nimport horovod_cpp.as_horovod"
    done = _run([sys.executable, "-c", script], _variables(_installed_horovod(tmp_path)), tmp_path)
    assert "import horovod_cpp.as_horovod before horovod" in done.stderr


def test_what_is_not_there_is_said() -> None:
    script = """
import horovod_cpp.as_horovod
import horovod.torch as hvd
from horovod.common.util import check_extension
for attempt in (lambda: hvd.nonsense, lambda: check_extension("horovod.mxnet")):
    try:
        attempt()
    except (AttributeError, ImportError) as error:
        print(error)
"""
    done = _run([sys.executable, "-c", script], _variables(), Path.cwd())
    assert done.stdout.splitlines()[0] == "module 'horovod.torch' has no attribute 'nonsense'", done.stderr
    assert done.stdout.splitlines()[1].startswith("horovod.mxnet: horovod_cpp serves torch"), done.stderr
