"""Robust training, from a classifier and images to a file of weights and a model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from underfire.checkpoints import write_weights
from underfire.classifiers import Classifier
from underfire.data import ImageData
from underfire.data.sampling import evenly_spaced
from underfire.defenses.robust.objectives import OBJECTIVES
from underfire.defenses.robust.recipe import RobustRecipe
from underfire.defenses.robust.training import RobustTraining, random_start
from underfire.defenses.training import OnStep, begin, finish
from underfire.files import name_part
from underfire.interpreters.rts.sampling import Pictures
from underfire.processes import ALONE, Group

ABOUT = (
    "A small classifier that was trained against attacks, for measuring attacks on explanations.\n"
    "It is a test object, not a product."
)

MEASURED = 1000
"""The largest number of test images that are measured."""


def train_robust(
    classifier: Classifier,
    training: ImageData,
    folder: Path,
    *,
    test: ImageData | None = None,
    recipe: RobustRecipe | None = None,
    resume: bool = False,
    on_step: OnStep | None = None,
    group: Group = ALONE,
) -> dict[str, Any]:
    """Go on training ``classifier`` in place against attacks, and write the result to ``folder``.

    The folder gets ``NAME-robust.safetensors``, the model card ``NAME-robust.md``, ``losses.csv`` and a checkpoint.

    Args:
        classifier: a trained classifier. Its network is changed.
        training: labelled images, with labels in the classifier's order.
        folder: the output folder; it is created if needed.
        test: images on which accuracy is measured, clean and under an attack on the class with the recipe's
            steps and radius, whatever the training attacked; up to 1000 of them are used.
        recipe: all settings; the defaults of ``RobustRecipe`` if None.
        resume: continue from the folder's checkpoint, which must be of the same classifier, images and recipe.
        on_step: called after each step, in the leading process alone.
        group: the processes that train together, each with a copy of the classifier on its device. The leading one
            measures the result and writes the files.

    Returns:
        ``name`` of the files, ``classifier``, ``objective``, ``steps``, ``images`` (images per step times steps), and
        with ``test`` the ``accuracy``, the ``attacked_accuracy``, and before the training the ``accuracy_before``, in
        [0, 1] on ``test_images`` images.

    Raises:
        InterpreterError: the objective compares class activation maps, and the classifier has none.
        DataError: the images cannot be read, or have labels beyond the classifier's classes.
        StoreError: the folder holds another training, or cannot be written.
        ProcessLostError: another process of the group has ended.
    """
    recipe = recipe or RobustRecipe()
    before = classifier.sha256()
    grey = torch.full((1, classifier.channels, *Pictures(training, classifier).size()), 0.5, device=classifier.device)
    pictures = begin(classifier, training, classifier.logits(grey).shape[1], folder, recipe, resume, test, group)
    clean_before = None if test is None or not group.leads else _accuracy(classifier, *_test_images(classifier, test))
    made = RobustTraining(recipe, classifier, pictures, folder, on_step, group)
    log = made.run()
    reached: dict[str, Any] = {
        "name": f"{name_part(classifier.name)}-robust",
        "classifier": classifier.name,
        "objective": recipe.objective,
        "steps": recipe.steps,
        "images": recipe.steps * recipe.batch,
    }
    if not group.leads:
        return reached
    write_weights(classifier.module, folder / f"{reached['name']}.safetensors", f"{reached['name']}, {recipe!r}")
    if test is not None:
        reached |= {"accuracy_before": clean_before, **_measured(made, test)}
    finish(
        folder,
        reached["name"],
        log,
        classifier.module,
        ABOUT,
        _lines(classifier, recipe, reached, before),
        made_by="underfire train robust",
        training=training,
        seed=recipe.seed,
        group=group,
    )
    return reached


def _test_images(classifier: Classifier, test: ImageData) -> tuple[Tensor, Tensor]:
    return Pictures(test, classifier).load(evenly_spaced(len(test), MEASURED))


def _accuracy(classifier: Classifier, images: Tensor, labels: Tensor) -> float:
    return float((classifier.logits(images).argmax(1) == labels).float().mean())


def _measured(made: RobustTraining, test: ImageData) -> dict[str, Any]:
    images, labels = _test_images(made.classifier, test)
    generator = torch.Generator().manual_seed(made.recipe.seed)
    device, objective = made.classifier.device, OBJECTIVES["adversarial"]
    attacked = [
        made.attack(part.to(device), own.to(device), 1.0, random_start(part, generator).to(device), objective).cpu()
        for part, own in zip(images.split(100), labels.split(100), strict=True)
    ]

    return {
        "accuracy": _accuracy(made.classifier, images, labels),
        "attacked_accuracy": _accuracy(made.classifier, torch.cat(attacked), labels),
        "test_images": len(images),
    }


def _lines(classifier: Classifier, recipe: RobustRecipe, reached: Mapping[str, Any], before: str) -> dict[str, str]:
    """Write the lines of the model card that are robust training's own, by heading."""
    lines = {"trained from": f"{classifier.name}, SHA-256 of weights, normalisation and features `{before}`"}
    if "accuracy" in reached:
        of = f"of {reached['test_images']:,} test images"
        was = f"before the training {100 * reached['accuracy_before']:.1f} %"
        lines["test accuracy"] = f"{100 * reached['accuracy']:.1f} % {of}; {was}"
        lines["under attack"] = (
            f"{100 * reached['attacked_accuracy']:.1f} % {of}, under an attack on the class alone, {_steps(recipe)}. "
            "Stronger attacks leave less: see docs/defenses.md"
        )
    gamma = f"; gamma {recipe.gamma:g}" if recipe.made.penalty is not None else ""
    lines["objective"] = f"{recipe.objective}: {recipe.made.meaning}{gamma}"
    if recipe.made.integrates:
        lines["integrated gradients"] = (
            f"sums of {recipe.segments} gradients, and of {recipe.attack_segments} in the inner attack"
        )
    if recipe.made.attacks:
        growing = f"growing over the first {100 * recipe.ramp:.0f} % of the training"
        lines["inner attack"] = f"{_steps(recipe)}, {growing}"
    return lines | {
        "recipe": f"{recipe.steps} steps of {recipe.batch} images, {recipe.optimising}",
    }


def _steps(recipe: RobustRecipe) -> str:
    steps = "1 step" if recipe.attack_steps == 1 else f"{recipe.attack_steps} steps"
    return f"L-inf {255 * recipe.eps:.3g}/255, {steps} of {255 * recipe.step_size:.3g}/255 from a random start"
