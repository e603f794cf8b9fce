"""The masker: a small network that turns an encoder's features and a class into a map (Dabkowski & Gal 2017)."""

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
"""At most so many upsampling blocks: from 7 x 7 to 56 x 56 for images of 224 x 224."""


@dataclass(frozen=True)
class Shape:
    """What a masker's weights fit.

    ``classes`` K; ``top`` the channels of the encoder's last features; ``skips`` those of the finer ones that are used,
    from coarse to fine; ``width`` the channels of the finest map's features, which double with each coarser scale.
    """

    classes: int
    top: int
    skips: tuple[int, ...]
    width: int = 32

    @classmethod
    def of(cls, recorded: Recorded, image_size: tuple[int, int], width: int = 32) -> Self:
        """The shape for an encoder whose forward pass, with scales, is ``recorded``, on images of ``image_size``."""
        top = top_of(recorded)
        finer = finer_scales(recorded, image_size)
        return cls(recorded.logits.shape[1], top.shape[1], tuple(scale.shape[1] for scale in finer), width)


def top_of(recorded: Recorded) -> Tensor:
    """The encoder's last features N x C x h x w. Raises InterpreterError where it has none."""
    if recorded.features is None or recorded.features.ndim != 4:
        raise InterpreterError(
            "RTS needs an encoder with convolutional features that are pooled before its head, and none were seen in "
            "this network's forward pass. Name the module whose output they are (Classifier(..., features='layer4')), "
            "or give another network as the encoder."
        )
    return full_precision(recorded.features)


def finer_scales(recorded: Recorded, image_size: tuple[int, int]) -> list[Tensor]:
    """The finer feature maps that a masker uses, from coarse to fine.

    Each is at least 1.5 times as high as the one before (a convolution without padding lowers the resolution, too, and
    makes no scale of its own), the finest at most half as high as the image, or a quarter from 128 pixels on: the size
    of Grad's maps.
    """
    limit = min(image_size) / (4 if min(image_size) >= 128 else 2)
    height, found = top_of(recorded).shape[2], list[Tensor]()
    for scale in reversed(recorded.scales):
        if len(found) < STEPS_UP and scale.shape[2] >= 1.5 * height and min(scale.shape[2:]) <= limit:
            found.append(scale)
            height = scale.shape[2]
    return found


class Bottleneck(nn.Module):
    """A residual block of 1x1, 3x3 and 1x1 convolutions, the inner ones with a quarter of the channels."""

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
    """Twice the resolution by a 3x3 convolution and a pixel shuffle, joined with the encoder's features there."""

    def __init__(self, inputs: int, outputs: int, skip: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, 4 * outputs, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4 * outputs)
        self.join = Bottleneck(outputs + skip, outputs)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        larger = F.pixel_shuffle(F.relu(self.bn(self.conv(features))), 2)
        if larger.shape[2:] != skip.shape[2:]:  # an encoder whose sizes are odd, or shrink by another factor
            larger = F.interpolate(larger, skip.shape[2:], mode="bilinear", align_corners=False)
        joined: Tensor = self.join(torch.cat([larger, skip], 1))
        return joined


class Masker(nn.Module):
    """Selector and decoder.

    The *selector* holds a vector for each class; its product with the encoder's top features says where the class is
    seen, and gates them. The *decoder* brings them to the finest scale, and two channels a, b to the map
    |a| / (|a| + |b| + 1e-8).
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
        """<f, class embedding> at each place of ``top`` N x C x h x w: N x h x w, positive where the class is seen."""
        evidence: Tensor = torch.einsum("nc,nchw->nhw", self.selector(classes), top)
        return evidence

    def presence(self, top: Tensor, classes: Tensor) -> Tensor:
        """s, the spatial mean of the ungated evidence, N: the logits of "absent, present" are (-s/2, s/2)."""
        return self.evidence(top, classes).mean((1, 2))

    def forward(self, scales: Sequence[Tensor], classes: Tensor, confidence: float) -> tuple[Tensor, Tensor]:
        """Maps N x h x w in [0, 1], and the presence s, N.

        Args:
            scales: the encoder's features N x C x h x w: the top ones, then the finer ones from coarse to fine.
            classes: int64 N.
            confidence: evidence that a place must show before it counts.
        """
        top, *skips = scales
        evidence = self.evidence(top, classes)
        features = top * torch.sigmoid(evidence - confidence).unsqueeze(1)
        for block, skip in zip(self.blocks, skips, strict=True):
            features = block(features, skip)
        a, b = self._two(features).abs().unbind(1)
        return a / (a + b + EPS), evidence.mean((1, 2))

    def _two(self, features: Tensor) -> Tensor:
        """The two channels of the map, N x 2 x h x w: ``to_map`` as products and sums, since a convolution with so few
        outputs adds in another order in another batch."""
        assert self.to_map.bias is not None
        sums = [
            (features * vector).sum(1) + bias for vector, bias in zip(self.to_map.weight, self.to_map.bias, strict=True)
        ]
        return torch.stack(sums, 1)

    def scales_of(self, recorded: Recorded, image_size: tuple[int, int]) -> list[Tensor]:
        """What ``forward`` takes, from the encoder's pass. Raises InterpreterError where it does not fit."""
        like = self.selector.weight
        found = [scale.to(like.dtype) for scale in (top_of(recorded), *finer_scales(recorded, image_size))]
        channels = [scale.shape[1] for scale in found]
        if channels != [self.shape.top, *self.shape.skips]:
            raise InterpreterError(
                f"the encoder's features on images of {image_size[0]} x {image_size[1]} have {channels} channels, from "
                f"coarse to fine, and this masker was made for {[self.shape.top, *self.shape.skips]}: it was trained "
                "on images of another size, or with other features."
            )
        return found
