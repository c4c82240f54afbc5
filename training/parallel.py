"""The processes of one training, as torchrun starts them; and data parallel, where each sees its share of every batch.

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

# Seconds for gloo's threads to let go of the last sum's tensors. They need the interpreter's lock for it, and one that still waits
# for it when the interpreter ends takes the whole process down (SIGABRT).
LET_GO = 0.2
NVIDIA = Path("/dev/nvidia0")  # where there is a GPU, whether torch can use it or not


@dataclass(frozen=True)
class World:
    """`size` processes, of which this one is `rank`; a process that torchrun did not start is a world of one."""

    rank: int
    size: int
    device: torch.device

    def any(self, flag: bool) -> bool:
        """Whether it is true in any process. All must ask at the same step."""
        return bool(self.sum(torch.tensor([float(flag)]))[0])

    def sum(self, values: Tensor) -> Tensor:
        """Over all processes, on the CPU."""
        total = values.detach().cpu().clone()
        if self.size > 1:
            dist.all_reduce(total)
        return total

    def agree(self, numbers: Sequence[int]) -> bool:
        """Whether these are the same in every process. All must ask."""
        return not self.any(self.mean(torch.tensor(numbers, dtype=torch.float64)) != [*numbers])

    def mean(self, values: Tensor) -> list[float]:
        """Over all processes."""
        return (self.sum(values) / self.size).tolist()


@contextmanager
def init_distributed() -> Iterator[World]:
    """Meet the other processes, each with a GPU of its own where there are any. Raises WorkFailed where GPUs are missing."""
    rank, size, local = (
        int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
    )
    cuda = torch.cuda.is_available()
    if not cuda and torch.version.cuda and NVIDIA.exists() and "CUDA_VISIBLE_DEVICES" not in os.environ:
        raise WorkFailed(
            f"this machine has an NVIDIA GPU that torch {torch.__version__} cannot use: update its driver, or train on the CPU with "
            "CUDA_VISIBLE_DEVICES=-1"
        )
    if cuda and local >= torch.cuda.device_count():
        raise WorkFailed(
            f"process {local} has no GPU: this machine has {torch.cuda.device_count()}; lower --nproc-per-node"
        )
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if size > 1:
        store, _, _ = next(rendezvous("env://"))
        # torchrun keeps its store over a restart; without a prefix the addresses of the processes that have ended would be found in it
        store = PrefixStore(f"restart{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", store=store, rank=rank, world_size=size)
    try:
        yield World(rank, size, device)
    finally:
        if size > 1:
            time.sleep(LET_GO)
            dist.destroy_process_group()


class WholeNet:
    """Every process holds the whole net; the gradients of their shares are averaged (DistributedDataParallel)."""

    def __init__(self, net: NetConfig, world: World) -> None:
        self.net, self.world = net, world
        self.share = (world.rank, world.size)  # of each batch and of the validation images

    def build(self) -> nn.Module:
        """The net that this process trains."""
        return AlexNet(self.net)

    def own(self, name: str, whole: np.ndarray) -> np.ndarray:
        """This process's part of a parameter or of its velocity."""
        return whole

    def whole(self, own: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        """All parts together, as copies; every process must ask."""
        return {name: value.detach().cpu().numpy().copy() for name, value in own.items()}

    def averaged(self, objective: nn.Module) -> nn.Module:
        """The objective whose gradients are those of the whole batch."""
        if self.world.size == 1:
            return objective
        return DistributedDataParallel(
            objective, gradient_as_bucket_view=True, broadcast_buffers=False
        )  # they never change
