"""A script for Horovod, written with nothing at hand but the documentation of horovod.torch. test_as_horovod.py runs it as it is:
hvdrun -np 2 --as-horovod python horovod_script.py.

Trains a classifier of points; ranks have data of different lengths. Prints one line of JSON from rank 0.
"""

import argparse
import json

import horovod.torch as hvd
import torch
import torch.nn as nn
import torch.nn.functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=6)
parser.add_argument("--batch-size", type=int, default=16)
parser.add_argument("--base-lr", type=float, default=0.05)
parser.add_argument("--fp16-allreduce", action="store_true", default=False)
parser.add_argument("--use-adasum", action="store_true", default=False)
args = parser.parse_args()


class Points(torch.utils.data.Dataset):
    """In the plane; the label says on which side of a circle."""

    def __init__(self, count, seed):
        generator = torch.Generator().manual_seed(seed)
        self.points = torch.randn(count, 2, generator=generator)
        self.labels = (self.points.norm(dim=1) > 1.1).long()

    def __len__(self):
        return len(self.points)

    def __getitem__(self, index):
        return self.points[index], self.labels[index]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(2, 32)
        self.norm = hvd.SyncBatchNorm(32)
        self.out = nn.Linear(32, 2)

    def forward(self, x):
        return self.out(F.relu(self.norm(self.hidden(x))))


def metric_average(value, name):
    return hvd.allreduce(torch.tensor(value), name=name).item()


def main():
    hvd.init()
    torch.manual_seed(42 + hvd.rank())  # broadcast_parameters makes them equal
    if torch.cuda.is_available() and hvd.nccl_built():
        torch.cuda.set_device(hvd.local_rank())
    torch.set_num_threads(1)

    dataset = Points(400, seed=1)
    sampler = torch.utils.data.distributed.DistributedSampler(dataset, num_replicas=hvd.size(), rank=hvd.rank())
    loader = torch.utils.data.DataLoader(dataset, batch_size=args.batch_size, sampler=sampler)
    test_set = Points(200, seed=2)

    model = Net()
    lr_scaler = hvd.size() if not args.use_adasum else 1
    optimizer = torch.optim.SGD(model.parameters(), lr=args.base_lr * lr_scaler, momentum=0.9)
    hvd.broadcast_parameters(model.state_dict(), root_rank=0)
    hvd.broadcast_optimizer_state(optimizer, root_rank=0)
    optimizer = hvd.DistributedOptimizer(
        optimizer,
        named_parameters=model.named_parameters(),
        compression=hvd.Compression.fp16 if args.fp16_allreduce else hvd.Compression.none,
        op=hvd.Adasum if args.use_adasum else hvd.Average,
    )
    resume_from_epoch = hvd.broadcast(torch.tensor(0), root_rank=0, name="resume_from_epoch").item()

    losses = []
    for epoch in range(resume_from_epoch, args.epochs):
        model.train()
        sampler.set_epoch(epoch)
        for data, target in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(data), target)
            loss.backward()
            optimizer.synchronize()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            with optimizer.skip_synchronize():
                optimizer.step()
        losses.append(metric_average(loss.item(), "avg_loss"))

    model.eval()
    own = [test_set[i] for i in range(hvd.rank(), len(test_set), hvd.size())]
    with torch.no_grad():
        guesses = model(torch.stack([point for point, _ in own])).argmax(dim=1)
    accuracy = (guesses == torch.stack([label for _, label in own])).float().mean().item()
    accuracy = metric_average(accuracy, "avg_accuracy")

    # Data that runs out earlier on some ranks.
    for _ in range(2 + hvd.rank()):
        hvd.allreduce(torch.ones(3), name="uneven", op=hvd.Sum)
    last = hvd.join()

    handle = hvd.allreduce_async(torch.full((2,), float(hvd.rank())), name="async", op=hvd.Sum)
    while not hvd.poll(handle):
        pass
    total = hvd.synchronize(handle)
    gathered = hvd.allgather(torch.full((hvd.rank() + 1, 1), hvd.rank()), name="rows")
    fingerprints = hvd.allgather_object({"rank": hvd.rank(), "sum": sum(p.double().sum().item() for p in model.parameters())})
    config = hvd.broadcast_object({"epochs": args.epochs} if hvd.rank() == 0 else None, root_rank=0)

    if hvd.rank() == 0:
        print(
            json.dumps(
                {
                    "losses": losses,
                    "accuracy": accuracy,
                    "last": last,
                    "total": total.tolist(),
                    "gathered": gathered.flatten().tolist(),
                    "fingerprints": fingerprints,
                    "config": config,
                }
            )
        )
    hvd.shutdown()


if __name__ == "__main__":
    main()
