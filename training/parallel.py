"""The processes of one training, as torchrun starts them, and data parallelism: each process takes a share of a batch.

torchrun --standalone --nproc-per-node=2 -m tencrop train source145 --data PREPARED --out RUN
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from tencrop.common.errors import WorkFailed
from tencrop.model.net import AlexNet
from tencrop.model.net_config import NetConfig

# Seconds for gloo's threads to release the tensors of the last sum. For this they need the interpreter's lock. A thread
# that still waits for the lock when the interpreter ends kills the whole process (SIGABRT).
GLOO_RELEASE = 0.2
NVIDIA = Path("/dev/nvidia0")  # exists where there is a GPU, even one that torch cannot use


@dataclass(frozen=True)
class World:
    """`size` processes, of which this one is `rank`. A process that torchrun did not start is a world of one.

    `any`, `sum`, `mean` and `all_equal` wait for the other processes: every process must call them at the same step.
    """

    rank: int
    size: int
    device: torch.device

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is true in at least one process."""
        return bool(self.sum(torch.tensor([float(flag)]))[0])

    def sum(self, values: Tensor) -> Tensor:
        """Sum over all processes, on the CPU."""
        total = values.detach().cpu().clone()
        if self.size > 1:
            dist.all_reduce(total)
        return total

    def mean(self, values: Tensor) -> list[float]:
        """Mean over all processes."""
        return (self.sum(values) / self.size).tolist()

    def all_equal(self, numbers: Sequence[int]) -> bool:
        """Return whether every process has the same numbers."""
        return not self.any(self.mean(torch.tensor(numbers, dtype=torch.float64)) != [*numbers])


@contextmanager
def init_distributed() -> Iterator[World]:
    """Connect to the other processes of torchrun. Each has a GPU of its own where there are any.

    Raises WorkFailed where torch cannot use the GPU, or where there are fewer GPUs than processes.
    """
    rank, size, local = (
        int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
    )
    device = _choose_device(local)
    if size > 1:
        store, _, _ = next(rendezvous("env://"))
        # torchrun keeps its store over a restart; without a prefix, a process would find addresses of ended processes.
        store = PrefixStore(f"restart{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    try:
        yield World(rank, size, device)
    finally:
        if size > 1:
            time.sleep(GLOO_RELEASE)
            dist.destroy_process_group()


def _choose_device(local_rank: int) -> torch.device:
    if not torch.cuda.is_available():
        if torch.version.cuda and NVIDIA.exists() and "CUDA_VISIBLE_DEVICES" not in os.environ:
            raise WorkFailed(
                f"this machine has an NVIDIA GPU that torch {torch.__version__} cannot use",
                "update its driver, or train on the CPU with CUDA_VISIBLE_DEVICES=-1",
            )
        return torch.device("cpu")
    if local_rank >= torch.cuda.device_count():
        raise WorkFailed(
            f"process {local_rank} has no GPU: this machine has {torch.cuda.device_count()}", "lower --nproc-per-node"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


class WholeNet:
    """Data parallelism: every process holds the whole net; DistributedDataParallel averages their gradients."""

    def __init__(self, net: NetConfig, world: World) -> None:
        self.net, self.world = net, world
        self.share = (world.rank, world.size)  # of each batch and of the validation images

    def build(self) -> nn.Module:
        """Build the net that this process trains."""
        return AlexNet(self.net)

    def shard(self, name: str, whole: np.ndarray) -> np.ndarray:
        """Return this process's part of a parameter or velocity: all of it."""
        return whole

    def gather(self, shards: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        """Copy whole tensors from the parts of all processes. Every process must call this at the same step."""
        return {name: value.detach().cpu().numpy().copy() for name, value in shards.items()}

    def average_gradients(self, objective: nn.Module) -> nn.Module:
        """Wrap the objective so that its gradients are those of the whole batch."""
        if self.world.size == 1:
            return objective
        # broadcast_buffers: the mean and the colour directions never change
        return DistributedDataParallel(objective, gradient_as_bucket_view=True, broadcast_buffers=False)
