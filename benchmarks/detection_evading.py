"""Loss terms of attackers who know a map detector, for ``benchmarks.detection``."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

import underfire as uf
from benchmarks.detection_maps import Held, Known, held
from underfire.attacks.terms import Score
from underfire.detectors import ClassMap, Detector, MapAgreement, Maps, fit, surrogate
from underfire.system import System

DETECTORS: dict[str, tuple[Detector, tuple[str, ...]]] = {
    "evade-class-map": (ClassMap(), ("cam",)),
    "evade-agreement": (MapAgreement(), ("grad", "cam")),
    "evade-maps": (Maps(), ("grad", "cam")),
}
"""The detectors that are evaded, and the interpreters that they read. The first has a gradient of its own."""

MARGIN = 1.0


def term(kind: str, classifier: uf.classifiers.Classifier, out: Path, tested: set[str]) -> Score:
    """Fit a detector as the attacker would, on images that are not attacked with this term, and make the term.

    Args:
        kind: a name among ``DETECTORS``.
        classifier: the network.
        out: the folder with stored images.
        tested: the ids of the images to be attacked.
    """
    detector, names = DETECTORS[kind]
    calibration, clean = held(out, "resnet20-calibration"), held(out, "resnet20-clean")
    attacked = [held(out, f"resnet20-{name}-adv2") for name in names]
    system = Known(System(classifier, list(names)), [calibration, clean, *attacked])
    ids = list(calibration.images)
    half = len(ids) // 2
    first, second = (calibration.tensor(some) for some in (ids[half:], ids[:half]))
    sources = [each for each in clean.ids(names) if each not in tested]
    pairs = [(sources[place], attacked[place % len(names)]) for place in range(len(sources))]
    pairs = [(image, group) for image, group in pairs if image in group.ids(names)]
    fooled = torch.cat([group.tensor([image]) for image, group in pairs])
    if isinstance(detector, Maps):
        benign = clean.tensor(sources)
        keys = {"calibration_ids": ids[half:], "benign_ids": sources, "attacked_ids": [image for image, _ in pairs]}
        fitted = fit(detector, system, first, benign, fooled, **keys)
    else:
        fitted = fit(detector, system, first, second)
    if isinstance(detector, ClassMap):
        return fitted.term(MARGIN)
    return surrogate(fitted, learnt(second, clean, sources, fooled), first).term(MARGIN)


def learnt(second: Tensor, clean: Held, sources: list[str], fooled: Tensor) -> Tensor:
    """The images of the surrogate: clean and attacked ones."""
    return torch.cat([second, clean.tensor(sources), fooled])
