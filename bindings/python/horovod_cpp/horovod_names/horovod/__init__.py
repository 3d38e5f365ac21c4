"""The package horovod, as far as scripts import it; all of it is horovod_cpp. See horovod_cpp.as_horovod."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("horovod_cpp") is None:  # hvdrun of a build tree
    sys.path.append(str(Path(__file__).parents[3]))

from horovod_cpp import *  # noqa: E402, F403
from horovod_cpp import __all__ as _ours  # noqa: E402

from .runner import run as run  # noqa: E402

# The release whose names these are: scripts compare it.
__version__ = "0.28.1"

__all__ = ["__version__", "run", *(name for name in _ours if name not in ("__version__", "run"))]
