"""docs/python.md, made of the package's docstrings and signatures: PYTHONPATH=build/python python tests/python/api_reference.py > docs/python.md

Nothing is written twice: what is missing there is missing in a docstring.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import horovod_cpp
import horovod_cpp._handle
import horovod_cpp._process
import horovod_cpp.build_facts
import horovod_cpp.exceptions
import horovod_cpp.numpy
import horovod_cpp.numpy.objects
import horovod_cpp.ops
import horovod_cpp.process_sets
import horovod_cpp.running
import horovod_cpp.torch
import horovod_cpp.torch.compression
import horovod_cpp.torch.functions
import horovod_cpp.torch.gathers
import horovod_cpp.torch.optimizer
import horovod_cpp.torch.reductions

OPERATIONS = {
    "Average": "the sum divided by the number of ranks; of integers rounded towards zero; not of bool",
    "Sum": "integers wrap around; of bool: whether any",
    "Min": "the smallest; of bool: whether all",
    "Max": "the largest; of bool: whether any",
    "Product": "integers wrap around",
    "Adasum": "adds what is orthogonal and averages what is parallel (arXiv 2006.02924), each tensor alone; of floating types, allreduce only, any number of ranks",
}

NOT_MADE_BY_CALLERS = [horovod_cpp._handle.Handle]

HEAD = """# Python

The public functions of the package `horovod_cpp`. Made by `tests/python/api_reference.py` of the docstrings, which `help(hvd.allreduce)` shows too; a test
compares them. [migration.md](migration.md) is for those who come from Horovod or from DistributedDataParallel; [errors.md](errors.md) says what
happens when ranks end.

`hvd` below is `horovod_cpp.torch` or `horovod_cpp.numpy`. What "Everywhere" lists is in both, and in `horovod_cpp` itself, which imports no framework.
Tensors are on the CPU so far. Not there yet: CUDA tensors and elastic training; `horovod_cpp.__version__` says which release it is.
"""


def as_markdown(docstring: str | None) -> str:
    """Indented blocks are code, "name: …" and "Raises …" lines of a list, tables are tables."""
    parts: list[str] = []
    lines = inspect.cleandoc(docstring or "").splitlines()
    while lines:
        if lines[0].startswith("    "):
            block = _taken(lines, lambda line: not line or line.startswith("    "))
            parts += ["```python", *textwrap.dedent("\n".join(block)).rstrip().splitlines(), "```", ""]
        elif lines[0].startswith("==="):
            lines.pop(0)
            rows = _taken(lines, lambda line: not line.startswith("==="))
            lines.pop(0)
            cells = [re.sub(r"^(`.+?`) +", r"\1 | ", _text(row)) for row in rows]
            parts += ["", "| error | |", "|---|---|", *(f"| {row} |" for row in cells), ""]
        else:
            parts += [_text(line) for line in [lines.pop(0)] if line != "::"]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).strip()


def _taken(lines: list[str], belongs: Callable[[str], bool]) -> list[str]:
    """The first lines that belong, which are removed."""
    count = next((number for number, line in enumerate(lines) if not belongs(line)), len(lines))
    taken = lines[:count]
    del lines[:count]
    return taken


def _text(line: str) -> str:
    line = re.sub(r"``(.+?)``", r"`\1`", line).replace("*", "\\*").replace("<", "\\<").replace("__", "\\_\\_")
    line = re.sub(r"^([a-z_]+): ", r"- `\1`: ", line)
    return re.sub(r"^Raises ", "- Raises ", line)


def signature(function: Any, name: str) -> str:
    """As it is written in the source, on as many lines as it needs."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function)))).body
    assert isinstance(definition, ast.FunctionDef)
    given = [text for text in _arguments(definition.args) if text != "self"]
    result = f" -> {ast.unparse(definition.returns)}" if definition.returns is not None else ""
    if function.__name__ == "__init__":
        result = ""
    if hasattr(function, "__wrapped__"):
        name, result = f"with {name}", ":"
    lines = [f"{name}("]
    for number, text in enumerate(given):
        word = text + (", " if number < len(given) - 1 else f"){result}")
        if len(lines[-1]) + len(word) > 120:
            lines.append("    ")
        lines[-1] += word
    if not given:
        lines[-1] += f"){result}"
    return "\n".join(line.rstrip() for line in lines)


def _arguments(arguments: ast.arguments) -> Iterable[str]:
    defaults: list[ast.expr | None] = [None] * (len(arguments.args) - len(arguments.defaults))
    for argument, default in zip(arguments.args, [*defaults, *arguments.defaults]):
        yield _argument(argument, default)
    if arguments.kwonlyargs:
        yield "*"
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults):
        yield _argument(argument, default)


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    kind = f": {ast.unparse(argument.annotation)}" if argument.annotation is not None else ""
    equals = " = " if kind else "="
    return argument.arg + kind + (f"{equals}{ast.unparse(default)}" if default is not None else "")


def function_entry(function: Any, name: str | None = None) -> str:
    name = name or function.__name__
    return f"```python\n{signature(function, name)}\n```\n\n{as_markdown(function.__doc__)}\n"


