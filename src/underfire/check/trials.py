"""Try every interpreter on a classifier: its honest maps, their gradients, and the time of a step."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from underfire.attacks.benign import read_benign
from underfire.attacks.probe import probe_views
from underfire.check.network_parts import NetworkParts, find_parts
from underfire.check.speed import Speed, measure_speed
from underfire.classifiers import Classifier
from underfire.errors import NoGradientError, UnderfireError, UnderfireWarning
from underfire.interpreters import REGISTRY, create
from underfire.system import System


@dataclass(frozen=True)
class InterpreterTrial:
    """The outcome of a trial of one interpreter.

    Args:
        name: the interpreter's name.
        works: True if a joint attack on it can run.
        problem: the reason if it does not work.
        module: the part of the network that has no second derivative, if that is the reason and it is known.
        speed: times, if it works.
    """

    name: str
    works: bool
    problem: str | None = None
    module: str | None = None
    speed: Speed | None = None


def try_interpreters(
    classifier: Classifier,
    images: Tensor,
    classes: Tensor,
    progress: Callable[[str], None] | None = None,
    memory: int | None = None,
) -> tuple[NetworkParts | None, list[InterpreterTrial]]:
    """Try every known interpreter on a few images.

    Args:
        images: N x C x H x W in [0, 1], N at most 8.
        classes: int64 N, the classes to explain.
        progress: called with the name of each interpreter before its trial.
        memory: the largest number of bytes that the process shall have on the device.

    Returns:
        The parts of the network, and a trial of each interpreter. Without a copy for attacks there are no parts (None),
        and no interpreter works.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnderfireWarning)
        try:
            parts = find_parts(classifier.prepare(size=images.shape[2:]), images.to(classifier.device))
        except UnderfireError as error:
            return None, [InterpreterTrial(name, False, str(error)) for name in REGISTRY]
        trials: list[InterpreterTrial] = []
        for name in REGISTRY:
            if progress is not None:
                progress(name)
            known = next((trial.speed for trial in trials if trial.speed), None)
            trials.append(_try(classifier, name, images, classes, known, memory))
        return parts, trials


def _try(
    classifier: Classifier, name: str, images: Tensor, classes: Tensor, known: Speed | None, memory: int | None
) -> InterpreterTrial:
    try:
        interpreter = create(name)
        system = System(classifier, {name: interpreter})
        sketch = System(classifier, {name: interpreter.sketch()})
        benign = read_benign(sketch, images, classes)
        view = sketch.view(size=images.shape[2:])
        # An attack reads maps for another class than the image's own.
        probe_views(view, benign, (benign.labels + 1) % benign.logits.shape[1])
        return InterpreterTrial(name, True, speed=measure_speed(system, view, benign, known, memory))
    except NoGradientError as error:
        return InterpreterTrial(name, False, str(error), error.module)
    except UnderfireError as error:
        return InterpreterTrial(name, False, str(error))
    except torch.OutOfMemoryError:
        problem = f"it does not fit into the memory of {classifier.device}; try a smaller batch size."
        return InterpreterTrial(name, False, problem)
