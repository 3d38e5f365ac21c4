"""Ranks of Horovod's torch binding, started by its own launcher."""
import horovod
import horovod.torch as hvd
import torch

from bench_rank import Contender, Gradients, join, obey
from models import Step

TITLE = f"Horovod {horovod.__version__}"


class AllReduce(Contender):
    """Every tensor on its own and by name, all on their way at once: Horovod fuses them."""

    def __init__(self, workload):
        self.title = f"{TITLE}, every tensor averaged"
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


def step(workload):
    def wrap(model, optimizer):
        return model, hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())

    return Step(workload, hvd.rank(), hvd.size(), f"{TITLE} DistributedOptimizer", wrap)


def main():
    hvd.init()
    join(hvd.rank(), hvd.size())
    obey(lambda workload: step(workload) if workload.is_step else AllReduce(workload))
    hvd.shutdown()


if __name__ == "__main__":
    main()
