#!/usr/bin/env python3
"""Checks who may include whom (the architecture, as a table), and a few other rules about source files.

include_rules.py [ROOT] prints one line a violation, "file:line: what", and exits with 1 if there was any.
Standard library only.
"""
import re
import subprocess
import sys
from pathlib import Path

# Area of the tree → areas whose headers it may include. A file belongs to the longest matching area.
LAYERS = {
    "horovod_cpp/base": ["horovod_cpp/base"],
    "horovod_cpp/ports": ["horovod_cpp/base", "horovod_cpp/ports"],
    "horovod_cpp/coordinator": ["horovod_cpp/base", "horovod_cpp/coordinator", "horovod_cpp/ports", "horovod_cpp/secure"],
    "horovod_cpp/secure": ["horovod_cpp/base", "horovod_cpp/secure"],
    "horovod_cpp/transport": ["horovod_cpp/base", "horovod_cpp/ports", "horovod_cpp/secure", "horovod_cpp/transport"],
    "horovod_cpp/rendezvous": ["horovod_cpp/base", "horovod_cpp/ports", "horovod_cpp/rendezvous", "horovod_cpp/secure"],
    "horovod_cpp": ["horovod_cpp"],
    "ops/host": ["horovod_cpp/base", "horovod_cpp/ports", "ops/host"],
    "ops/shm": ["horovod_cpp/base", "horovod_cpp/ports", "ops/host", "ops/shm"],
    "ops/mpi": ["horovod_cpp/base", "horovod_cpp/ports", "ops/host", "ops/mpi"],
    "ops/cuda": ["horovod_cpp/base", "horovod_cpp/ports", "ops/cuda"],
    "launcher": ["horovod_cpp/base", "horovod_cpp/rendezvous", "horovod_cpp/secure", "launcher"],
    "bindings/runtime/include": ["bindings/runtime/include", "horovod_cpp"],
    "bindings/torch/include": ["bindings/torch/include", "horovod_cpp"],
    "bindings": ["horovod_cpp", "ops", "bindings"],
    "examples": ["bindings/torch/include", "examples"],
    "tests/install/consumer": ["bindings/runtime/include", "bindings/torch/include", "horovod_cpp"],
    "tests": [""],
}
# Public headers are included as their users do: that path → where they lie.
PUBLIC_HEADERS = {
    "horovod_cpp/torch": "bindings/torch/include/horovod_cpp/torch",
    "horovod_cpp/world": "bindings/runtime/include/horovod_cpp/world",
}

# Headers of other projects (a regular expression on the included name) → areas that may see them.
VENDORS = [
    (r"mpi(-ext)?\.h$", ["ops/mpi", "tests/bench", "tests/conformance", "tests/unit/runtime"]),
    (r"(cuda|cuda_\w+|cudaTypedefs|driver_types|nccl|nccl_\w+)\.h$", ["ops/cuda", "tests/gpu"]),
    (r"(torch|ATen|c10|caffe2)/", ["bindings/torch", "examples", "tests/bench", "tests/costs", "tests/install/consumer", "tests/torch"]),
    (r"(pybind11/|Python\.h$)", ["bindings/python"]),
    (r"CLI/", ["launcher", "bindings", "examples", "tests"]),
    (r"(fmt|spdlog|nlohmann)/", ["launcher", "bindings", "examples", "tests"]),
    (r"openssl/", ["horovod_cpp/secure", "tests"]),
    (r"oneapi/", ["tests/bench"]),
    (r"valgrind/", ["tests/costs"]),
    (r"(gtest|gmock)/", ["tests"]),
    (r"benchmark/", ["tests/bench"]),
]
# First folders of the system's own headers; anything else with a folder must be in VENDORS.
SYSTEM_FOLDERS = {"sys", "linux", "net", "netinet", "arpa", "asm"}

# Words of a backend in a preprocessor condition → the only area where that is allowed.
CONDITION_WORDS = [
    (r"HVD_(WITH|HAVE)_\w+", "bindings/runtime/plugin_loader"),
    (r"\w*MPI_\w*|OMPI_\w+", "ops/mpi"),
    (r"\w*(CUDA|NCCL)\w*", "ops/cuda"),
    (r"\w*TORCH\w*", "bindings/torch"),
    (r"\w*(GLOO|ROCM|RCCL|HIP)_\w*", "ops"),
]

