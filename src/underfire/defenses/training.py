"""The mechanism that all trainings of defenses share: the loop, its record, and the files of the result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from underfire import training as loop
from underfire.checkpoints import open_training, state_hash
from underfire.classifiers import Classifier
from underfire.data import ImageData
from underfire.defenses.recipe import TrainingRecipe
from underfire.files import write_text
from underfire.interpreters.rts.sampling import Pictures
from underfire.processes import ALONE, Group
from underfire.text import card

CHECKPOINT_EVERY = 50
"""Steps between two checkpoints."""

OnStep = Callable[[loop.Step], None]


class DefenseTraining(ABC):
    """A training of one network, in place. A step depends on its number alone.

    Args:
        recipe: all settings.
        network: the network to train, on its device.
        pictures: training images, with labels in the classifier's order.
        folder: the folder of the checkpoint; it must exist.
        on_step: called after each step, once a checkpoint of that step is on disk; in the leading process alone.
        group: the processes that train together.
    """

    name: ClassVar[str]

    def __init__(
        self,
        recipe: TrainingRecipe,
        network: nn.Module,
        pictures: Pictures,
        folder: Path,
        on_step: OnStep | None,
        group: Group,
    ) -> None:
        self.shared, self.network, self.pictures = recipe, network, pictures
        self.folder, self.on_step, self.group = folder, on_step, group

    @abstractmethod
    def step(self, number: int) -> dict[str, Tensor]:
        """Compute the values of step ``number``, from 0. ``loss`` is minimised; all are recorded.

        Each process draws the whole batch and its random numbers, and computes its part of the batch
        (``group.part``). Its values are means over that part, times ``Part.weight``: they sum to those of the batch.
        """

    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters to train; all of the network's unless a subclass says otherwise."""
        return list(self.network.parameters())

    def run(self) -> loop.Log:
        """Train, continuing from the folder's checkpoint if there is one, and return the recorded values.

        Afterwards the network is frozen and in evaluation mode.
        """
        recipe = self.shared
        parameters = self.parameters()
        for value in parameters:
            value.requires_grad_()
        optimiser = loop.make_optimiser(recipe.optimiser, parameters, recipe.rate, recipe.weight_decay, recipe.momentum)
        phase = loop.Phase(
            self.name, recipe.steps, optimiser, recipe.rate_at, self.step, CHECKPOINT_EVERY, recipe.average
        )
        log = loop.train(self.network, [phase], self.folder, self.on_step, self.group, recipe.seed)
        self.network.eval().requires_grad_(False)
        return log


def begin(
    classifier: Classifier,
    training: ImageData,
    classes: int,
    folder: Path,
    recipe: TrainingRecipe,
    resume: bool,
    test: ImageData | None = None,
    group: Group = ALONE,
    **more: Any,
) -> Pictures:
    """Open the folder of a training, or check that its checkpoint may be continued.

    Args:
        classifier: the classifier that is trained or explained.
        training: labelled images, with labels in the classifier's order.
        classes: the number of classes.
        folder: the output folder; it is created if needed.
        recipe: all settings.
        resume: continue from the folder's checkpoint.
        test: images on which the result is measured, if any. They are checked now, and not after the training.
        group: the processes that train together. The leading one opens the folder.
        more: what else the training depends on, as JSON values.

    Returns:
        The training images.

    Raises:
        DataError: a label is out of range.
        StoreError: the folder holds another training, or cannot be written.
        InputError: the processes do not have the same classifier, images or recipe.
    """
    pictures = Pictures(training, classifier)
    pictures.check_labels(classes)
    if test is not None:
        Pictures(test, classifier).check_labels(classes)
    run = {"classifier_sha256": classifier.sha256(), "data": training.fingerprint(), "recipe": repr(recipe)}
    if group.leads:
        open_training(folder, run | more, resume)
    group.agree({name: repr(value) for name, value in (run | more).items()})
    return pictures


def finish(
    folder: Path,
    name: str,
    log: loop.Log,
    network: nn.Module,
    about: str,
    lines: Mapping[str, str],
    *,
    made_by: str,
    training: ImageData,
    seed: int,
    group: Group,
) -> None:
    """Write the losses and the model card of a finished training.

    Args:
        folder: the output folder.
        name: the name of the result, and of the card's file.
        log: the recorded values.
        network: the trained network.
        about: the card's first paragraph.
        lines: the card's own lines, by heading; those that all cards share follow.
        made_by: the function that trained.
        training: the training images.
        seed: of the training.
        group: the processes that trained together.

    Raises:
        StoreError: a file cannot be written.
    """
    shared = {
        "training data": f"{training.name} ({len(training):,} images)",
        "seed": str(seed),
        "made with": f"torch {torch.__version__}, `{made_by}`" + (f", {group.count} processes" * (group.count > 1)),
        "SHA-256 of the weights": f"`{state_hash(network)}`",
        "SHA-256 of the data": f"training `{training.fingerprint()}`",
    }
    write_text(folder / loop.LOSSES, loop.table(log))
    write_text(folder / f"{name}.md", card(name, about, {**lines, **shared}))
