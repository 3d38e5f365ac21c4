"""What the documentation says of the Python package is so."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import api_reference
import horovod_cpp
import horovod_cpp.numpy
import horovod_cpp.torch
from horovod_cpp.running import hvdrun_path

ROOT = Path(__file__).parent.parent.parent
REFERENCE = (ROOT / "docs/python.md").read_text()
MIGRATION = (ROOT / "docs/migration.md").read_text()


def section(text: str, title: str) -> str:
    return text.split(f"# {title}\n", 1)[1].split("\n## ", 1)[0].split("\n### ", 1)[0]


def test_the_reference_is_that_of_this_package() -> None:
    assert api_reference.reference() == REFERENCE, "make it anew: tests/python/api_reference.py says how"


def test_every_public_name_is_in_the_reference() -> None:
    for module in (horovod_cpp, horovod_cpp.torch, horovod_cpp.numpy):
        title = "Everywhere" if module is horovod_cpp else module.__name__
        text = REFERENCE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
        common = set() if module is horovod_cpp else set(horovod_cpp.__all__)
        for name in set(module.__all__) - common - {"__version__"}:
            assert re.search(rf"(?<!\w){name}(?!\w)", text), f"{module.__name__}.{name}"
    assert "horovod_cpp.__version__" in REFERENCE


def test_every_public_function_is_described() -> None:
    for module in (horovod_cpp, horovod_cpp.torch, horovod_cpp.numpy):
        for name in set(module.__all__) - set(api_reference.OPERATIONS):
            entry = getattr(module, name)
            assert entry.__doc__ or not callable(entry), f"{module.__name__}.{name}"


def test_names_in_the_guides_exist() -> None:
    for file in ["docs/migration.md", "README.md", "bindings/python/README.md"]:
        for name in re.findall(r"\bhvd\.([A-Za-z_]+)", (ROOT / file).read_text()):
            assert hasattr(horovod_cpp.torch, name), f"{file}: hvd.{name}"


def test_what_is_called_missing_is_missing() -> None:
    missing = re.findall(r"^\| `(\w+)` \|", section(MIGRATION, "Not there yet"), re.MULTILINE)
    assert missing
    for name in missing:
        assert not hasattr(horovod_cpp.torch, name), f"docs/migration.md: {name} is there now"


def test_both_programs_of_the_guide_train_the_same(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", MIGRATION, re.DOTALL)
    (theirs,) = [block for block in blocks if "init_process_group" in block]
    (ours,) = [block for block in blocks if "import horovod_cpp.torch" in block]
    (tmp_path / "theirs.py").write_text(f"{theirs}\nprint(model.weight.tolist())\n")
    (tmp_path / "ours.py").write_text(f"{ours}\nprint(model.weight.tolist())\n")

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    command = [sys.executable, str(tmp_path / "theirs.py")]
    ranks = [subprocess.Popen(command, env={**os.environ, **place, "RANK": str(rank)}, stdout=subprocess.PIPE) for rank in range(2)]
    right = [json.loads(rank.communicate(timeout=300)[0]) for rank in ranks]

    package = str(Path(horovod_cpp.__file__).parent.parent)
    command = [hvdrun_path(), "-np", "2", "--no-bind", "--no-prefix", sys.executable, str(tmp_path / "ours.py")]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": package}, capture_output=True, text=True, timeout=300, check=True)
    mine = [json.loads(line) for line in done.stdout.splitlines()]
    assert right[0] == right[1] and mine[0] == mine[1]
    assert mine[0][0] == pytest.approx(right[0][0], rel=1e-5)


def test_options_of_hvdrun_are_what_the_guide_says() -> None:
    known = subprocess.run([hvdrun_path(), "--help"], capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"^\| (`-.*?) \| (.*) \|$", section(MIGRATION, "hvdrun"), re.MULTILINE)
    assert len(rows) > 5
    for options, here in rows:
        for option in re.findall(r"`(-[\w-]+)`", options):
            is_known = re.search(rf"(?<![\w-]){option}(?![\w-])", known) is not None
            assert is_known != here.startswith("leave them out"), option
