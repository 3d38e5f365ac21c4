"""What the Python examples have in common, and what is not about data parallelism: options, checkpoints, what a run prints.

A checkpoint is rank 0's file; a run may go on from it with another number of ranks. Losses and digests are for comparing runs, bit by bit.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import horovod_cpp.torch as hvd


def positive(word: str) -> int:
    """The type of an option that counts something."""
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {word}")
    return number


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults are shown where there are some, and lines stay as they are."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def add_run_options(parser: argparse.ArgumentParser, when: str) -> None:
    """Options that every training example has. when: when rank 0 saves, "after each epoch"."""
    parser.add_argument("--seed", type=int, default=1, help="of the initial parameters and of everything else that is random")
    parser.add_argument("--precision", choices=["float32", "float64"], default="float32")
    parser.add_argument("--checkpoint", type=Path, help=f"rank 0 saves here {when}")
    parser.add_argument("--resume", action="store_true", help="go on from --checkpoint")
    parser.add_argument("--loss-log", type=Path, help="rank 0 writes the mean loss of each step here, 17 digits a line")
    parser.add_argument(
        "--parameters-digest", action="store_true", help="each rank prints a digest of all bits of its parameters at the end"
    )


def share_cores() -> None:
    """Ranks share the cores of their host: each gets its part of them, unless OMP_NUM_THREADS says otherwise."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // hvd.local_size()))


def part_of(count: int) -> slice:
    """This rank's part of `count` things, which are divided among the ranks as evenly as possible."""
    return slice(count * hvd.rank() // hvd.size(), count * (hvd.rank() + 1) // hvd.size())


def random_numbers(seed: int, round_: int) -> torch.Generator:
    """The same on every rank, and other ones in each round: nothing has to be kept in a checkpoint."""
    return torch.Generator().manual_seed(seed * 1_000_003 + round_)


def save_checkpoint(options: argparse.Namespace, model: torch.nn.Module, optimizer: torch.optim.Optimizer, done: int) -> None:
    """Rank 0 writes model, optimizer and how far the run came. A run that is cut never leaves half a file."""
    if options.checkpoint is not None and hvd.rank() == 0:
        unfinished = options.checkpoint.with_suffix(".unfinished")
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "done": done}, unfinished)
        unfinished.rename(options.checkpoint)


def load_checkpoint(options: argparse.Namespace, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Rank 0 reads, and all ranks learn how far that run came. The others get model and optimizer when rank 0 broadcasts them."""
    done = 0
    failure = None
    if options.resume and hvd.rank() == 0:
        try:
            saved = torch.load(options.checkpoint, weights_only=True)
            model.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            done = saved["done"]
        except Exception as error:  # whatever is wrong with the file: every rank is told
            failure = f"cannot go on from {options.checkpoint}: {error}"
    done, failure = hvd.broadcast_object((done, failure), 0)
    if failure is not None:
        raise SystemExit(failure)
    return done


class Progress:
    """Prints a line a stage on rank 0: what it is called, the mean loss, and how many things a second all ranks worked on."""

    def __init__(self, unit: str, loss_log: Path | None) -> None:
        self._unit = unit
        self._log = loss_log.open("w") if loss_log is not None and hvd.rank() == 0 else None

    def begin(self) -> None:
        self._losses: list[float] = []
        self._units = 0
        self._started = time.perf_counter()

    def step(self, loss: float, units: int) -> None:
        """After each step: the mean loss of all ranks, and what they worked on together."""
        self._losses.append(loss)
        self._units += units
        if self._log is not None:
            print(f"{loss:.17g}", file=self._log, flush=True)

    def end(self, stage: str, remark: str = "") -> None:
        if hvd.rank() == 0 and self._losses:
            rate = self._units / (time.perf_counter() - self._started)
            mean = sum(self._losses) / len(self._losses)
            print(f"{stage}  loss {mean:.4f}  {rate:.0f} {self._unit}/s  {remark}".rstrip(), flush=True)


def print_parameters_digest(model: torch.nn.Module) -> None:
    """Another number if any bit of any parameter is another."""
    digest = hashlib.sha256(b"".join(parameter.detach().numpy().tobytes() for parameter in model.parameters()))
    print(f"rank {hvd.rank()} parameters {digest.hexdigest()[:16]}", flush=True)


def run(train: Callable[[Any], None], options: argparse.Namespace) -> None:
    """init(), train, shutdown()."""
    if options.resume and options.checkpoint is None:
        sys.exit("--resume needs --checkpoint")
    hvd.init()
    share_cores()
    train(options)
    hvd.shutdown()
