"""What this installation can do."""

from __future__ import annotations

import importlib.util
from importlib import metadata

from . import _core
from ._process import world


def _line(what: str, is_there: bool, details: str) -> str:
    return f"  [{'X' if is_there else ' '}] {what}{': ' if details else ''}{details}"


def _plugin(what: str, name: str) -> str:
    is_usable, _, details = _core.probe_plugin(name)
    return _line(what, is_usable, details)


def _framework(what: str, package: str) -> str:
    """Without importing it."""
    if importlib.util.find_spec(package) is None:
        return _line(what, False, f"not installed: pip install {package}")
    try:
        return _line(what, True, metadata.version(package))
    except metadata.PackageNotFoundError:
        return _line(what, True, "")


def check_build() -> str:
    """A text for people: what is available, and why the rest is not."""
    mpi, nccl = _plugin("MPI", "mpi"), _plugin("NCCL", "cuda")
    return "\n".join(
        [
            f"horovod_cpp {_core.version}",
            "",
            "Frameworks:",
            _framework("NumPy", "numpy"),
            _framework("16-bit and 8-bit floats in NumPy (ml_dtypes)", "ml_dtypes"),
            _framework("PyTorch", "torch"),
            "",
            "Negotiation:",
            _line("shared memory", True, ""),
            _line("TCP", True, ""),
            mpi,
            "",
            "Tensor operations:",
            _line("shared memory", True, ""),
            _line("ring over TCP", True, ""),
            mpi,
            nccl,
        ]
    )


def mpi_built() -> bool:
    """Whether the MPI plugin is installed; whether it can be used here, check_build() says."""
    return _core.probe_plugin("mpi")[1]


def mpi_enabled() -> bool:
    """Whether this job's negotiation goes over MPI."""
    return "control mpi" in world().session.backends


def mpi_threads_supported() -> bool:
    """Whether MPI may be called from any thread; ours is called from one. Raises ValueError in a job without MPI, as Horovod does."""
    if not mpi_enabled():
        raise ValueError("mpi_threads_supported(): this job does not use MPI: start it with mpirun, or ask mpi_enabled() first")
    return True


def gloo_built() -> bool:
    """Whether ranks can communicate without MPI: always, by shared memory and TCP of our own."""
    return True


def gloo_enabled() -> bool:
    """Whether this job does."""
    return not mpi_enabled()


def nccl_built() -> bool:
    """Whether the plugin for NCCL is installed; whether it can be used here, check_build() says."""
    return _core.probe_plugin("cuda")[1]


def cuda_built() -> bool:
    """Whether the plugin for CUDA is installed."""
    return nccl_built()


def rocm_built() -> bool:
    """False: there is no plugin for ROCm."""
    return False


def ddl_built() -> bool:
    """False: there is no plugin for IBM DDL."""
    return False


def ccl_built() -> bool:
    """False: there is no plugin for oneCCL."""
    return False
