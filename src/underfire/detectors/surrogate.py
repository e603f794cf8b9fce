"""Differentiable stand-ins for detectors that read maps: what an attack can lower if the score has no gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire.attacks.terms import Point, ScoreOfMaps
from underfire.classifiers import check_images
from underfire.detectors.contract import FittedDetector
from underfire.detectors.map_reading import common_size, predicted
from underfire.detectors.split import pixels_of
from underfire.detectors.threshold import calibrated
from underfire.errors import InputError
from underfire.metrics import rank_correlation

GRID = 8
"""The height and width of the grid that maps are averaged to."""

PENALTY = 1.0
"""The weight of the squared coefficients in the regression, per image."""


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A ridge regression from maps to the scores of a detector: the stand-in whose score an attack lowers.

    Its inputs are the maps of all interpreters of the detector on a grid of at most 8 x 8 cells, their squares, and the
    products of each two interpreters.

    Args:
        detector: the name of the detector that it imitates.
        digest: that of the detector; see ``FittedDetector.digest``.
        interpreters: the interpreters, in order.
        mean, std: of the inputs, M.
        weight: M.
        bias: the score at the mean of all inputs.
        threshold: the score above which the surrogate calls an image attacked, for the detector's rate of false alarms.
        agreement: the rank correlation of its scores with the detector's, on images that it was not fitted on.
    """

    detector: str
    digest: str
    interpreters: tuple[str, ...]
    mean: Tensor
    std: Tensor
    weight: Tensor
    bias: float
    threshold: float
    agreement: float

    @property
    def name(self) -> str:
        """The name for messages and records."""
        return f"surrogate of {self.detector}"

    def score(self, point: Point) -> Tensor:
        """Compute the score of every image, N, from the maps that the attack reads. Differentiable in the image.

        Raises:
            InputError: the attack reads no maps of one of the detector's interpreters.
        """
        missing = [name for name in self.interpreters if name not in point.reading.maps]
        if missing:
            raise InputError(
                f"the attack reads maps of {', '.join(point.reading.maps) or 'no interpreter'}, and detector "
                f"{self.detector} reads {', '.join(self.interpreters)}: attack all of them."
            )
        return self.of_maps({name: point.reading.maps[name] for name in self.interpreters})

    def of_maps(self, maps: dict[str, Tensor]) -> Tensor:
        """Compute the scores N of maps N x h x w by interpreter."""
        values = inputs(maps)
        mean, std, weight = (each.to(values) for each in (self.mean, self.std, self.weight))
        return ((values - mean) / std * weight).sum(1) + self.bias

    def term(self, margin: float = 0.0) -> ScoreOfMaps:
        """Return the loss term that an attack evades the surrogate by: ``uf.attack(..., evade=surrogate.term())``."""
        return ScoreOfMaps(self, self.threshold, margin)

    def __repr__(self) -> str:
        return (
            f"Surrogate({self.detector!r}, threshold={self.threshold:.4g}, agreement={self.agreement:.2f}, "
            f"digest={self.digest!r})"
        )


def inputs(maps: dict[str, Tensor]) -> Tensor:
    """Compute the inputs of the regression from maps N x h x w: N x M."""
    height, width = (min(GRID, side) for side in common_size(maps))
    grids = [F.adaptive_avg_pool2d(each.unsqueeze(1), (height, width)).flatten(1) for each in maps.values()]
    products = [a * b for place, a in enumerate(grids) for b in grids[place:]]
    return torch.cat([*grids, *products], 1)


def surrogate(fitted: FittedDetector, images: Tensor, calibration: Tensor) -> Surrogate:
    """Fit a surrogate of a detector that reads maps.

    The attacker needs the detector's answers alone. Some attacked ones among ``images`` help: the regression learns how
    the score falls from attacked to clean images only if it sees both.

    Args:
        fitted: the detector.
        images: images whose scores it learns, N x C x H x W in [0, 1]: clean, noisy and attacked ones.
        calibration: clean images for its threshold, and for its agreement with the detector; none of ``images``.

    Raises:
        InputError: the detector reads no maps; or there are too few images, or some are in both splits.
    """
    if not isinstance(fitted, FittedDetector):
        raise InputError(f"fitted is {fitted!r:.80}; expected a fitted detector, as uf.detectors.fit returns it.")
    if not fitted.detector.reads_maps:
        raise InputError(f"detector {fitted.name} reads no maps, so that it has no surrogate of this kind.")
    images, calibration = (
        check_images(each, fitted.system.classifier, name).cpu()
        for each, name in ((images, "images"), (calibration, "calibration"))
    )
    if len(images) < 10:
        raise InputError(f"images holds {len(images)}; expected at least 10, and better some hundreds.")
    shared = set(pixels_of(images)) & set(pixels_of(calibration))
    if shared:
        raise InputError(
            f"calibration holds {len(shared)} of the images that are in images; expected other ones: a surrogate "
            "agrees with its detector more on images that it has learnt than on others."
        )
    values, known = (_values(fitted, each) for each in (images, calibration))
    scores = fitted.scores(images)
    mean, std = values.mean(0), values.std(0, correction=0).clamp_min(1e-6)
    scaled = (values - mean) / std
    bias = float(scores.mean())
    gram = scaled.T @ scaled + PENALTY * len(images) * torch.eye(scaled.shape[1], dtype=scaled.dtype, device="cpu")
    weight = torch.linalg.solve(gram, scaled.T @ (scores - bias))
    guessed = ((known - mean) / std * weight).sum(1) + bias
    agreement = rank_correlation(guessed.numpy(), fitted.scores(calibration).numpy()).mean
    return Surrogate(
        detector=fitted.name,
        digest=fitted.digest,
        interpreters=tuple(fitted.system.interpreters),
        mean=mean,
        std=std,
        weight=weight,
        bias=bias,
        threshold=calibrated(guessed, fitted.false_positives),
        agreement=0.0 if agreement is None else agreement,
    )


def _values(fitted: FittedDetector, images: Tensor) -> Tensor:
    maps = fitted.system.maps(images, predicted(fitted.system, images))
    return inputs({name: each.double() for name, each in maps.items()})
