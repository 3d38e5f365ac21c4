"""How many images a second a small convolutional network learns from, on any number of ranks. The images are random numbers.

python examples/synthetic_benchmark.py                  one process, to compare with
hvdrun -np 2 python examples/synthetic_benchmark.py
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import nn
from torch.nn import functional

import horovod_cpp.torch as hvd
from shared.runs import positive, share_cores

CLASSES = 100


def make_model() -> nn.Module:
    """For images of 3 x 32 x 32: 298,372 parameters."""

    def stage(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(*stage(3, 32), *stage(32, 64), *stage(64, 128), nn.Flatten(), nn.Linear(128 * 4 * 4, CLASSES))


def benchmark(options: argparse.Namespace) -> None:
    torch.manual_seed(1)
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01 * hvd.size())
    compression = hvd.Compression.fp16 if options.fp16_allreduce else hvd.Compression.none
    optimizer = hvd.DistributedOptimizer(optimizer, model.named_parameters(), compression=compression)
    hvd.broadcast_parameters(model.state_dict(), root_rank=0)
    images = torch.randn(options.batch_size, 3, 32, 32)
    labels = torch.randint(CLASSES, (options.batch_size,))

    def steps(count: int) -> float:
        """Images a second of this rank."""
        started = time.perf_counter()
        for _ in range(count):
            optimizer.zero_grad()
            functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        return count * options.batch_size / (time.perf_counter() - started)

    def say(words: str) -> None:
        if hvd.rank() == 0:
            print(words, flush=True)

    say(f"{sum(parameter.numel() for parameter in model.parameters())} parameters, batch size {options.batch_size}, {hvd.size()} ranks")
    if options.num_warmup_batches > 0:
        steps(options.num_warmup_batches)
    rates = []
    for number in range(options.num_iters):
        rates.append(steps(options.num_batches_per_iter))
        say(f"Iter #{number}: {rates[-1]:.1f} img/sec per rank")
    # Ranks wait for each other in every step: one's rate is everybody's.
    mean, spread = statistics.mean(rates), 1.96 * statistics.pstdev(rates)
    say(f"Img/sec per rank: {mean:.1f} +-{spread:.1f}")
    say(f"Total img/sec on {hvd.size()} rank(s): {hvd.size() * mean:.1f} +-{hvd.size() * spread:.1f}")


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=positive, default=32, help="images per rank and step")
    parser.add_argument("--num-warmup-batches", type=int, default=10, help="steps that are not counted")
    parser.add_argument("--num-batches-per-iter", type=positive, default=10, help="steps per measurement")
    parser.add_argument("--num-iters", type=positive, default=10, help="measurements")
    parser.add_argument("--fp16-allreduce", action="store_true", help="gradients cross wires as float16; ranks of one host share memory")
    return parser.parse_args()


if __name__ == "__main__":
    options = read_options()
    hvd.init()
    share_cores()
    benchmark(options)
    hvd.shutdown()
