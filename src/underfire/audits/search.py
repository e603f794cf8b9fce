"""A random search for a joint attack that sees no gradient: only logits, and maps as the user would see them.

Where an attack with gradients finds nothing and this search does, gradients are hidden and the classifier only looks
robust. The search is a simple form of the Square attack (Andriushchenko et al. 2020), with the map's distance as a
second objective.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from underfire.attacks.benign import Benign
from underfire.attacks.goal import Goal
from underfire.attacks.perturbations import check_eps
from underfire.attacks.progress import Progress
from underfire.attacks.square import candidate, whole_levels
from underfire.attacks.unsound import sound
from underfire.audits.nearness import Nearness
from underfire.system import System


@dataclass
class _Best:
    """The best images so far. ``score`` is the margin while the own class wins; else the maps' nearness minus 2."""

    images: Tensor
    score: Tensor

    def improve(self, rows: Tensor, images: Tensor, score: Tensor) -> None:
        better = score < self.score[rows]
        self.images = self.images.index_copy(0, rows[better], images[better])
        self.score = self.score.index_copy(0, rows[better], score[better])


def search(
    system: System,
    near: Nearness,
    benign: Benign,
    eps: float,
    queries: int,
    *,
    seed: int = 0,
    leaves: float | None = 0.0,
    progress: Progress | None = None,
) -> Tensor:
    """Search for images of another class whose maps are near the benign ones.

    Args:
        system: the honest classifier and interpreters.
        near: the interpreters whose maps shall stay, and how near maps are.
        benign: the images, with their maps.
        eps: the radius in L-inf, in pixel units. Changes are whole levels of 1/255.
        queries: the largest number of images that are tried for each image, at least 1.
        seed: of the random numbers. An image's result does not depend on the other images.
        leaves: the nearness of maps below which an image needs no further query. None: do not look at maps (which may
            take seconds); an image needs no further query once its class has changed.
        progress: called after each query.

    Returns:
        The best images, N x C x H x W at 8 bits: of those with another class the one with the nearest map, else the one
        with the smallest margin.

    Raises:
        InputError: ``eps`` is less than one level of 1/255, or no radius.
    """
    check_eps("eps", eps)
    levels = whole_levels(eps)
    best = _Best(benign.images, torch.full((len(benign.images),), torch.inf, device=benign.images.device))
    enough = 0.0 if leaves is None else leaves - 2
    for query in range(queries):
        rows = (best.score >= enough).nonzero().flatten()
        if not len(rows):
            break
        some = benign.take(rows)
        tried = candidate(some.images, best.images[rows], some.ids, levels, query, queries, seed=seed, purpose="audit")
        best.improve(rows, *_scored(system, near, some, tried, leaves is not None))
        if progress is not None:
            progress(query + 1, queries)
    return best.images


def _scored(system: System, near: Nearness, benign: Benign, images: Tensor, reads_maps: bool) -> tuple[Tensor, Tensor]:
    """Score candidates. The clean image stands in the place of one on which the network breaks."""
    goal = Goal(targeted=False)
    images, logits = sound(benign, images, system.classifier.logits(images))
    margin = goal.margin(logits, benign.labels)
    wrong = goal.reached(logits, benign.labels)
    score = torch.where(wrong, margin.new_full((), -1.0), margin.clamp(min=0))
    if reads_maps and bool(wrong.any()):
        rows = wrong.nonzero().flatten()
        classes = goal.explained(logits, benign.labels)[rows]
        nearness = near.of(near.distances(system, benign.take(rows), images[rows], classes))
        score[rows] = nearness.to(score) - 2
    return images, score
