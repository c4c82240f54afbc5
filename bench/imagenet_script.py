"""Trains the net of the recipe caltech101 as pytorch/examples' imagenet script would.

The script is https://github.com/pytorch/examples/blob/main/imagenet/main.py. This file has its transforms, loader and
training loop, in eager fp32, without its accuracy meters.
bench/training.py measures it as a rival.
"""

from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from tencrop.training.recipe import Optim


def train_steps(photos: Path, optim: Optim, workers: int) -> Iterator[int]:
    """Train on a folder of class folders without end; yield the number of images of each step."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    normalize = transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    augment = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(), normalize]
    folder = datasets.ImageFolder(photos, transforms.Compose(augment))
    loader = DataLoader(folder, optim.batch, shuffle=True, num_workers=workers, pin_memory=device.type == "cuda")
    model = build_net(len(folder.classes)).to(device)
    sgd = torch.optim.SGD(model.parameters(), optim.lr, momentum=optim.momentum, weight_decay=optim.decay)
    for images, labels in chain.from_iterable(repeat(loader)):
        output = model(images.to(device, non_blocking=True))
        loss = F.cross_entropy(output, labels.to(device, non_blocking=True))
        loss.item()  # the script adds it up at every step
        sgd.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        sgd.step()
        yield len(labels)


def build_net(classes: int) -> nn.Sequential:
    """float [N,3,224,224] -> logits [N,classes], from torch's own modules; parameters in the order of model/net.py."""
    layers: list[list[nn.Module]] = [
        [nn.ZeroPad2d((0, 3, 0, 3)), nn.Conv2d(3, 96, 11, stride=4), nn.ReLU(inplace=True), _lrn(), nn.MaxPool2d(3, 2)],
        [nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(inplace=True), _lrn(), nn.MaxPool2d(3, 2)],
        [nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(inplace=True)],
        [nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU(inplace=True)],
        [nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)],
        [nn.Flatten(), nn.Linear(256 * 6 * 6, 4096), nn.ReLU(inplace=True), nn.Dropout()],
        [nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout()],
        [nn.Linear(4096, classes)],
    ]
    return nn.Sequential(*chain.from_iterable(layers))


def _lrn() -> nn.LocalResponseNorm:
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)
