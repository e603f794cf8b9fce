"""An attack on the certificate: push the most important cells out of the top K, within a ball in L2."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from underfire import randomness
from underfire.arguments import check_at_least
from underfire.classifiers import Classifier
from underfire.errors import InputError
from underfire.interpreters.certified.sparsified import SparsifiedSmoothGrad
from underfire.interpreters.smoothing import Smoothing

SMOOTH = Smoothing("softplus", 0.2)
"""The slope of rectifiers in the attack."""


def common(first: Tensor, second: Tensor, top: int) -> Tensor:
    """Count the cells that are among the ``top`` highest of both maps N x h x w: int64 N."""
    marks = []
    for maps in (first, second):
        flat = maps.flatten(1)
        chosen = flat.sort(dim=1, descending=True, stable=True).indices[:, :top]
        marks.append(torch.zeros_like(flat, dtype=torch.bool).scatter_(1, chosen, True))
    return (marks[0] & marks[1]).sum(1)


def into_ball(images: Tensor, centre: Tensor, radius: float) -> Tensor:
    """Project images N x C x H x W onto the L2 ball around ``centre``, then onto pixels in [0, 1].

    The second projection leads no image out of the ball, because the centre has pixels in [0, 1].
    """
    change = images - centre
    length = change.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
    inside: Tensor = (centre + change * ((1 - 1e-6) * radius / length).clamp(max=1.0)).clamp(0, 1)
    return inside


def undermine(
    classifier: Classifier,
    interpreter: SparsifiedSmoothGrad,
    images: Tensor,
    classes: Tensor,
    maps: Tensor,
    *,
    radius: float,
    top: int | None = None,
    steps: int = 10,
    samples: int = 16,
    smoothing: Smoothing = SMOOTH,
    width: float = 0.2,
    seed: int = 1,
) -> Tensor:
    """Change images so that few of the top K cells of their maps stay among the top K.

    Each step goes along the normalised gradient, and back into the ball. It lowers the smoothed share of the K most
    important cells, and raises that of the K next ones. All steps see the same ``samples`` noisy copies (common random
    numbers), so that two steps can be compared; the analyst's noise is not known to the attack.

    Args:
        classifier: the classifier.
        interpreter: the analyst's interpreter.
        images: N x C x H x W in [0, 1].
        classes: int64 N, the class that the maps explain.
        maps: the analyst's maps of ``images``, N x h x w.
        radius: of the ball in L2, for pixels in [0, 1].
        top: K; the interpreter's share of the cells if None.
        steps: the number of steps. Their size falls from ``radius`` / 2 to 0 in a straight line.
        samples: noisy copies in each step.
        smoothing, width: the slope of rectifiers and the width of the sigmoid, in place of the interpreter's. Wide ones
            give a gradient that holds for longer steps.
        seed: of the attack's noise and of its start.

    Returns:
        Images N x C x H x W in [0, 1], within ``radius`` of the given ones in L2: those with the lowest loss.

    Raises:
        InputError: the attack would know the analyst's noise, or a number is out of range.
    """
    check_at_least("radius", radius, 0)
    check_at_least("steps", steps, 1)
    if seed == interpreter.seed:
        raise InputError(f"seed is {seed}, that of the interpreter; the certificate is about noise that is not known.")
    own = replace(interpreter, samples=samples, smoothing=smoothing, width=width, seed=seed)
    top = interpreter.cells(maps) if top is None else top
    order = maps.flatten(1).sort(dim=1, descending=True, stable=True).indices
    weight = torch.zeros_like(maps).flatten(1)
    weight.scatter_(1, order[:, :top], 1.0).scatter_(1, order[:, top : 2 * top], -1.0)
    weight = weight.view_as(maps)
    prepared = classifier.prepare(size=(images.shape[2], images.shape[3]))
    ids = randomness.identify(images)
    view = own.view()
    state = view.begin(prepared, images, classes, ids)
    drawn = randomness.uniform(seed, ids, "undermine", 0, images.shape[1:]).to(images.dtype) - 0.5
    size = drawn.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    moved = into_ball(images + drawn * (radius / size), images, radius)
    best, lowest = moved, torch.full((len(images),), torch.inf)
    for step in range(steps + 1):
        leaf = moved.detach().requires_grad_()
        with torch.enable_grad():
            found, _ = view.read(prepared, prepared.record(leaf), leaf, classes, state, True)
            loss = (found * weight).flatten(1).sum(1)
            (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        better = loss.detach().cpu() < lowest
        best = torch.where(better.to(images.device).view(-1, 1, 1, 1), moved, best)
        lowest = torch.where(better, loss.detach().cpu(), lowest)
        length = gradient.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
        moved = into_ball(moved - radius / 2 * (1 - step / steps) * gradient / length, images, radius)
    return best
