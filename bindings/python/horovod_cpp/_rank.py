"""The program that a rank of run() is: python -m horovod_cpp._rank FOLDER."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any

from ._process import end_because_of
from .exceptions import HorovodInternalError


def _dumps(value: Any) -> bytes:
    try:
        import cloudpickle
    except ImportError:
        return pickle.dumps(value)
    return bytes(cloudpickle.dumps(value))


def _write(folder: Path, is_ok: bool, value: Any, trace: str) -> None:
    rank = os.environ["HVD_RANK"]
    try:
        content = _dumps((is_ok, value, trace))
        pickle.loads(content)
    except Exception as error:  # noqa: BLE001: whatever pickling a stranger's object raises
        what = f"returned {type(value).__name__}" if is_ok else f"raised {type(value).__name__}: {value}"
        content = pickle.dumps((False, HorovodInternalError(f"rank {rank} {what}, which cannot be pickled: {error}"), trace))
    unfinished = folder / f"unfinished.{rank}"
    unfinished.write_bytes(content)
    unfinished.rename(folder / f"rank.{rank}")


def main() -> int:
    folder = Path(sys.argv[1])
    for entry in pickle.loads((folder / "path").read_bytes()):
        if entry not in sys.path:
            sys.path.append(entry)
    try:
        func, args, kwargs = pickle.loads((folder / "call").read_bytes())
        result = func(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001: it is raised again, elsewhere
        _write(folder, False, error, traceback.format_exc())
        end_because_of(error)
        # At once and without a goodbye: the others must not wait for this rank, nor it for them.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
    _write(folder, True, result, "")
    return 0


if __name__ == "__main__":
    sys.exit(main())
