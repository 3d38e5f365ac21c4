"""Ranks of Horovod's interface: horovod_torch.py horovod.torch|horovod_cpp.torch each|group|hooks, started by that package's launcher."""
import importlib
import sys

import torch

from bench_rank import Contender, Gradients, join, obey
from models import step_or_backward

PACKAGE = sys.argv[1].partition(".")[0]
hvd = importlib.import_module(sys.argv[1])
TITLE = f"{ {'horovod': 'Horovod', 'horovod_cpp': 'horovod_cpp Python'}[PACKAGE]} {importlib.import_module(PACKAGE).__version__}"


class Each(Contender):
    """Every tensor on its own and by name, in place, all on their way at once, as scripts without DistributedOptimizer do it."""

    def __init__(self, workload):
        self.title = f"{TITLE}, every tensor averaged: allreduce_async_, then synchronize"
        self.names = [f"{workload.name}/{name}" for name in workload.shapes]
        self.gradients = Gradients(torch.zeros(shape) for shape in workload.shapes.values())

    def fill(self, repetition):
        self.gradients.fill(hvd.rank(), repetition)

    def run(self):
        handles = [hvd.allreduce_async_(tensor, name=name, op=hvd.Average)
                   for tensor, name in zip(self.gradients.tensors, self.names)]
        for handle in handles:
            hvd.synchronize(handle)

    def verify(self, repetition):
        self.gradients.verify(hvd.size(), repetition, 1 / hvd.size())

    def give_back(self):
        self.gradients.give_back()


class Group(Each):
    """All tensors in one call, which are reduced together."""

    def __init__(self, workload):
        super().__init__(workload)
        self.title = f"{TITLE}, all tensors averaged as one group: grouped_allreduce_"
        self.name = workload.name

    def run(self):
        hvd.grouped_allreduce_(self.gradients.tensors, name=self.name, op=hvd.Average)


def distributed(workload, grouped):
    def wrap(model, optimizer):
        return model, hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters(),
                                               groups=1 if grouped else None)

    title = f"{TITLE} DistributedOptimizer" + (", one group" if grouped else "")
    return step_or_backward(workload, hvd.rank(), hvd.size(), title, wrap)


def make(workload, mode):
    if workload.is_step or mode == "hooks":
        return distributed(workload, mode == "group")
    return (Group if mode == "group" else Each)(workload)


def main():
    hvd.init()
    join(hvd.rank(), hvd.size())
    obey(lambda workload: make(workload, sys.argv[2]))
    hvd.shutdown()


if __name__ == "__main__":
    main()
