"""``import horovod_cpp.as_horovod``, first of all imports: from then on ``import horovod.torch as hvd`` gets this package.

A script for Horovod needs no change if it runs under ``hvdrun --as-horovod``, which has the same effect on every interpreter below it. After
the import the names last as long as this process; children of multiprocessing see them too, other programs do not. A Horovod that is
installed is left alone by everything else in this package, and here raises ImportError only if it was imported before.
"""

from __future__ import annotations

import sys
from pathlib import Path

# Holds a package horovod that has nothing but names. hvdrun finds it from its own place (launcher/horovod_names.cpp).
FOLDER = str(Path(__file__).parent / "horovod_names")


def _come_first() -> None:
    loaded = sys.modules.get("horovod")
    origin = getattr(loaded, "__file__", None) or ""
    if loaded is not None and not origin.startswith(FOLDER):
        raise ImportError(f"import horovod_cpp.as_horovod before horovod: {origin or loaded!r} is imported already")
    sys.path[:] = [FOLDER, *(entry for entry in sys.path if entry != FOLDER)]


_come_first()
