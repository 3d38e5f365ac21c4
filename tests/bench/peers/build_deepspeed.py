"""build_deepspeed.py FOLDER: compiles the shared-memory all-reduce that the installed deepspeed package has as source, into FOLDER."""
import importlib.metadata
import sys
from pathlib import Path

from torch.utils.cpp_extension import load

files = importlib.metadata.files("deepspeed")
source = next(file for file in files if str(file).endswith("csrc/cpu/comm/shm_interface.cpp")).locate()
folder = Path(sys.argv[1]) / "extension"
folder.mkdir(exist_ok=True)
load(name="deepspeed_shm", sources=[str(source), str(Path(source).parent / "shm.cpp")], build_directory=str(folder),
     extra_cflags=["-O3", "-march=native", "-fopenmp"], verbose=True)
