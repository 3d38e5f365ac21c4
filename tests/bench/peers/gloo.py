"""Ranks of torch.distributed over Gloo: gloo.py c10d|ddp, started by the conductor without a launcher."""
import datetime
import sys

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from bench_rank import Contender, Gradients, join, obey, pass_on, place
from models import Step
from reduce_tensors import AllReduce

def meet(rank, size):
    """A process group; rank 0 lets the system choose the port."""
    patience = datetime.timedelta(seconds=60)
    if rank == 0:
        store = dist.TCPStore("127.0.0.1", 0, size, is_master=True, wait_for_workers=False, timeout=patience)
        pass_on(str(store.port))
    else:
        store = dist.TCPStore("127.0.0.1", int(pass_on()), size, is_master=False, timeout=patience)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=patience)


class GradientIs(torch.autograd.Function):
    """A parameter whose gradient is a given tensor."""

    @staticmethod
    def forward(ctx, parameter, gradient):
        ctx.gradient = gradient
        return parameter.new_zeros(())

    @staticmethod
    def backward(ctx, _):
        return ctx.gradient, None


class GivenGradients(torch.nn.Module):
    """A backward that takes no time of its own: gradients are there already, the last parameter's comes first."""

    def __init__(self, shapes):
        super().__init__()
        shapes = list(reversed(shapes))  # they come in the order of readiness
        self.weights = torch.nn.ParameterList(torch.zeros(shape) for shape in shapes)
        self.gradients = Gradients(torch.zeros(shape) for shape in shapes)

    def forward(self):
        return torch.stack([GradientIs.apply(*pair) for pair in zip(self.weights, self.gradients.tensors)]).sum()


class BackwardOfDdp(Contender):
    """The backward of a DistributedDataParallel model with the workload's parameters; its forward is not timed."""

    def __init__(self, workload, rank, size):
        self.rank, self.size = rank, size
        self.title = f"torch {torch.__version__} DDP over Gloo, a whole backward"
        self.model = GivenGradients(list(workload.shapes.values()))
        self.distributed = DistributedDataParallel(self.model, gradient_as_bucket_view=True)

    def fill(self, repetition):
        self.model.gradients.fill(self.rank, repetition)
        self.model.zero_grad()
        self.loss = self.distributed()

    def run(self):
        self.loss.backward()

    def verify(self, repetition):
        results = [weight.grad for weight in self.model.weights]
        self.model.gradients.verify(self.size, repetition, 1 / self.size, results)

    def give_back(self):
        self.model.gradients.give_back()


def step_of_ddp(workload, rank, size):
    def wrap(model, optimizer):
        return DistributedDataParallel(model, gradient_as_bucket_view=True), optimizer

    return Step(workload, rank, size, f"torch {torch.__version__} DDP over Gloo", wrap)


def main():
    rank, size = place()
    join(rank, size)
    meet(rank, size)
    if sys.argv[1] == "c10d":
        title = f"torch {torch.__version__} c10d all_reduce over Gloo"
        obey(lambda workload: AllReduce(workload, rank, size, title, lambda flat: dist.all_reduce(flat, async_op=True)))
    else:
        obey(lambda workload: (step_of_ddp if workload.is_step else BackwardOfDdp)(workload, rank, size))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
