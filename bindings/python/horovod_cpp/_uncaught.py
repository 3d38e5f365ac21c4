"""What ends this program, so that it can be told to the other ranks at exit."""

from __future__ import annotations

import sys
from types import TracebackType

_uncaught: BaseException | None = None


def watch_for_uncaught() -> None:
    """From now on; call it once. Where there is a prompt, or will be one (python -i), an exception ends nothing."""
    before = sys.excepthook

    def hook(kind: type[BaseException], value: BaseException, traceback: TracebackType | None) -> None:
        global _uncaught
        if not hasattr(sys, "ps1") and not sys.flags.interactive:
            _uncaught = value
        before(kind, value, traceback)

    sys.excepthook = hook


def uncaught() -> BaseException | None:
    """What has ended the main thread."""
    return _uncaught
