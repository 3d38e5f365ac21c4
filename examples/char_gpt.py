"""Learns to write, one character after the other, with a small transformer on any number of ranks.

The lines with hvd. are all that data parallelism adds. The model is in char_gpt_model.py.

hvdrun -np 2 python examples/char_gpt.py
python examples/char_gpt.py --help
"""

from __future__ import annotations

import argparse
import math
import sysconfig
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

import horovod_cpp.torch as hvd
from char_gpt_model import CharGpt
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

HELD_OUT_WINDOWS = 48
ENOUGH_BYTES = 100_000
TRY_NEXT = """Try next:
  hvdrun -np 2 python examples/char_gpt.py --text my-book.txt --steps 2000
  hvdrun -np 2 python examples/char_gpt.py --checkpoint /tmp/gpt.pt --stop-after 100
  hvdrun -np 3 python examples/char_gpt.py --checkpoint /tmp/gpt.pt --resume      go on, with another rank
then read this file: the lines with hvd. are what data parallelism adds."""


def default_text() -> list[Path]:
    """Prose that lies on nearly any machine: the licences of Debian, or else Python's own library. A file with several names counts once."""
    for folder, pattern in [(Path("/usr/share/common-licenses"), "*"), (Path(sysconfig.get_paths()["stdlib"]), "*.py")]:
        files = sorted({file.resolve() for file in folder.glob(pattern) if file.is_file()})
        if sum(file.stat().st_size for file in files) >= ENOUGH_BYTES:
            return files
    raise SystemExit("found no text to learn: give text of your own with --text FILE...")


def read_text(options: argparse.Namespace) -> bytes:
    """A character is a byte. Hosts may have other versions of a file: everybody learns rank 0's text."""
    text, failure = b"", None
    if hvd.rank() == 0:
        try:
            text = b"".join(file.read_bytes() for file in options.text or default_text()).translate(None, b"\f\r")
        except (OSError, SystemExit) as error:
            failure = str(error)
    text, failure = hvd.broadcast_object((text, failure), 0)
    if failure is not None:
        raise SystemExit(failure)
    if len(text) // 10 <= options.context:
        raise SystemExit(f"the text has {len(text)} characters: too few for a --context of {options.context}")
    return text


