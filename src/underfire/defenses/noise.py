"""Noise of the size that makes a classifier wrong on a given share of images ([ADV2] section 6.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from underfire import randomness
from underfire.classifiers import Classifier
from underfire.errors import InputError

Drawn = Callable[[Tensor], Tensor]

NOISES: Mapping[str, Drawn] = MappingProxyType(
    {
        "normal": lambda drawn: torch.special.ndtri(drawn.double().clamp(2**-25, 1 - 2**-25)).to(drawn.dtype),
        "uniform": lambda drawn: 2 * drawn - 1,
    }
)
"""Kinds of noise by name, of size 1, from uniform numbers in [0, 1): of standard deviation 1, and in [-1, 1]."""

BISECTIONS = 16
"""Halvings of the interval of sizes, from [0, 1]: the size is known to 2**-16."""


@dataclass(frozen=True)
class Noisy:
    """Images with noise.

    Args:
        images: N x C x H x W in [0, 1], with 8-bit values.
        size: the noise's standard deviation (normal), or its largest value (uniform), for pixels in [0, 1].
        classes: the classes that the classifier says, int64 N.
        wrong: True where they are not the labels, N.
    """

    images: Tensor
    size: float
    classes: Tensor
    wrong: Tensor


def noisy_at(
    classifier: Classifier, images: Tensor, labels: Tensor, ids: Tensor, kind: str, share: float, seed: int = 0
) -> Noisy:
    """Add the largest noise that makes the classifier wrong on at most a share of the images, found by bisection.

    Each image has one draw of noise, which is scaled. The share grows with the size but for exceptions, so that the
    size found is one at which the share passes the wanted one.

    Args:
        classifier: the classifier.
        images: N x C x H x W in [0, 1], all of them classified right.
        labels: int64 N.
        ids: the images' identities, int64 N.
        kind: a key of ``NOISES``.
        share: the share of wrong images, in [0, 1).
        seed: of the noise.

    Raises:
        InputError: noise as large as the range of pixels makes the classifier wrong on fewer images.
    """
    drawn = NOISES[kind](randomness.uniform(seed, ids, f"noise {kind}", 0, images.shape[1:]))

    def at(size: float) -> Noisy:
        noisy = (images + size * drawn.to(images)).clamp(0, 1).mul(255).round().div(255)
        classes = classifier.logits(noisy).argmax(1)
        return Noisy(noisy, size, classes, classes != labels)

    def is_small(found: Noisy) -> bool:
        return int(found.wrong.sum()) <= share * len(images)

    best, high = at(0.0), 1.0
    last = at(high)
    if is_small(last):
        raise InputError(
            f"{kind} noise of size 1 makes {int(last.wrong.sum())} of {len(images)} images wrong; expected more than "
            f"{100 * share:g} %."
        )
    for _ in range(BISECTIONS):
        middle = at((best.size + high) / 2)
        if is_small(middle):
            best = middle
        else:
            high = middle.size
    return best
