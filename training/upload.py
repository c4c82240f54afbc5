"""Copies batches to the training's device: on CUDA, while the device computes the batch before."""

from collections.abc import Iterator

import torch

from tencrop.training.loader import Batch

BUFFERS = 2  # on the device: one is read by a step while the other is written


def upload(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Yield the batches on `device`. On CUDA a batch is overwritten after the next one, once its step has read it."""
    return _copy_beside(batches, device) if device.type == "cuda" else batches


def _copy_beside(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Copy pinned batches on a stream of their own. Nothing here waits for the device, so the host runs ahead."""
    computing = torch.cuda.current_stream(device)
    copying = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    buffers: list[Batch] = []
    were_read = [torch.cuda.Event() for _ in range(BUFFERS)]  # type: ignore[no-untyped-call]
    for number, batch in enumerate(batches):
        slot = number % BUFFERS
        if number < BUFFERS:
            buffers.append(Batch(*(torch.empty_like(tensor, device=device) for tensor in batch)))
            copying.wait_stream(computing)  # a step before may still read the memory that it gave back
        copying.wait_event(were_read[slot])
        with torch.cuda.stream(copying):
            for target, source in zip(buffers[slot], batch, strict=True):
                target.copy_(source, non_blocking=True)
        computing.wait_stream(copying)
        yield buffers[slot]
        were_read[slot].record(computing)
