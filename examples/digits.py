"""Learns handwritten digits on any number of ranks. The lines with hvd. are all that data parallelism adds.

python examples/digits.py                  one process
hvdrun -np 2 python examples/digits.py     two ranks, each with half of the data
python examples/digits.py --help
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy
import torch
from torch import Tensor, nn
from torch.nn import functional

import horovod_cpp.torch as hvd
from shared.runs import (
    HelpFormatter,
    Progress,
    add_run_options,
    load_checkpoint,
    part_of,
    positive,
    print_parameters_digest,
    random_numbers,
    run,
    save_checkpoint,
)

TEST_IMAGES = 297
TRY_NEXT = """Try next:
  hvdrun -np 2 python examples/digits.py                                        twice the batch on two ranks
  hvdrun -np 2 python examples/digits.py --checkpoint /tmp/digits.pt --epochs 3
  hvdrun -np 3 python examples/digits.py --checkpoint /tmp/digits.pt --resume   go on, with another rank
  hvdrun -np 2 python examples/digits.py --global-batch-size 64 --parameters-digest
then read this file: the lines with hvd. are what data parallelism adds."""


def make_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(32 * 4 * 4, 64), nn.ReLU(),
        nn.Linear(64, 10),
    )  # fmt: skip


def default_data() -> Path:
    """What ./dev build has unpacked, or else the file that comes with scikit-learn: 1,797 images of 8 x 8 pixels from 0 to 16, and labels."""
    built = Path(__file__).parent.parent / "build/data/digits.csv"
    sklearn = importlib.util.find_spec("sklearn")
    if built.exists() or sklearn is None or sklearn.origin is None:
        return built
    return Path(sklearn.origin).parent / "datasets/data/digits.csv.gz"


def load(file: Path, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Images [count, 1, 8, 8] around zero and labels [count], shuffled; the last 297 are for testing."""
    if not file.exists():
        raise SystemExit(f"cannot read the digits from {file}: run ./dev build, or pip install scikit-learn, or give the file with --data")
    lines = torch.from_numpy(numpy.loadtxt(file, delimiter=","))
    lines = lines[torch.randperm(len(lines), generator=random_numbers(1797, 0))]
    return ((lines[:, :64] / 16 - 0.305) / 0.376).view(-1, 1, 8, 8).to(dtype), lines[:, 64].long()


def learning_rate_at(options: argparse.Namespace, epochs_done: float) -> float:
    """It grows with the batch. It starts as on one rank, because large steps from random weights diverge."""
    if options.global_batch_size:
        return options.learning_rate
    warm = min(1.0, epochs_done / options.warmup_epochs) if options.warmup_epochs > 0 else 1.0
    return options.learning_rate * (1 + (hvd.size() - 1) * warm)


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Each rank looks at its part of the images."""
    mine = part_of(len(labels))
    right = (network(images[mine]).argmax(1) == labels[mine]).sum()
    return hvd.allreduce(right, name="right", op=hvd.Sum).item() / len(labels)


def train(options: argparse.Namespace) -> None:
    dtype = getattr(torch, options.precision)
    images, labels = load(options.data, dtype)
    count = len(labels) - TEST_IMAGES

    torch.manual_seed(options.seed)
    network = make_network().to(dtype)
    optimizer = torch.optim.SGD(network.parameters(), options.learning_rate, momentum=0.9)
    first_epoch = load_checkpoint(options, network, optimizer)

    hvd.broadcast_parameters(network.state_dict(), root_rank=0)
    hvd.broadcast_optimizer_state(optimizer, root_rank=0)
    optimizer = hvd.DistributedOptimizer(optimizer, network.named_parameters())

    batch = options.global_batch_size or options.batch_size * hvd.size()
    batches = count // batch
    if batches == 0:
        raise SystemExit(f"a batch of {batch} over all ranks is more than the {count} training images: use a smaller --batch-size")
    progress = Progress("samples", options.loss_log)
    steps_left = options.steps or batches * options.epochs
    for epoch in range(first_epoch, options.epochs):
        # Every rank draws the same order, and takes its own part of each batch.
        order = torch.randperm(count, generator=random_numbers(options.seed, epoch))
        progress.begin()
        steps = min(batches, steps_left)
        for number in range(steps):
            optimizer.param_groups[0]["lr"] = learning_rate_at(options, epoch + number / batches)
            mine = order[number * batch : (number + 1) * batch][part_of(batch)]

            optimizer.zero_grad()
            # Averaged over ranks, this is the mean over the whole batch, also where parts differ in size.
            loss = functional.cross_entropy(network(images[mine]), labels[mine], reduction="sum") * hvd.size() / batch
            loss.backward()
            optimizer.step()

            progress.step(hvd.allreduce(loss.detach(), name="loss").item(), batch)
        progress.end(f"epoch {epoch + 1}/{options.epochs}")
        save_checkpoint(options, network, optimizer, epoch + 1 if steps == batches else epoch)
        steps_left -= steps
        if steps_left == 0:
            break

    if options.parameters_digest:
        print_parameters_digest(network)
    reached = accuracy(network, images[count:], labels[count:])
    if hvd.rank() == 0:
        print(f"test accuracy {100 * reached:.1f} %", flush=True)


def read_options() -> argparse.Namespace:
    what = "Learns 8 x 8 handwritten digits with a small convolutional network, on one or many ranks."
    parser = argparse.ArgumentParser(description=what, epilog=TRY_NEXT, formatter_class=HelpFormatter)
    parser.add_argument("--epochs", type=positive, default=10, help="train until this many epochs are done")
    parser.add_argument("--batch-size", type=positive, default=32, help="images per rank and step")
    parser.add_argument(
        "--global-batch-size", type=positive, help="images per step over all ranks, instead of --batch-size: the same training on any "
        "number of ranks, without scaling of the learning rate"
    )  # fmt: skip
    parser.add_argument("--learning-rate", type=float, default=0.02, help="for one rank; multiplied by the number of ranks")
    parser.add_argument("--warmup-epochs", type=float, default=1, help="the multiplication comes in gradually over these epochs")
    parser.add_argument("--steps", type=int, default=0, help="stop after this many steps; 0: when the epochs are done")
    parser.add_argument("--data", type=Path, default=default_data(), help="the digits, one a line")
    add_run_options(parser, "after each epoch")
    return parser.parse_args()


if __name__ == "__main__":
    run(train, read_options())
