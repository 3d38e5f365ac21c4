"""Ranks of torch.distributed over Gloo: gloo.py c10d|ddp, started by the conductor without a launcher."""
import datetime
import sys

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from bench_rank import join, obey, pass_on, place
from models import step_or_backward
from reduce_tensors import AllReduce

def meet(rank, size):
    """A process group; rank 0 lets the system choose the port."""
    patience = datetime.timedelta(seconds=60)
    if rank == 0:
        store = dist.TCPStore("127.0.0.1", 0, size, is_master=True, wait_for_workers=False, timeout=patience)
        pass_on(str(store.port))
    else:
        store = dist.TCPStore("127.0.0.1", int(pass_on()), size, is_master=False, timeout=patience)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=patience)


def ddp(workload, rank, size):
    def wrap(model, optimizer):
        return DistributedDataParallel(model, gradient_as_bucket_view=True), optimizer

    return step_or_backward(workload, rank, size, f"torch {torch.__version__} DDP over Gloo", wrap)


def main():
    rank, size = place()
    join(rank, size)
    meet(rank, size)
    if sys.argv[1] == "c10d":
        title = f"torch {torch.__version__} c10d all_reduce over Gloo"
        obey(lambda workload: AllReduce(workload, rank, size, title, lambda flat: dist.all_reduce(flat, async_op=True)))
    else:
        obey(lambda workload: ddp(workload, rank, size))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
