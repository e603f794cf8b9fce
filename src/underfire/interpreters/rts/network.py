"""The masker: a small network that makes a map from an encoder's features and a class (Dabkowski & Gal 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from underfire.classifiers import Recorded
from underfire.errors import InterpreterError
from underfire.numerics import full_precision

EPS = 1e-8
STEPS_UP = 3
"""The largest number of upsampling blocks: from 7 x 7 to 56 x 56 for images of 224 x 224 pixels."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a masker, which its weights must fit.

    Args:
        classes: the number of classes, K.
        top: channels of the encoder's last features.
        skips: channels of the finer features that the masker uses, from coarse to fine.
        width: channels of the masker's features at the finest scale; they double with each coarser scale.
    """

    classes: int
    top: int
    skips: tuple[int, ...]
    width: int = 32

    @classmethod
    def of(cls, recorded: Recorded, image_size: tuple[int, int], width: int = 32) -> Self:
        """Find the shape that fits an encoder.

        Args:
            recorded: a forward pass of the encoder that kept its ``scales``.
            image_size: height and width of the images.
            width: see the class.

        Raises:
            InterpreterError: the encoder has no convolutional features.
        """
        top = top_of(recorded)
        finer = finer_scales(recorded, image_size)
        return cls(recorded.logits.shape[1], top.shape[1], tuple(scale.shape[1] for scale in finer), width)


def top_of(recorded: Recorded) -> Tensor:
    """Return the encoder's last features N x C x h x w. Raises InterpreterError if it has none."""
    if recorded.features is None or recorded.features.ndim != 4:
        raise InterpreterError(
            "RTS needs an encoder with convolutional features that are pooled before its head, and the forward pass of "
            "this network has none that could be found. Name the module that outputs them (Classifier(..., "
            "features='layer4')), or give another network as the encoder."
        )
    return full_precision(recorded.features)


def finer_scales(recorded: Recorded, image_size: tuple[int, int]) -> list[Tensor]:
    """Choose the finer feature maps that a masker uses, from coarse to fine.

    Each is at least 1.5 times as high as the one before; a convolution without padding lowers the resolution by less
    than that. The finest is at most half as high as the image, or a quarter from 128 pixels on, like the maps of Grad.
    """
    limit = min(image_size) / (4 if min(image_size) >= 128 else 2)
    height, found = top_of(recorded).shape[2], list[Tensor]()
    for scale in reversed(recorded.scales):
        if len(found) < STEPS_UP and scale.shape[2] >= 1.5 * height and min(scale.shape[2:]) <= limit:
            found.append(scale)
            height = scale.shape[2]
    return found


class Bottleneck(nn.Module):
    """A residual block from ``inputs`` to ``outputs`` channels: 1x1, 3x3 and 1x1 convolutions.

    Between the convolutions there are ``outputs`` / 4 channels, but at least 8.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        inner = max(8, outputs // 4)
        self.body = nn.Sequential(
            nn.Conv2d(inputs, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, padding=1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(self.body(features) + self.shortcut(features))


class Upsampler(nn.Module):
    """A block that doubles the resolution by a 3x3 convolution and a pixel shuffle, and adds the encoder's features."""

    def __init__(self, inputs: int, outputs: int, skip: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, 4 * outputs, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4 * outputs)
        self.join = Bottleneck(outputs + skip, outputs)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        larger = F.pixel_shuffle(F.relu(self.bn(self.conv(features))), 2)
        if larger.shape[2:] != skip.shape[2:]:  # the encoder's sizes are odd, or differ by another factor than 2
            larger = F.interpolate(larger, skip.shape[2:], mode="bilinear", align_corners=False)
        joined: Tensor = self.join(torch.cat([larger, skip], 1))
        return joined


class Masker(nn.Module):
    """The masker network: a selector and a decoder.

    The *selector* holds a vector for each class. Its product with the encoder's last features is the evidence for the
    class at each place, and features are weighted with it. The *decoder* brings the features to the finest scale; its
    two output channels a and b make the map |a| / (|a| + |b| + 1e-8).
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.selector = nn.Embedding(shape.classes, shape.top)
        nn.init.normal_(self.selector.weight, std=shape.top**-0.5)
        widths = [shape.width * 2**step for step in reversed(range(len(shape.skips)))]
        inputs = [shape.top, *widths][: len(widths)]
        self.blocks = nn.ModuleList(
            Upsampler(given, width, skip) for given, width, skip in zip(inputs, widths, shape.skips, strict=True)
        )
        self.to_map = nn.Conv2d(widths[-1] if widths else shape.top, 2, 1)

    def evidence(self, top: Tensor, classes: Tensor) -> Tensor:
        """Compute the evidence for the class at each place, N x h x w: positive if the class is seen there.

        Args:
            top: the encoder's last features N x C x h x w.
            classes: int64 N.
        """
        evidence: Tensor = torch.einsum("nc,nchw->nhw", self.selector(classes), top)
        return evidence

    def presence(self, top: Tensor, classes: Tensor) -> Tensor:
        """Compute s, the mean of the evidence over space, N. The logits of "absent, present" are (-s/2, s/2)."""
        return self.evidence(top, classes).mean((1, 2))

    def forward(self, scales: Sequence[Tensor], classes: Tensor, confidence: float) -> tuple[Tensor, Tensor]:
        """Compute the maps N x h x w in [0, 1], and the presence s, N.

        Args:
            scales: the encoder's features N x C x h x w: the last ones, then finer ones from coarse to fine.
            classes: int64 N.
            confidence: the evidence that a place must show to get half of its full weight.
        """
        top, *skips = scales
        evidence = self.evidence(top, classes)
        features = top * torch.sigmoid(evidence - confidence).unsqueeze(1)
        for block, skip in zip(self.blocks, skips, strict=True):
            features = block(features, skip)
        a, b = self._two(features).abs().unbind(1)
        return a / (a + b + EPS), evidence.mean((1, 2))

    def _two(self, features: Tensor) -> Tensor:
        """Compute the two output channels N x 2 x h x w with the weights of ``to_map``.

        It is written as products and sums, because a convolution with so few outputs adds in an order that depends on
        the batch.
        """
        assert self.to_map.bias is not None
        sums = [
            (features * vector).sum(1) + bias for vector, bias in zip(self.to_map.weight, self.to_map.bias, strict=True)
        ]
        return torch.stack(sums, 1)

    def scales_of(self, recorded: Recorded, image_size: tuple[int, int]) -> list[Tensor]:
        """Return the encoder's features as ``forward`` takes them.

        Args:
            recorded: a forward pass of the encoder that kept its ``scales``.
            image_size: height and width of the images.

        Raises:
            InterpreterError: the features do not fit this masker.
        """
        like = self.selector.weight
        found = [scale.to(like.dtype) for scale in (top_of(recorded), *finer_scales(recorded, image_size))]
        channels = [scale.shape[1] for scale in found]
        if channels != [self.shape.top, *self.shape.skips]:
            raise InterpreterError(
                f"the encoder's features on images of {image_size[0]} x {image_size[1]} have {channels} channels, from "
                f"coarse to fine, and this masker needs {[self.shape.top, *self.shape.skips]}: it was trained on "
                "images of another size, or with other features."
            )
        return found
