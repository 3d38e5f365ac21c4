"""Small functions that scripts took from here."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from horovod_cpp import cuda_built

T = TypeVar("T")

_FRAMEWORKS = ("torch",)


def extension_available(ext_base_name: str, verbose: bool = False) -> bool:
    """Whether `import horovod.<ext_base_name>` would work: "torch" if torch is installed."""
    is_there = ext_base_name in _FRAMEWORKS and importlib.util.find_spec(ext_base_name) is not None
    if verbose:
        print(f"horovod.{ext_base_name}: {'available' if is_there else 'not available'}")
    return is_there


def check_extension(ext_name: str, ext_env_var: str = "", pkg_path: str = "", *args: Any) -> None:
    """Raises ImportError unless `ext_name` ("horovod.torch") can be imported. The rest is for Horovod's scripts; not needed."""
    framework = ext_name.removeprefix("horovod.")
    if not extension_available(framework):
        raise ImportError(f"{ext_name}: horovod_cpp serves {', '.join(_FRAMEWORKS)}, where that is installed")


def gpu_available(ext_base_name: str, verbose: bool = False) -> bool:
    """Whether tensors of that framework on a GPU can be communicated."""
    if not (extension_available(ext_base_name, verbose) and cuda_built()):
        return False
    import torch

    return torch.cuda.is_available()


def num_rank_is_power_2(num_rank: int) -> bool:
    """Our Adasum does not ask for it."""
    return num_rank > 0 and num_rank & (num_rank - 1) == 0


def split_list(items: Sequence[T], parts: int) -> list[Sequence[T]]:
    """`parts` slices of `items` in their order, whose lengths differ by at most 1."""
    ends = [len(items) * part // parts for part in range(parts + 1)]
    return [items[start:end] for start, end in zip(ends, ends[1:])]


def is_iterable(value: Any) -> bool:
    return isinstance(value, Iterable)
