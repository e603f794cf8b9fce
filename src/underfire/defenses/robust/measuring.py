"""How robust a classifier's prediction and map are: accuracy, and Kendall's tau of its map, over the radius."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from underfire import metrics, randomness
from underfire.classifiers import Classifier
from underfire.defenses.robust.inner import ascend, on_prediction, on_top_cells
from underfire.interpreters import CAM

TOP = 8
"""The number of cells that the attack on the map moves importance out of (Boopathy et al. 2020)."""


@dataclass(frozen=True)
class Measuring:
    """An attack that measures robustness.

    Args:
        value: makes what it ascends, from classifier, clean images and labels.
        on_map: True if it attacks the map: its tau counts where the prediction stays.
    """

    value: Callable[[Classifier, Tensor, Tensor], Callable[[Tensor], Tensor]]
    on_map: bool


ATTACKS: Mapping[str, Measuring] = MappingProxyType(
    {
        "pgd": Measuring(lambda classifier, images, labels: on_prediction(classifier, labels), on_map=False),
        "top-8": Measuring(
            lambda classifier, images, labels: on_top_cells(classifier, images, labels, TOP), on_map=True
        ),
    }
)
"""The attacks that measure robustness, by name."""


@dataclass(frozen=True)
class Robustness:
    """Each image after an attack: is it classified correctly, and how much is its map like the clean one?

    Args:
        right: 1.0 where the class is still the label, float64 N.
        tau: Kendall's tau of the label's CAM, clean and attacked, float64 N. Under an attack on the map, NaN where the
            prediction changed.
    """

    right: Tensor
    tau: Tensor


def robustness(
    classifier: Classifier,
    images: Tensor,
    labels: Tensor,
    ids: Tensor,
    attack: str,
    eps: float,
    *,
    steps: int = 200,
    seed: int = 0,
    batch: int = 100,
) -> Robustness:
    """Measure accuracy and Kendall's tau under an attack from a random start, on 8-bit images ([EDGE] table VII).

    Steps have the length 2.5 eps / steps (Madry et al. 2018).

    Args:
        classifier: a classifier with class activation maps.
        images: N x C x H x W in [0, 1].
        labels: int64 N.
        ids: the images' identities, int64 N.
        attack: a key of ``ATTACKS``.
        eps: radius in L-inf, for pixels in [0, 1]; 0 for the clean images.
        steps: of the attack.
        seed: of the start.
        batch: images at once.

    Raises:
        InterpreterError: the classifier has no class activation maps.
    """
    right, taus = [], []
    for part, own, names in zip(images.split(batch), labels.split(batch), ids.split(batch), strict=True):
        part, own = part.to(classifier.device), own.to(classifier.device)
        attacked = part
        if eps:
            start = 2 * randomness.uniform(seed, names, "robustness", 0, part.shape[1:]).to(part) - 1
            value = ATTACKS[attack].value(classifier, part, own)
            attacked = ascend(part, (part + eps * start).clamp(0, 1), eps, 2.5 * eps / steps, steps, value)
            attacked = attacked.mul(255).round().div(255)
        classes, before = classifier.logits(attacked).argmax(1), classifier.logits(part).argmax(1)
        tau = metrics.map_kendall(CAM().maps(classifier, part, own), CAM().maps(classifier, attacked, own)).double()
        if ATTACKS[attack].on_map:
            tau = torch.where(classes == before, tau, torch.nan)
        right.append((classes == own).double().cpu())
        taus.append(tau.cpu())
    return Robustness(torch.cat(right), torch.cat(taus))
