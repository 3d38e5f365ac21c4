"""horovod.run()."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import horovod_cpp

R = TypeVar("R")


def _as_option(name: str, value: Any) -> list[str]:
    """An argument of horovod.run() as hvdrun's option; what the option means here, hvdrun says."""
    option = "--" + {"use_gloo": "gloo", "use_mpi": "mpi", "min_num_proc": "min-np", "max_num_proc": "max-np"}.get(
        name, name.replace("_", "-")
    )
    if value is None or value is False:
        return []
    if value is True:
        return [option]
    return [f"{option}={','.join(map(str, value)) if isinstance(value, (list, tuple)) else value}"]


_OPTIONS = {
    *("min_np", "max_np", "min_num_proc", "max_num_proc", "slots", "reset_limit", "hosts", "hostfile", "start_timeout", "ssh_port"),
    *("ssh_identity_file", "disable_cache", "output_filename", "use_gloo", "use_mpi", "mpi_args", "network_interfaces"),
    *("prefix_output_with_timestamp", "elastic_timeout"),
}


def run(
    func: Callable[..., R],
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    np: int = 1,
    *,
    num_proc: int | None = None,
    env: Mapping[str, str] | None = None,
    verbose: Any = False,
    executable: str | None = None,
    **options: Any,
) -> list[R]:
    """horovod_cpp.run() with Horovod's further arguments, which become hvdrun's options of the same names.

    num_proc: Horovod's newer name of np. executable: not needed. TypeError for an argument that Horovod does not have.
    """
    unknown = sorted(set(options) - _OPTIONS)
    if unknown:
        raise TypeError(f"run() has no argument {unknown[0]}; it has {', '.join(sorted(_OPTIONS))}")
    further = [word for name, value in options.items() for word in _as_option(name, value)]
    return horovod_cpp.run(func, args, kwargs, num_proc or np, env=env, verbose=bool(verbose), hvdrun_args=["--as-horovod", *further])
