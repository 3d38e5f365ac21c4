"""Ranks without communication: alone.py, started by the conductor without a launcher. What the others of Python cost is compared with these."""
import torch

from bench_rank import join, obey, place
from models import Backward, Step

TITLE = f"torch {torch.__version__} from Python, the same without communication"


def as_it_is(model, optimizer):
    return model, optimizer


class AloneStep(Step):
    def verify(self, repetition):
        self.check_gradients([self.rank], repetition)


def make(workload, rank, size):
    if workload.is_step:
        return AloneStep(workload, rank, size, TITLE, as_it_is)
    return Backward(workload, 0, 1, TITLE, as_it_is)


def main():
    rank, size = place()
    join(rank, size)
    obey(lambda workload: make(workload, rank, size))


if __name__ == "__main__":
    main()
