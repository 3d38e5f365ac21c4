"""Ranks that stay up: one job of hvdrun that calls functions for one pytest process, so that a test costs milliseconds and not imports.

A job in which a case has failed, or did not end in time, is killed, and the next case gets a new one.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import Any


class CaseFailed(AssertionError):
    """What happened on every rank that failed."""


def _send(connection: socket.socket, value: Any) -> None:
    content = pickle.dumps(value)
    connection.sendall(struct.pack("<Q", len(content)) + content)


def _receive_exactly(connection: socket.socket, count: int) -> bytes:
    content = bytearray()
    while len(content) < count:
        part = connection.recv(count - len(content))
        if not part:
            raise EOFError("the process has ended")
        content += part
    return bytes(content)


def _receive(connection: socket.socket) -> Any:
    (count,) = struct.unpack("<Q", _receive_exactly(connection, 8))
    return pickle.loads(_receive_exactly(connection, count))


class RankPool:
    def __init__(self, ranks: int, variables: dict[str, str]) -> None:
        from horovod_cpp.running import hvdrun_path

        self._folder = tempfile.TemporaryDirectory(prefix="hvd_python_tests.")
        listener = socket.socket(socket.AF_UNIX)
        address = os.path.join(self._folder.name, "socket")
        listener.bind(address)
        listener.listen(ranks)
        listener.settimeout(120)
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self._job = subprocess.Popen(
            [hvdrun_path(), "-np", str(ranks), "--no-bind", sys.executable, __file__, address],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HVD_START_TIMEOUT": "120", **variables},
        )
        self._connections: dict[int, socket.socket] = {}
        with listener:
            for _ in range(ranks):
                connection, _ = listener.accept()
                self._connections[_receive(connection)] = connection
        self.is_whole = True

    def call(self, case: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], timeout_s: float) -> list[Any]:
        for connection in self._connections.values():
            with contextlib.suppress(OSError):  # it has ended, which the answer says
                _send(connection, (case, args, kwargs))
        deadline = time.monotonic() + timeout_s
        results: dict[int, Any] = {}
        failures: dict[int, str] = {}
        for rank, connection in sorted(self._connections.items()):
            # Who waits for one that has failed has nothing to tell.
            connection.settimeout(2.0 if failures else max(0.1, deadline - time.monotonic()))
            try:
                is_ok, value = _receive(connection)
            except (OSError, EOFError) as error:
                is_ok, value = False, f"no answer: {error}"
            if is_ok:
                results[rank] = value
            else:
                failures[rank] = value
        if failures:
            self.close()
            raise CaseFailed("\n".join(f"rank {rank} of {len(self._connections)}: {what}" for rank, what in sorted(failures.items())))
        return [results[rank] for rank in sorted(results)]

    def close(self) -> None:
        self.is_whole = False
        for connection in self._connections.values():
            connection.close()
        try:
            self._job.wait(10)
        except subprocess.TimeoutExpired:
            self._job.terminate()
            try:
                self._job.wait(15)
            except subprocess.TimeoutExpired:
                self._job.kill()
                self._job.wait()
        self._folder.cleanup()


def serve(address: str) -> None:
    import horovod_cpp

    horovod_cpp.init()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    _send(connection, horovod_cpp.rank())
    while True:
        try:
            case, args, kwargs = _receive(connection)
        except (EOFError, ConnectionError):
            break
        try:
            answer = (True, case(*args, **kwargs))
        except BaseException:  # noqa: BLE001: told to the test
            answer = (False, traceback.format_exc())
        try:
            _send(connection, answer)
        except OSError:
            break
    horovod_cpp.shutdown()


if __name__ == "__main__":
    serve(sys.argv[1])
