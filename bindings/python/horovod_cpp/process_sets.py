"""Process sets: groups of ranks that communicate among themselves.

::

    pair = hvd.add_process_set([0, 1])          # on every rank, members or not
    if pair.included():
        hvd.allreduce(tensor, process_set=pair)

Sets may overlap. Names of operations belong to their set. Root ranks are ranks of the whole job, also in a set.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ._process import world


class ProcessSet:
    """Some ranks. It can be used once it was added: by init(process_sets=…) or add_process_set().

    ranks: ascending ranks of the job; None until init() for the set of all ranks.
    process_set_id: 0 for all ranks, None before it was added and after it was removed.
    """

    def __init__(self, ranks: Sequence[int]) -> None:
        self.process_set_id: int | None = None
        if not isinstance(ranks, Iterable):
            raise TypeError(f"ProcessSet({ranks!r}): expected several ranks, as [0, 1]")
        self._ranks: list[int] | None = sorted(int(rank) for rank in ranks)

    @property
    def ranks(self) -> list[int] | None:
        return self._ranks

    def _id(self) -> int:
        if self.process_set_id is None:
            raise ValueError(f"{self!r} was not added, or was removed: pass it to init(process_sets=…) or add_process_set() on every rank")
        return self.process_set_id

    def size(self) -> int:
        """How many ranks are members."""
        return len(world().members(self._id()))

    def rank(self) -> int:
        """The number of this process among the members. Raises ValueError if it is none of them."""
        members = world().members(self._id())
        if world().rank not in members:
            raise ValueError(f"rank {world().rank} is no member of {self!r}: ask included() first")
        return members.index(world().rank)

    def included(self) -> bool:
        """Whether this process is a member."""
        return world().rank in world().members(self._id())

    def __repr__(self) -> str:
        return f"ProcessSet(process_set_id={self.process_set_id}, ranks={self.ranks})"


class _AllRanks(ProcessSet):
    def __init__(self) -> None:
        super().__init__(())
        self.process_set_id = 0

    @property
    def ranks(self) -> list[int] | None:
        from ._process import is_initialized

        return list(range(world().size)) if is_initialized() else None


global_process_set: ProcessSet = _AllRanks()


def id_of(process_set: ProcessSet) -> int:
    """The number that the core knows the set by. Raises TypeError, ValueError."""
    return _checked(process_set)._id()


def _checked(process_set: ProcessSet) -> ProcessSet:
    if not isinstance(process_set, ProcessSet):
        raise TypeError(f"process_set: expected a ProcessSet, got {process_set!r}: add_process_set(ranks) makes one")
    return process_set


def add_process_set(process_set: ProcessSet | Sequence[int]) -> ProcessSet:
    """Collective over all ranks of the job, members or not, with the same ranks in any order.

    Raises MismatchError on every rank if they differ, ValueError for ranks that do not exist or come twice.
    """
    added = process_set if isinstance(process_set, ProcessSet) else ProcessSet(process_set)
    if added.process_set_id is not None and world().session.process_set(added.process_set_id) == added.ranks:
        raise ValueError(f"{added!r} was added before")
    current = world()
    added.process_set_id = current.synchronous(current.session.add_process_set(added.ranks or []))
    return added


def remove_process_set(process_set: ProcessSet) -> bool:
    """Collective over all ranks of the job. Wait for the set's operations first: what is pending ends with MismatchError.

    False if it is the set of all ranks or was not added.
    """
    if _checked(process_set).process_set_id in (None, 0):
        return False
    current = world()
    current.synchronous(current.session.remove_process_set(id_of(process_set)))
    process_set.process_set_id = None
    return True
