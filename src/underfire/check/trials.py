"""Which interpreters work with a classifier: honest maps, maps that can be differentiated, and what a step costs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from underfire.attacks.benign import read_benign
from underfire.attacks.probe import probe_views
from underfire.attacks.second_order import without_second_derivative
from underfire.check.parts import Parts, find_parts
from underfire.check.speed import Speed, measure
from underfire.classifiers import Classifier
from underfire.errors import UnderfireError, UnderfireWarning
from underfire.interpreters import REGISTRY, create
from underfire.system import System


@dataclass(frozen=True)
class Trial:
    """How an interpreter did: ``problem`` says why not, ``module`` which part of the network is to blame."""

    name: str
    works: bool
    problem: str | None = None
    module: str | None = None
    speed: Speed | None = None


def try_interpreters(classifier: Classifier, images: Tensor, classes: Tensor) -> tuple[Parts | None, list[Trial]]:
    """Every known interpreter on a few images, and where the network's parts are (None where no copy can be made).

    Args:
        images: N x C x H x W in [0, 1], N at most 8.
        classes: int64 N, the classes to explain.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnderfireWarning)
        try:
            parts = find_parts(classifier.prepare(size=images.shape[2:]), images.to(classifier.device))
        except UnderfireError as error:
            return None, [Trial(name, False, str(error)) for name in REGISTRY]
        trials: list[Trial] = []
        for name in REGISTRY:
            bare = next((trial.speed for trial in trials if trial.speed), None)
            trials.append(_tried(classifier, name, images, classes, bare))
        return parts, trials


def _tried(classifier: Classifier, name: str, images: Tensor, classes: Tensor, bare: Speed | None) -> Trial:
    try:
        return _try(classifier, name, images, classes, bare)
    except torch.OutOfMemoryError:
        return Trial(name, False, f"it does not fit into the memory of {classifier.device}; try a smaller batch size.")


def _try(classifier: Classifier, name: str, images: Tensor, classes: Tensor, bare: Speed | None) -> Trial:
    interpreter = create(name)
    system = System(classifier, {name: interpreter})
    try:
        sketch = System(classifier, {name: interpreter.sketch()})
        benign = read_benign(sketch, images, classes)
        view = sketch.view(size=images.shape[2:])
    except UnderfireError as error:
        return Trial(name, False, str(error))
    # Another class than the image's own, as an attack would want it.
    wanted = (benign.labels + 1) % benign.logits.shape[1]
    try:
        probe_views(view, benign, wanted)
    except UnderfireError as error:
        module = without_second_derivative(view.prepared, benign.images[:2]) if "second" in str(error) else None
        return Trial(name, False, str(error), module)
    return Trial(name, True, speed=measure(system, view, benign, bare=bare))