def make_optimizer(model: CharGpt, options: argparse.Namespace) -> torch.optim.Optimizer:
    """Weights decay, norms do not."""
    weights = [parameter for parameter in model.parameters() if parameter.dim() >= 2]
    norms = [parameter for parameter in model.parameters() if parameter.dim() < 2]
    groups = [{"params": weights, "weight_decay": options.weight_decay}, {"params": norms, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, options.learning_rate, betas=(0.9, 0.95))


def learning_rate_at(options: argparse.Namespace, step: int) -> float:
    """Up to the full rate in a straight line, then down to a tenth of it on a cosine."""
    if step < options.warmup_steps:
        return options.learning_rate * (step + 1) / options.warmup_steps
    done = (step - options.warmup_steps) / max(options.steps - options.warmup_steps, 1)
    return options.learning_rate * (0.55 + 0.45 * math.cos(math.pi * done))


def windows(text: Tensor, starts: Tensor, context: int) -> Tensor:
    """The characters from each start on, one more than the model sees at once: int64 [starts, context + 1]."""
    return text.unfold(0, context + 1, 1)[starts].long()


def loss_of(model: CharGpt, pieces: Tensor) -> Tensor:
    """Summed over all characters but the first of each window."""
    return functional.cross_entropy(model(pieces[:, :-1]).flatten(0, 1), pieces[:, 1:].flatten(), reduction="sum")


@torch.no_grad()
def held_out_loss(model: CharGpt, text: Tensor) -> float:
    """The mean loss of a character in windows that are spread evenly over the text. Each rank takes its part of them."""
    model.eval()
    count = min(HELD_OUT_WINDOWS, len(text) // (model.context + 1))
    starts = torch.arange(count) * (len(text) - model.context - 1) // count
    total = torch.zeros((), dtype=torch.double)
    for start in starts[part_of(count)]:
        total += loss_of(model, windows(text, start[None], model.context))
    model.train()
    return hvd.allreduce(total, name="held-out loss", op=hvd.Sum).item() / (count * model.context)


def train(options: argparse.Namespace) -> None:
    text = read_text(options)
    vocabulary = bytes(sorted(set(text)))
    number_of = {character: number for number, character in enumerate(vocabulary)}
    characters = torch.tensor([number_of[character] for character in text], dtype=torch.uint8)
    learned, held_out = characters[: len(text) * 9 // 10], characters[len(text) * 9 // 10 :]

    torch.manual_seed(options.seed)
    model = CharGpt(len(vocabulary), options.context, options.width, options.layers, options.heads, options.dropout)
    model.to(getattr(torch, options.precision))
    optimizer = make_optimizer(model, options)
    step = load_checkpoint(options, model, optimizer)

    hvd.broadcast_parameters(model.state_dict(), root_rank=0)
    hvd.broadcast_optimizer_state(optimizer, root_rank=0)
    optimizer = hvd.DistributedOptimizer(optimizer, model.named_parameters())
    torch.manual_seed(options.seed + 1 + hvd.rank())  # dropout differs

    batch = options.global_batch_size
    if batch < hvd.size():
        raise SystemExit(f"--global-batch-size {batch} is less than the {hvd.size()} ranks")
    last = min(options.steps, options.stop_after or options.steps)
    before = held_out_loss(model, held_out)
    if hvd.rank() == 0:
        parameters = sum(parameter.numel() for parameter in model.parameters())
        print(f"{parameters} parameters, {len(text)} characters of text, held-out loss {before:.4f}", flush=True)
    progress = Progress("characters", options.loss_log)
    while step < last:
        stage_end = min(last, (step // options.evaluate_every + 1) * options.evaluate_every)
        progress.begin()
        for number in range(step, stage_end):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(options, number)
            # Every rank draws the same batch, and takes its own part of it.
            starts = torch.randint(len(learned) - options.context, (batch,), generator=random_numbers(options.seed, number))
            mine = windows(learned, starts[part_of(batch)], options.context)

            optimizer.zero_grad()
            # Averaged over ranks, this is the mean over the whole batch, also where parts differ in size.
            loss = loss_of(model, mine) * hvd.size() / (batch * options.context)
            loss.backward()
            # Of the average: all ranks clip alike.
            torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip)
            optimizer.step()

            progress.step(hvd.allreduce(loss.detach(), name="loss").item(), batch * options.context)
        step = stage_end
        progress.end(f"step {step}/{options.steps}", f"held-out loss {held_out_loss(model, held_out):.4f}")
        save_checkpoint(options, model, optimizer, step)

    if options.parameters_digest:
        print_parameters_digest(model)
    if hvd.rank() == 0 and options.sample_length > 0:
        prompt = [number_of[character] for character in options.prompt.encode() if character in number_of] or [0]
        written = model.go_on(prompt, options.sample_length, options.temperature, random_numbers(options.seed, 0))
        print(f"---- sample\n{bytes(vocabulary[number] for number in written).decode(errors='replace')}\n----", flush=True)


def read_options() -> argparse.Namespace:
    what = "Learns to write, one character after the other, with a small transformer, on one or many ranks."
    parser = argparse.ArgumentParser(description=what, epilog=TRY_NEXT, formatter_class=HelpFormatter)
    add = parser.add_argument
    add("--text", type=Path, nargs="+", help="files to learn, one after the other; without: the licences of Debian, or Python's library")
    add("--global-batch-size", type=positive, default=24, help="pieces of text per step over all ranks: the same training on any number")
    add("--context", type=positive, default=64, help="characters that the model sees at most")
    add("--layers", type=positive, default=4, help="of attention and two linear layers each")
    add("--heads", type=positive, default=6, help="of attention, in each layer")
    add("--width", type=positive, default=192, help="of the vectors between layers; a multiple of --heads")
    add("--dropout", type=float, default=0.0, help="share of values that are left out while learning")
    add("--steps", type=positive, default=300, help="the whole training, over which the learning rate falls")
    add("--stop-after", type=positive, help="stop and save at this step already: --resume goes on")
    add("--evaluate-every", type=positive, default=50, help="steps between evaluations on the last tenth of the text")
    add("--learning-rate", type=float, default=3e-3, help="the highest")
    add("--warmup-steps", type=int, default=30, help="until it is reached")
    add("--weight-decay", type=float, default=0.1, help="of everything but norms")
    add("--clip", type=float, default=1, help="longest gradient")
    add("--prompt", default="The ", help="how the sample begins")
    add("--sample-length", type=int, default=400, help="characters that rank 0 writes at the end")
    add("--temperature", type=float, default=0.8, help="of the sample; lower is more cautious")
    add_run_options(parser, "after each evaluation")
    return parser.parse_args()


if __name__ == "__main__":
    run(train, read_options())
