"""build_horovod.py FOLDER: unpacks the release of Horovod that pip has put there, and changes what keeps it from being built here.

What it does, its settings and its optimization (-O3) stay as released.
"""
import sys
import tarfile
from pathlib import Path

# File, what stands there, what takes its place.
CHANGES = [
    # torch's headers need C++20. It is asked for in two places.
    ("CMakeLists.txt", "set(CMAKE_CXX_STANDARD 14)", "set(CMAKE_CXX_STANDARD 20)"),
    ("horovod/torch/CMakeLists.txt", "set(CMAKE_CXX_STANDARD 14)", "set(CMAKE_CXX_STANDARD 20)"),
    # Its usual -O3, without debugging information about all of torch's headers.
    ("setup.py", "'RelWithDebInfo'", "'Release'"),
]

folder = Path(sys.argv[1])
with tarfile.open(next(folder.glob("horovod-*.tar.gz"))) as release:
    for member in release:  # without the folder with the release's name
        member.path = member.path.partition("/")[2] or "."
        release.extract(member, folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
for name, old, new in CHANGES:
    file = folder / name
    text = file.read_text()
    if old not in text:
        sys.exit(f"Error: {name} of this Horovod has no {old}")
    file.write_text(text.replace(old, new))
