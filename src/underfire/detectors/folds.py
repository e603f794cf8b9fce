"""Scores of a detector that learns, on the images that it learns from: each by a fit that has not seen it."""

from __future__ import annotations

import torch
from torch import Tensor

from underfire.arguments import whole_number
from underfire.detectors.cached_maps import CachedMaps
from underfire.detectors.contract import Detector
from underfire.detectors.measuring import measured
from underfire.detectors.split import Split
from underfire.errors import InputError
from underfire.system import System
from underfire.user_parts import guarded

FOLDS = 5


def cross_scores(
    detector: Detector, system: System, benign: Split, attacked: Split, folds: int = FOLDS
) -> tuple[Tensor, Tensor]:
    """Fit a detector several times, and score each image by the fit that has not seen its source image.

    The source images are divided into ``folds`` parts. For each part, the detector learns from the images of all other
    parts, clean and attacked, and scores the images of this part: an image and its attacked forms are never divided.
    The sources of attacked images are dealt out first, so that each part has its share of them. The map of an image is
    computed once for all parts.

    Args:
        detector: a detector that learns from clean and from attacked images.
        system: the classifier with the interpreters that the detector reads.
        benign: clean images.
        attacked: attacked images, with the ids of the clean images that they were made from, or hashes of their pixels.
        folds: the number of parts, at least 2.

    Returns:
        The scores of the clean and of the attacked images, float64.

    Raises:
        InputError: there are fewer than two source images for each part, or an attacked image has no clean one.
    """
    folds = whole_number("folds", folds)
    attacked = attacked.named_as(benign)
    known, sources = set(benign.members.ids), set(attacked.members.ids)
    unknown = [image for image in attacked.members.ids if image not in known]
    if unknown:
        raise InputError(f"attacked holds {unknown[0]!r}, and benign has no image with this id; expected its source.")
    if folds < 2 or len(sources) < 2 * folds:
        raise InputError(
            f"attacked is made from {len(sources)} images, too few for {folds} parts: at least {2 * max(folds, 2)} are "
            "needed. Attack more images."
        )
    dealt = sorted(benign.members.ids, key=lambda image: image not in sources)  # which keeps their order otherwise
    order = {image: place for place, image in enumerate(dealt)}
    parts = [
        torch.tensor([order[image] % folds for image in each.members.ids], device="cpu") for each in (benign, attacked)
    ]
    if not isinstance(system, CachedMaps):
        system = CachedMaps(system)
    scores = [torch.empty(len(each), dtype=torch.float64, device="cpu") for each in parts]
    for fold in range(folds):
        learnt = [
            split.chosen((part != fold).nonzero().flatten().tolist())
            for split, part in zip((benign, attacked), parts, strict=True)
        ]
        state = guarded(detector, "detector").learn(system, *learnt)
        for split, part, found in zip((benign, attacked), parts, scores, strict=True):
            places = part == fold
            if places.any():
                found[places] = measured(detector, system, state, split.images[places])
    return scores[0], scores[1]
