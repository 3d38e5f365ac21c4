"""The programs in examples/, as a newcomer starts them, briefly; the same training on one rank and on two."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import horovod_cpp
from horovod_cpp.running import hvdrun_path

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
GPT = ["char_gpt.py", "--layers", "1", "--width", "16", "--heads", "2", "--context", "16", "--global-batch-size", "7", "--steps", "12"]
GPT += ["--evaluate-every", "6", "--precision", "float64"]
DIGITS = ["digits.py", "--global-batch-size", "60", "--precision", "float64"]


def start(ranks: int, program: str, *options: object) -> subprocess.CompletedProcess[str]:
    """On one rank: without a launcher."""
    launcher = [hvdrun_path(), "-np", str(ranks), "--no-bind"] if ranks > 1 else []
    package = str(Path(horovod_cpp.__file__).parent.parent)
    variables = {**os.environ, "PYTHONPATH": package, "OMP_NUM_THREADS": "1", "HVD_START_TIMEOUT": "120"}
    command = [*launcher, sys.executable, str(EXAMPLES / program), *map(str, options)]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=600, check=False)


def output_of(ranks: int, program: str, *options: object) -> str:
    done = start(ranks, program, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def losses(file: Path) -> list[float]:
    return [float(line) for line in file.read_text().split()]


def digests(output: str) -> list[str]:
    return re.findall(r"rank \d parameters (\w{16})", output)


def test_digits_are_learned() -> None:
    said = output_of(2, "digits.py", "--epochs", "4", "--parameters-digest")
    reached = re.search(r"test accuracy (\d+\.\d) %", said)
    assert reached is not None and float(reached[1]) > 90, said
    first, second = digests(said)
    assert first == second


@pytest.mark.parametrize(
    "program, whole, first",
    [(DIGITS, ["--epochs", "2"], ["--epochs", "1"]), (GPT, [], ["--stop-after", "6"])],
    ids=["digits", "char_gpt"],
)
def test_the_same_training_on_any_number_of_ranks_also_when_cut(
    program: list[str], whole: list[str], first: list[str], tmp_path: Path
) -> None:
    saved = tmp_path / "checkpoint"
    output_of(1, *program, *whole, "--loss-log", tmp_path / "alone")
    output_of(2, *program, *first, "--loss-log", tmp_path / "first", "--checkpoint", saved)
    output_of(1, *program, *whole, "--loss-log", tmp_path / "resumed", "--checkpoint", saved, "--resume")
    alone, before, after = (losses(tmp_path / log) for log in ("alone", "first", "resumed"))
    assert len(before) >= 6 and len(after) >= 6
    assert [*before, *after] == pytest.approx(alone, rel=1e-9)


def test_char_gpt_writes() -> None:
    said = output_of(2, *GPT, "--sample-length", "20", "--parameters-digest")
    before, *_, after = map(float, re.findall(r"held-out loss (\d+\.\d+)", said))
    assert after < before
    assert "---- sample" in said and "The " in said
    first, second = digests(said)
    assert first == second


def test_synthetic_benchmark_says_what_it_measured() -> None:
    said = output_of(
        2, "synthetic_benchmark.py", "--num-iters", "2", "--num-batches-per-iter", "1", "--num-warmup-batches", "1", "--batch-size", "4"
    )
    assert "2 ranks" in said and "Iter #1: " in said
    mine = re.search(r"Img/sec per rank: (\d+\.\d)", said)
    total = re.search(r"Total img/sec on 2 rank\(s\): (\d+\.\d)", said)
    assert mine is not None and total is not None
    assert float(total[1]) == pytest.approx(2 * float(mine[1]), rel=0.01, abs=0.2)


@pytest.mark.parametrize(
    "ranks, program, words",
    [
        (1, ["digits.py", "--data", "/nowhere/digits.csv"], "cannot read the digits from /nowhere/digits.csv: run ./dev build"),
        (1, ["digits.py", "--batch-size", "2000"], "use a smaller --batch-size"),
        (1, ["digits.py", "--resume"], "--resume needs --checkpoint"),
        (2, ["digits.py", "--resume", "--checkpoint", "/nowhere/file"], "cannot go on from /nowhere/file"),
        (1, ["char_gpt.py", "--text", "/nowhere/text"], "No such file"),
        (2, ["char_gpt.py", "--global-batch-size", "1"], "is less than the 2 ranks"),
    ],
    ids=["no data", "batch", "no checkpoint", "nothing to resume", "no text", "too many ranks"],
)
def test_mistakes_are_explained(ranks: int, program: list[str], words: str) -> None:
    done = start(ranks, *program)
    assert done.returncode == 1 and words in done.stderr, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
