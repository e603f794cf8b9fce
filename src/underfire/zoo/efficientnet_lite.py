"""EfficientNet-Lite, for the weights of ``underfire.zoo.imagenet``."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

# Kernel size, stride, expansion, channels and number of blocks of each stage (Tan & Le 2019, table 1).
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_STEM, _HEAD = 32, 1280


class ConvNorm(nn.Module):
    """A convolution, a batch norm, and a ReLU6 if ``activation``.

    The padding is TensorFlow's "same": as many zeros as make the output ``ceil(size / stride)`` large. If their number
    is odd, the right and the lower side get one more.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, activation: bool = True
    ) -> None:
        super().__init__()
        even = kernel // 2 if stride == 1 else 0  # zeros that are the same on all sides are left to the convolution
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, even, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3)
        self.act = nn.ReLU6(inplace=True) if activation else nn.Identity()
        self.kernel, self.stride = kernel, stride

    def forward(self, features: Tensor) -> Tensor:
        if self.stride > 1:
            (top, bottom), (left, right) = map(self._padding, features.shape[2:])
            features = F.pad(features, (left, right, top, bottom))
        output: Tensor = self.act(self.norm(self.conv(features)))
        return output

    def _padding(self, size: int) -> tuple[int, int]:
        zeros = max((math.ceil(size / self.stride) - 1) * self.stride + self.kernel - size, 0)
        return zeros // 2, zeros - zeros // 2


class MBConv(nn.Module):
    """An inverted residual block (Sandler et al. 2018, fig. 3): expand, filter each channel, project."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.expand = ConvNorm(inputs, width, 1) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(width, width, kernel, stride, groups=width)
        self.project = ConvNorm(width, outputs, 1, activation=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        inner: Tensor = self.project(self.depthwise(self.expand(features)))
        return inner + features if self.residual else inner


class EfficientNetLite(nn.Module):
    """An EfficientNet (Tan & Le 2019) without squeeze-and-excitation, and with ReLU6 instead of SiLU.

    Dropout and stochastic depth, which only matter in training, are left out.

    Args:
        width, depth: multipliers of the channels and of the blocks of each stage. Stem, head, and the number of blocks
            of the first and the last stage stay as they are.
        classes: number of logits.
    """

    def __init__(self, width: float = 1.0, depth: float = 1.0, classes: int = 1000) -> None:
        super().__init__()
        self.stem = ConvNorm(3, _STEM, 3, stride=2)
        blocks: list[MBConv] = []
        inputs = _STEM
        for place, (kernel, stride, expansion, channels, count) in enumerate(_STAGES):
            scaled = 0 < place < len(_STAGES) - 1
            outputs = _rounded(channels * width)
            for number in range(math.ceil(count * depth) if scaled else count):
                blocks.append(MBConv(inputs, outputs, kernel, stride if number == 0 else 1, expansion))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvNorm(inputs, _HEAD, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(_HEAD, classes)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.head(self.blocks(self.stem(images)))
        logits: Tensor = self.linear(self.pool(features).flatten(1))
        return logits


def _rounded(channels: float) -> int:
    """Round to a multiple of 8 that is at least 90 % of ``channels``."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8
