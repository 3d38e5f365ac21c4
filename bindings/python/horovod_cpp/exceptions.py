"""What this package raises.

=======================  ==============================================================================================
``ValueError``           the caller's bug at this call; nothing was sent, go on
``NotInitializedError``  ``init()`` was not called (a ``ValueError``, as in Horovod)
``MismatchError``        ranks disagree about one operation: raised on every rank, go on
``StepDiscarded``        the backward of another rank failed: the step is dropped on all ranks, go on
``WorldError``           a rank was lost, a connection broke, a wait ran out or a rank has shut down: start anew
``UnavailableError``     not built, not installed or not possible here
``HorovodInternalError`` the base of the last four, which is what Horovod's scripts catch; alone: a bug of ours
=======================  ==============================================================================================

Messages say rank, operation, tensor, what was expected, what came, and what to do.
"""

from __future__ import annotations


class HorovodInternalError(RuntimeError):
    """A collective operation failed."""


class MismatchError(HorovodInternalError):
    """Ranks mean different things by one operation."""


class StepDiscarded(HorovodInternalError):
    """The backward of another rank failed, and the step is dropped on all ranks."""


class WorldError(HorovodInternalError):
    """This job cannot go on as it is: a rank, a connection or a device was lost, or a deadline has passed."""


class UnavailableError(HorovodInternalError):
    """Something is not built, not installed or not possible here; the message says what to do."""


class NotInitializedError(ValueError):
    """``init()`` has not been called, or ``shutdown()`` has."""


class HostsUpdatedInterrupt(RuntimeError):
    """Ranks are to join or leave an elastic job; its state is whole. skip_sync: only leave, so that nobody needs the state."""

    def __init__(self, skip_sync: bool = False) -> None:
        super().__init__("ranks are to join or leave this job")
        self.skip_sync = skip_sync
