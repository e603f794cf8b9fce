"""The small networks that ship with underfire, in the usual style of PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut (He et al. 2016, fig. 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, features: Tensor) -> Tensor:
        inner = F.relu(self.bn1(self.conv1(features)))
        return F.relu(self.bn2(self.conv2(inner)) + self.shortcut(features))


class ResNet(nn.Module):
    """A residual network for small images (He et al. 2016, section 4.2), with projection shortcuts.

    Args:
        blocks: basic blocks per stage; three stages of ``width``, ``2 * width`` and ``4 * width`` channels.
        classes: number of logits.
        channels: 1 or 3.
        width: channels of the first stage.
        stride: stride of the first convolution; 2 for images of 64 x 64.
    """

    def __init__(self, blocks: int = 3, classes: int = 10, channels: int = 3, width: int = 16, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.stages = nn.Sequential(
            self._stage(blocks, width, width, 1),
            self._stage(blocks, width, 2 * width, 2),
            self._stage(blocks, 2 * width, 4 * width, 2),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(4 * width, classes)
        initialise(self)

    @staticmethod
    def _stage(blocks: int, inputs: int, outputs: int, stride: int) -> nn.Sequential:
        first = BasicBlock(inputs, outputs, stride)
        return nn.Sequential(first, *(BasicBlock(outputs, outputs, 1) for _ in range(blocks - 1)))

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.stages(F.relu(self.bn(self.conv(images))))
        logits: Tensor = self.head(self.pool(features).flatten(1))
        return logits


class DenseLayer(nn.Module):
    """A 1x1 bottleneck and a 3x3 convolution, each after batch norm and ReLU (Huang et al. 2017, DenseNet-BC).

    The output is concatenated to the input along the channels.
    """

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        inner = self.conv1(F.relu(self.bn1(features)))
        return torch.cat([features, self.conv2(F.relu(self.bn2(inner)))], 1)


class Transition(nn.Module):
    """A layer between two blocks that halves height and width and reduces the channels (Huang et al. 2017)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        return F.avg_pool2d(self.conv(F.relu(self.bn(features))), 2)


class DenseNet(nn.Module):
    """A DenseNet-BC for small images (Huang et al. 2017, section 3), with compression 0.5.

    Args:
        layers: dense layers per block. Height and width are halved between two blocks.
        growth: channels that each layer adds. A multiple of 4 keeps all widths multiples of 8.
        classes: number of logits.
        channels: 1 or 3.
        stride: stride of the first convolution; 2 for images of 64 x 64.
    """

    def __init__(
        self, layers: Sequence[int] = (6, 6, 6), growth: int = 12, classes: int = 10, channels: int = 3, stride: int = 1
    ) -> None:
        super().__init__()
        width = 2 * growth
        self.conv = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        blocks: list[nn.Module] = []
        for number, count in enumerate(layers):
            if number:
                blocks.append(Transition(width, width // 16 * 8))
                width = width // 16 * 8
            blocks += [DenseLayer(width + growth * index, growth) for index in range(count)]
            width += growth * count
        self.blocks = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(width)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(width, classes)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        features = F.relu(self.bn(self.blocks(self.conv(images))))
        logits: Tensor = self.head(self.pool(features).flatten(1))
        return logits


def initialise(network: nn.Module) -> None:
    """Draw the weights of all convolutions anew (He et al. 2015)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
