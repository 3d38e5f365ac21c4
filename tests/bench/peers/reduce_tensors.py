"""A contender that reduces float32 tensors by something that adds up one flat tensor in place."""
import torch

from bench_rank import Cannot, Contender, Gradients

BUCKET_ELEMENTS = 25 * 2**20 // 4  # DDP's default


class AllReduce(Contender):
    """start(flat) begins to sum over ranks and gives what to wait() for, or None if it is done.

    One tensor is reduced itself. Several: in buckets of 25 MiB, copied in and out, all on their way at once.
    """

    def __init__(self, workload, rank, size, title, start):
        if workload.is_step:
            raise Cannot("reduces tensors only")
        self.rank, self.size, self.title, self.start = rank, size, title, start
        self.gradients = Gradients(torch.zeros(shape) for shape in workload.shapes.values())
        self.buckets = []  # (flat tensor, [(gradient, its part)])
        if len(self.gradients.tensors) > 1:
            self.title += ", 25 MiB buckets with copies"
            self.make_buckets()

    def make_buckets(self):
        pending, elements = [], 0
        for tensor in self.gradients.tensors + [None]:
            if pending and (tensor is None or elements + tensor.numel() > BUCKET_ELEMENTS):
                flat = torch.zeros(elements)
                parts = flat.split([one.numel() for one in pending])
                self.buckets.append((flat, [(one.view(-1), part) for one, part in zip(pending, parts)]))
                pending, elements = [], 0
            if tensor is not None:
                pending.append(tensor)
                elements += tensor.numel()

    def fill(self, repetition):
        self.gradients.fill(self.rank, repetition)

    def run(self):
        if not self.buckets:
            work = self.start(self.gradients.tensors[0].view(-1))
            if work is not None:
                work.wait()
            return
        works = []
        for flat, parts in self.buckets:
            for gradient, part in parts:
                part.copy_(gradient)
            works.append(self.start(flat))
        for work, (_, parts) in zip(works, self.buckets):
            if work is not None:
                work.wait()
            for gradient, part in parts:
                gradient.copy_(part)

    def verify(self, repetition):
        self.gradients.verify(self.size, repetition, 1.0)

    def give_back(self):
        self.gradients.give_back()
