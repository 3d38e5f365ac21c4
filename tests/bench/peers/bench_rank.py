"""A contender's rank in Python: the loop is rank_api.cpp's, the contender is a class here.

    class Mine(Contender): ...
    serve(rank, size, lambda workload: Mine(workload))
"""
import ctypes
import os
import traceback

import torch

_lib = ctypes.CDLL(os.environ["HVDBENCH_LIBRARY"])
_call = ctypes.CFUNCTYPE(ctypes.c_int)
_call_with_number = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
_prepare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int)
WELL, FAILED, CANNOT = 0, 1, 2


class _Calls(ctypes.Structure):
    _fields_ = [("prepare", _prepare), ("fill", _call_with_number), ("run", _call), ("verify", _call_with_number),
                ("give_back", _call), ("drop", _call)]


_lib.hvd_bench_pass_on.restype = ctypes.c_char_p
_lib.hvd_bench_set_digest.argtypes = [ctypes.c_uint64]
_memory = [ctypes.c_void_p, ctypes.c_size_t]
_lib.hvd_bench_fill.argtypes = _memory + [ctypes.c_size_t, ctypes.c_int, ctypes.c_int]
_lib.hvd_bench_verify.argtypes = _memory + [ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_double]
_lib.hvd_bench_give_back.argtypes = _memory
_lib.hvd_bench_digest.argtypes = _memory + [ctypes.c_uint64]
_lib.hvd_bench_digest.restype = ctypes.c_uint64


class Cannot(Exception):
    """This contender does not do such work."""


class Wrong(Exception):
    """A result is not what it must be."""


class Workload:
    """name; shapes: name -> list, in the order of readiness; is_step: a training step, shapes are of its parameters."""

    def __init__(self, name, lines, is_step):
        self.name = name
        self.is_step = is_step
        self.shapes = {}
        for line in lines.splitlines():
            words = line.split()
            self.shapes[words[0]] = [int(word) for word in words[1:]]


class Contender:
    """contender.h, with exceptions for errors."""

    title = ""

    def fill(self, repetition):
        raise NotImplementedError

    def run(self):
        raise NotImplementedError

    def verify(self, repetition):
        raise NotImplementedError

    def give_back(self):
        pass


class Gradients:
    """Float32 tensors filled with numbers whose reduction is known (gradients.h), contiguous and on the CPU."""

    def __init__(self, tensors):
        self.tensors = list(tensors)
        self.first = []
        elements = 0
        for tensor in self.tensors:
            self.first.append(elements)
            elements += tensor.numel()

    def fill(self, rank, repetition):
        for tensor, first in zip(self.tensors, self.first):
            _lib.hvd_bench_fill(tensor.data_ptr(), tensor.numel(), first, rank, repetition)

    def verify(self, ranks, repetition, factor, results=None):
        for tensor, first in zip(self.tensors if results is None else results, self.first):
            if _lib.hvd_bench_verify(tensor.data_ptr(), tensor.numel(), first, ranks, repetition, factor) != 0:
                raise Wrong()

    def give_back(self):
        for tensor in self.tensors:
            _lib.hvd_bench_give_back(tensor.data_ptr(), tensor.numel())


def set_digest(tensors):
    """Says what all ranks must have the same bits of."""
    digest = 0
    for tensor in tensors:
        digest = _lib.hvd_bench_digest(tensor.data_ptr(), tensor.numel(), digest)
    _lib.hvd_bench_set_digest(digest)


def place():
    """Rank and size of a process that the conductor started itself."""
    return int(os.environ["HVDBENCH_RANK"]), int(os.environ["HVDBENCH_SIZE"])


def join(rank, size):
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // size))
    if _lib.hvd_bench_join(rank, size) != 0:
        raise SystemExit(1)


def pass_on(letter=""):
    """Rank 0's letter, on every rank."""
    received = _lib.hvd_bench_pass_on(letter.encode())
    if received is None:
        raise RuntimeError("rank 0 passed nothing on")
    return received.decode()


def _guarded(call):
    """Runs it and turns what it raises into a result and a complaint."""
    try:
        call()
        return WELL
    except Wrong as wrong:
        if str(wrong):
            _lib.hvd_bench_complain(str(wrong).encode())
        return FAILED
    except Cannot as why:
        _lib.hvd_bench_complain(str(why).encode())
        return CANNOT
    except Exception as failure:  # whatever a peer raises is its failure, and no reason to hang
        traceback.print_exc()
        _lib.hvd_bench_complain(f"{type(failure).__name__}: {failure}".encode())
        return FAILED


def obey(make):
    """Until the conductor lets this rank go. make(workload) gives a Contender, or raises Cannot."""
    current = []

    def prepare(name, lines, is_step):
        def make_it():
            current[:] = [make(Workload(name.decode(), lines.decode(), bool(is_step)))]
            _lib.hvd_bench_set_title(current[0].title.encode())

        return _guarded(make_it)

    calls = _Calls(
        _prepare(prepare),
        _call_with_number(lambda repetition: _guarded(lambda: current[0].fill(repetition))),
        _call(lambda: _guarded(current[0].run)),
        _call_with_number(lambda repetition: _guarded(lambda: current[0].verify(repetition))),
        _call(lambda: _guarded(current[0].give_back)),
        _call(lambda: _guarded(current.clear)))
    _lib.hvd_bench_obey(ctypes.byref(calls))