def class_entry(kind: type, name: str | None = None) -> str:
    """Its own methods, with a constructor if it is for callers. name: of an object that callers have got from elsewhere."""
    parts = [] if name else [f"**{kind.__name__}**. {as_markdown(kind.__doc__)}\n"]
    for attribute, value in vars(kind).items():
        function = value.__func__ if isinstance(value, staticmethod) else value
        if not inspect.isfunction(function) or (attribute.startswith("_") and (attribute != "__init__" or kind in NOT_MADE_BY_CALLERS)):
            continue
        shown = kind.__name__ if attribute == "__init__" else f"{name or kind.__name__}.{attribute}"
        parts.append(f"```python\n{signature(function, shown)}\n```\n")
        if function.__doc__:
            parts.append(as_markdown(function.__doc__) + "\n")
    return "\n".join(parts)


def of_module(module: ModuleType, names: Iterable[str], namespace: ModuleType) -> str:
    """Its public functions, in the order of its source."""
    entries = [getattr(namespace, name) for name in names]
    mine = [entry for entry in entries if inspect.isfunction(entry) and entry.__module__ == module.__name__]
    return "\n".join(function_entry(entry) for entry in sorted(mine, key=lambda entry: entry.__code__.co_firstlineno))


def everywhere() -> str:
    sections = [
        ("Beginning, end and place", horovod_cpp._process),
        ("Process sets", horovod_cpp.process_sets),
        ("Functions on several ranks", horovod_cpp.running),
        ("What is built", horovod_cpp.build_facts),
    ]
    parts = ["## Everywhere\n"]
    for title, module in sections:
        parts.append(f"### {title}\n\n{as_markdown(module.__doc__)}\n")
        if module is horovod_cpp.process_sets:
            parts.append(class_entry(horovod_cpp.ProcessSet))
            parts.append("**global_process_set**: the set of all ranks, the default everywhere.\n")
        parts.append(of_module(module, horovod_cpp.__all__, horovod_cpp))
    rows = "\n".join(f"| `{name}` | {what} |" for name, what in OPERATIONS.items())
    parts.append(f"### Reductions\n\n{as_markdown(horovod_cpp.ops.__doc__)}\n\n| op | |\n|---|---|\n{rows}\n")
    parts.append(f"### Errors\n\n{as_markdown(horovod_cpp.exceptions.__doc__)}\n")
    parts.append(f"### Handles\n\n{class_entry(horovod_cpp._handle.Handle)}")
    return "\n".join(parts)


def of_torch() -> str:
    torch = horovod_cpp.torch
    compression = torch.compression
    parts = [f"## horovod_cpp.torch\n\n{as_markdown(torch.__doc__)}\n"]
    parts.append(f"### DistributedOptimizer\n\n{as_markdown(torch.optimizer.__doc__)}\n")
    parts.append(function_entry(torch.DistributedOptimizer))
    parts.append("Its methods, beside those of the wrapped optimizer:\n")
    parts.append(class_entry(torch.optimizer._DistributedOptimizer, "optimizer"))
    parts.append(f"### Equal starts\n\n{as_markdown(torch.functions.__doc__)}\n\n" + of_module(torch.functions, torch.__all__, torch))
    parts.append(of_module(horovod_cpp.numpy.objects, torch.__all__, torch))
    parts.append(f"### Reducing\n\n{as_markdown(torch.reductions.__doc__)}\n\n" + of_module(torch.reductions, torch.__all__, torch))
    parts.append(f"### Gathering, and waiting\n\n{as_markdown(torch.gathers.__doc__)}\n\n" + of_module(torch.gathers, torch.__all__, torch))
    parts.append(function_entry(torch.supported_types))
    parts.append(f"### Compression\n\n{as_markdown(compression.__doc__)}\n\n{class_entry(torch.Compressor)}")
    for name in ("none", "fp16", "bf16"):
        parts.append(f"**Compression.{name}**. {as_markdown(getattr(torch.Compression, name).__doc__)}\n")
    shown = "\n".join(parts)
    others = [getattr(torch, name) for name in torch.__all__ if name not in horovod_cpp.__all__ and not re.search(rf"\b{name}\b", shown)]
    if others:
        shown += "\n### Others\n\n" + "\n".join(class_entry(one) if inspect.isclass(one) else function_entry(one) for one in others)
    return shown


def of_numpy() -> str:
    numpy = horovod_cpp.numpy
    parts = [f"## horovod_cpp.numpy\n\n{as_markdown(numpy.__doc__)}\n\n{as_markdown(numpy.collectives.__doc__)}\n"]
    parts.append(of_module(numpy.collectives, numpy.__all__, numpy))
    parts.append(function_entry(numpy.supported_types))
    parts.append(f"### Objects\n\n{as_markdown(numpy.objects.__doc__)}\n\n" + of_module(numpy.objects, numpy.__all__, numpy))
    return "\n".join(parts)


def reference() -> str:
    text = "\n".join([HEAD, everywhere(), of_torch(), of_numpy()])
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
