#!/usr/bin/env python3
"""Checks that docs/mistakes.md tells the truth: each test that it names exists, and what it quotes is what the sources say.

mistakes_table.py [ROOT] prints one line a lie, "file:line: what", and exits with 1 if there was any. Standard library only.

A row is | mistake | `what is said` | tests |. In the quotation "…" stands for what differs from case to case; the words between are looked up
in the string literals of the sources. Tests are `Suite.Name`, or `ctest_name` without a dot.
"""
import re
import sys
from pathlib import Path

TABLE = "docs/mistakes.md"
SOURCES = ("bindings", "horovod_cpp", "launcher", "ops")
# A smaller number means that rows were lost.
FEWEST_ROWS = 40

TEST = re.compile(r"\bTEST(?:_F|_P)?\(\s*(\w+)\s*,\s*(\w+)\s*\)")
CTEST = re.compile(r"add_test\(\s*NAME\s+(\w+)")


def tests_of(root):
    known = set()
    for file in (root / "tests").rglob("*"):
        if file.suffix == ".cpp":
            known |= {f"{suite}.{name}" for suite, name in TEST.findall(file.read_text())}
        elif file.name == "CMakeLists.txt":
            known |= set(CTEST.findall(file.read_text()))
    return known


def words_of(root):
    """All string literals, with the pieces of one put together and whatever stands between two replaced by a line end."""
    words = []
    for folder in SOURCES:
        for file in sorted((root / folder).rglob("*")):
            if file.suffix in {".cpp", ".h"}:
                text = re.sub(r'(?m)(?<!:)//.*$', "", file.read_text())
                text = re.sub(r'(?<!\\)"\s*"(?!\))', "", text)
                words += re.findall(r'"((?:[^"\\\n]|\\.)*)"', text)
    return "\n".join(word.replace('\\"', '"').replace("\\'", "'") for word in words)


def rows_of(text):
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("|") or set(line) <= set("|- :"):
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) != 3 or cells[0] in {"mistake", "what"}:
            continue
        yield number, cells


def check(root):
    root = Path(root)
    tests = tests_of(root)
    words = words_of(root)
    count = 0
    for number, (mistake, said, tested) in rows_of((root / TABLE).read_text()):
        count += 1
        place = f"{TABLE}:{number}: {mistake}"
        for quotation in re.findall(r"`([^`]*)`", said):
            for piece in quotation.split("…"):
                if piece.strip() and piece.strip() not in words:
                    yield f"{place}: nothing in the sources says '{piece.strip()}'"
        named = re.findall(r"`([^`]*)`", tested)
        if not named:
            yield f"{place}: no test is named"
        for name in named:
            if name not in tests:
                yield f"{place}: there is no test {name}"
    if count < FEWEST_ROWS:
        yield f"{TABLE}:1: {count} rows; expected {FEWEST_ROWS} at least"


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
    lies = list(check(root))
    print("\n".join(lies) if lies else "table of mistakes: ok")
    return 1 if lies else 0


if __name__ == "__main__":
    sys.exit(main())
