"""Ranks of DeepSpeed's shared-memory all-reduce: deepspeed_shm.py EXTENSION, started by the conductor without a launcher."""
import glob
import importlib.metadata
import importlib.util
import os
import sys

import torch

from bench_rank import join, obey, pass_on, place
from reduce_tensors import AllReduce


def load(file):
    specification = importlib.util.spec_from_file_location("deepspeed_shm", file)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def main():
    rank, size = place()
    join(rank, size)
    load(sys.argv[1]).initialize(size, rank)
    reduce = torch.ops.deepspeed.inference_all_reduce_
    # All have opened everybody's memory when this has ended: names are of no use any more, and would stay.
    reduce(torch.zeros(1024))
    pass_on()
    for file in glob.glob(f"/dev/shm/*_{os.environ['MASTER_PORT']}_{rank}"):
        os.unlink(file)
    title = f"DeepSpeed {importlib.metadata.version('deepspeed')} all-reduce in shared memory"

    def start(flat):
        reduce(flat)

    obey(lambda workload: AllReduce(workload, rank, size, title, start))


if __name__ == "__main__":
    main()
