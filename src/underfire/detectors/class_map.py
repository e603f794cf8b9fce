"""The distance of a map from the mean benign map of the predicted class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from underfire import metrics
from underfire.attacks.terms import Point
from underfire.detectors.contract import Detector, State
from underfire.detectors.map_reading import predicted
from underfire.detectors.split import Split
from underfire.detectors.standard import on_scale, scale_of, standardised
from underfire.errors import InputError, warn
from underfire.system import System

FEWEST = 2
"""The smallest number of images whose maps have a mean."""


@dataclass(frozen=True)
class ClassMap(Detector):
    """The mean absolute difference between an image's map and the mean map of benign images of its predicted class.

    A class that fewer than two of the benign images are predicted as has the mean map of all of them: one map is no
    mean. The score is the mean over interpreters, each in benign standard deviations above the benign mean.
    """

    name: ClassVar[str] = "class-map"
    least_interpreters: ClassVar[int] = 1
    most_interpreters: ClassVar[int | None] = None
    learns: ClassVar[bool] = True

    def learn(self, system: System, benign: Split, attacked: Split | None) -> State:
        logits = system.classifier.logits(benign.images)
        classes, count = logits.argmax(1), logits.shape[1]
        numbers = torch.bincount(classes, minlength=count)
        if len(classes) < FEWEST:
            raise InputError(
                f"benign holds {len(classes)} images, too few for class-map: at least {FEWEST} are needed."
            )
        if few := int((numbers < FEWEST).sum()):
            warn(
                f"class-map has fewer than {FEWEST} images of {few} of the {count} classes, so that the mean map of "
                "all images stands for that of each of them. Give more images to learn from (--count)."
            )
        state: State = {}
        distances = []
        for name, maps in system.maps(benign.images, classes).items():
            values = maps.double()
            means = values.mean(0).expand(count, -1, -1).clone()
            for each in (numbers >= FEWEST).nonzero().flatten().tolist():
                means[each] = values[classes == each].mean(0)
            state[f"mean/{name}"] = means
            distances.append(self._left_out(values, classes, means))
        return state | scale_of(torch.stack(distances, 1), "distance")

    def measure(self, system: System, state: State, images: Tensor) -> Tensor:
        classes = predicted(system, images)
        maps = system.maps(images, classes)
        distances = [metrics.map_l1(maps[name].double(), state[f"mean/{name}"][classes]) for name in maps]
        return standardised(torch.stack(distances, 1), state, "distance").mean(1)

    def differentiable(self, system: System, state: State) -> Callable[[Point], Tensor]:
        """Return the score with its gradient.

        An attack reads maps of its target class or, untargeted, of the likeliest class other than the image's own. That
        is the predicted class as soon as the attack has reached its goal: from there on, this is the detector's score.
        """

        def score(point: Point) -> Tensor:
            classes = point.goal.explained(point.reading.logits.detach(), point.classes)
            distances = []
            for name in system.interpreters:
                means = state[f"mean/{name}"].to(point.image)[classes]
                distances.append((point.reading.maps[name] - means).abs().flatten(1).mean(1))
            held = {name: values.to(point.image) for name, values in state.items() if name.startswith("distance/")}
            return on_scale(torch.stack(distances, 1), held, "distance").mean(1)

        return score

    @staticmethod
    def _left_out(values: Tensor, classes: Tensor, means: Tensor) -> Tensor:
        """Compute the distances of benign maps from the mean map of the other images of their class, N.

        A map is always near a mean that it is part of; maps of later images are not. A map that is alone in its class
        is compared with the mean of all other images.
        """
        count = torch.bincount(classes, minlength=len(means))[classes].double().view(-1, 1, 1)
        every = (values.sum(0) - values) / max(len(values) - 1, 1)
        others = (means[classes] * count - values) / (count - 1).clamp_min(1)
        rest = torch.where(count > 1, others, every).clamp(0, 1)
        return metrics.map_l1(values, rest)
