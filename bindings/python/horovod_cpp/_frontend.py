"""Frontend: what the collectives must know of a framework's arrays. One implementation a framework."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeVar

from ._core import DataType, DeviceType, GatheredMemory
from ._world import Shape

A = TypeVar("A")


class Facts(NamedTuple):
    """What ranks must agree on (but for the device's index)."""

    dtype: DataType
    shape: Shape
    device: DeviceType = DeviceType.cpu
    device_index: int = 0


class Frontend(Protocol[A]):
    """Arrays are never changed but by assign() and by the addresses given out."""

    def facts(self, array: A) -> Facts:
        """Raises TypeError for what is no array of the framework, ValueError for one that cannot be communicated."""

    def check_writable(self, array: A) -> None:
        """Raises ValueError, with the remedy, if a result cannot be put into it."""

    def contiguous(self, array: A) -> A:
        """Row-major; the array itself if it is."""

    def address(self, array: A) -> int:
        """Of the first element of a contiguous array."""

    def empty(self, shape: Shape, like: A) -> A:
        """Contiguous, of `like`'s type and device; contents unspecified."""

    def over(self, memory: GatheredMemory, shape: Shape, like: A) -> A:
        """An array of `like`'s type on this memory, which it keeps alive."""

    def assign(self, target: A, source: A) -> None:
        """The same shape; any strides."""

    def written(self, array: A) -> None:
        """The array's memory was written behind the framework's back."""


AnyFrontend = Frontend[Any]
