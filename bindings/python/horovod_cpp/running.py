"""run(): a function on several ranks of this host, from an ordinary Python process."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from .exceptions import HorovodInternalError, WorldError

R = TypeVar("R")


class RankTraceback(Exception):
    """The cause of an exception that run() raises: where it was raised, on its rank."""

    def __init__(self, rank: int, text: str) -> None:
        super().__init__(f"on rank {rank}:\n{text}")


def hvdrun_path() -> str:
    """The launcher that belongs to this package."""
    return str(Path(__file__).parent / "bin" / "hvdrun")


def run(
    func: Callable[..., R],
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    np: int = 1,
    *,
    env: Mapping[str, str] | None = None,
    hvdrun_args: Sequence[str] = (),
    verbose: bool = False,
) -> list[R]:
    """Calls func(*args, **kwargs) on `np` ranks and returns their results, in the order of ranks.

    func: calls init() itself. It, its arguments and its results are pickled; with cloudpickle installed also functions of this script and
    lambdas.
    np: how many ranks, all on this host. What they print is printed here.
    env: variables besides this process's own.
    hvdrun_args: further options of hvdrun. verbose: hvdrun says what it starts.
    Raises what the first rank that failed has raised, with its traceback as __cause__; HorovodInternalError if a rank ended otherwise.
    """
    if np < 1:
        raise ValueError(f"run(np={np}): expected at least 1 rank")
    with tempfile.TemporaryDirectory(prefix="horovod_cpp.") as folder:
        Path(folder, "call").write_bytes(_pickled(func, tuple(args), dict(kwargs or {})))
        Path(folder, "path").write_bytes(pickle.dumps(sys.path))
        command = [hvdrun_path(), "-np", str(np), *hvdrun_args, *(["--verbose"] if verbose else [])]
        command += [sys.executable, "-m", "horovod_cpp._rank", folder]
        package_root = str(Path(__file__).parent.parent)
        inherited = os.environ.get("PYTHONPATH")
        variables = {**os.environ, "PYTHONPATH": package_root if not inherited else f"{package_root}{os.pathsep}{inherited}", **(env or {})}
        code = subprocess.run(command, env=variables, check=False).returncode
        return _results(folder, np, code)


def _pickled(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    try:
        import cloudpickle
    except ImportError:
        pass
    else:
        return bytes(cloudpickle.dumps((func, args, kwargs)))
    if getattr(func, "__module__", None) == "__main__" or "<" in getattr(func, "__qualname__", "<"):
        raise ValueError(
            f"run({func!r}): ranks cannot import a function of the main script, a lambda or an inner function: put it into a module, or "
            "pip install cloudpickle"
        )
    return pickle.dumps((func, args, kwargs))


def _results(folder: str, ranks: int, code: int) -> list[Any]:
    results: list[Any] = []
    failures: list[tuple[bool, int, int, BaseException, str]] = []
    missing: list[int] = []
    for rank in range(ranks):
        file = Path(folder, f"rank.{rank}")
        if not file.exists():
            missing.append(rank)
            continue
        is_ok, value, trace = pickle.loads(file.read_bytes())
        if is_ok:
            results.append(value)
        else:
            # What a rank raises because it has lost another one is not the cause.
            failures.append((isinstance(value, WorldError), file.stat().st_mtime_ns, rank, value, trace))
    own = [failure for failure in failures if not failure[0]]
    if own or (failures and not missing):
        _, _, rank, error, trace = min(own or failures, key=lambda failure: failure[:3])
        raise error from RankTraceback(rank, trace)
    if missing or code != 0:
        who = (
            f"rank{'s' if len(missing) > 1 else ''} {', '.join(map(str, missing))} ended without a result" if missing else "the job failed"
        )
        raise HorovodInternalError(f"run(): {who}; hvdrun ended with status {code}: what it printed says why")
    return results