# The time of day jumps; whatever waits or measures takes the steady clock. Only these tell somebody the time, or test that nothing else does.
TIME_OF_DAY = re.compile(
    r"(?<!\w)(system_clock|high_resolution_clock|utc_clock|file_clock|CLOCK_REALTIME\w*|gettimeofday|ftime|(?:pthread_cond|sem|mtx|pthread_mutex)_timed\w+"
    r"|(?:std)?::time\()"
)
MAY_TELL_THE_TIME = {"horovod_cpp/base/log.cpp", "launcher/rank_stream.cpp", "tests/bench/machine.cpp", "tests/ranks/clock_jump_test.cpp"}

LINE_LIMIT = 350
# File → why it may be longer.
LONGER_FILES = {"dev": "one script, so that a bare checkout needs nothing else to begin"}

SOURCE_SUFFIXES = {".h", ".cpp", ".cu", ".cuh"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
CONDITION = re.compile(r"^\s*#\s*(?:if|ifdef|ifndef|elif)\b(.*)")


def is_within(path, area):
    """True if `path` lies in the folder `area`, or is a file that begins with it."""
    return area == "" or path == area or path.startswith((area + "/", area + "."))


def area_of(path):
    return max((area for area in LAYERS if is_within(path, area)), key=len, default=None)


def location_of(header):
    """Where the header that is included by this name lies in the tree."""
    for name, folder in PUBLIC_HEADERS.items():
        if is_within(header, name):
            return folder + header[len(name):]
    return header


def is_project_header(header):
    return header.split("/")[0] in {area.split("/")[0] for area in LAYERS} and "/" in header


def check_include(path, quote, header, root):
    """The complaint about one include, or None."""
    if ".." in header.split("/"):
        return f'"{header}": include by path from the repository root'
    if is_project_header(header):
        location = location_of(header)
        if not (root / location).is_file():
            return f'"{header}": no such file from the repository root'
        area = area_of(path)
        if area is not None and not any(is_within(location, allowed) for allowed in LAYERS[area]):
            return f"{area} may not include {location} (only: {', '.join(LAYERS[area])})"
        return None
    for pattern, areas in VENDORS:
        if re.match(pattern, header):
            if any(is_within(path, area) for area in areas):
                return None
            return f"<{header}>: only {', '.join(areas)} may include it"
    if quote == '"':
        return f'"{header}": include by path from the repository root, and others\' headers in <>'
    if "/" in header and header.split("/")[0] not in SYSTEM_FOLDERS:
        return f"<{header}>: a library that tests/lint/include_rules.py does not know; say there who may use it"
    return None


def check_condition(path, condition):
    for pattern, area in CONDITION_WORDS:
        word = re.search(rf"\b({pattern})\b", condition)
        if word and not is_within(path, area):
            return f"preprocessor condition on a backend ({word.group(1)}): only {area} may have one"
    return None


def check_file(path, text, root):
    """Yields (line number, complaint) for one file; `path` is relative to the root, with slashes."""
    lines = text.splitlines()
    if len(lines) > LINE_LIMIT and path not in LONGER_FILES:
        yield LINE_LIMIT + 1, f"{len(lines)} lines; more than {LINE_LIMIT} means that the file has two reasons to exist"
    if Path(path).suffix not in SOURCE_SUFFIXES:
        return
    if path.endswith(".h") and "#pragma once" not in text:
        yield 1, "a header without #pragma once"
    for number, line in enumerate(lines, 1):
        include = INCLUDE.match(line)
        condition = CONDITION.match(line)
        complaint = None
        if include:
            complaint = check_include(path, include.group(1), include.group(2), root)
        elif condition:
            complaint = check_condition(path, condition.group(1))
        elif path not in MAY_TELL_THE_TIME and (clock := TIME_OF_DAY.search(line.split("//")[0])):
            complaint = f"{clock.group(1)}: the time of day jumps; take std::chrono::steady_clock (base/deadline.h)"
        if complaint:
            yield number, complaint


def files_of(root):
    """Files that git knows or would take, or all files where there is no repository."""
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True)
    if listed.returncode == 0:
        return sorted({name for name in listed.stdout.decode().split("\0") if name and (root / name).is_file()})
    return sorted(str(file.relative_to(root)) for file in root.rglob("*") if file.is_file())


def is_code(path):
    return Path(path).suffix in SOURCE_SUFFIXES | {".py", ".sh", ".cmake"} or path == "dev"


def check_tree(root):
    root = Path(root)
    return [
        f"{path}:{number}: {complaint}"
        for path in files_of(root)
        if is_code(path)
        for number, complaint in check_file(path, (root / path).read_text(errors="replace"), root)
    ]


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
    violations = check_tree(root)
    print("\n".join(violations) if violations else "include rules: ok")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
