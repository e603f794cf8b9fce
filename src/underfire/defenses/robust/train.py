"""Robust training, from a classifier and images to a file of weights and a model card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from underfire import training as loop
from underfire.checkpoints import open_training, state_hash, write_text, write_weights
from underfire.classifiers import Classifier
from underfire.data import ImageData
from underfire.data.sampling import evenly_spaced
from underfire.defenses.robust.recipe import RobustRecipe
from underfire.defenses.robust.training import RobustTraining
from underfire.errors import DataError
from underfire.interpreters.rts.sampling import Pictures

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
    on_step: Callable[[loop.Step], None] | None = None,
) -> dict[str, Any]:
    """Go on training ``classifier`` in place against attacks, and write the result to ``folder``.

    The folder gets ``NAME-robust.safetensors``, the model card ``NAME-robust.md`` and a checkpoint.

    Args:
        classifier: a trained classifier. Its network is changed.
        training: labelled images, with labels in the classifier's order.
        folder: the output folder; it is created if needed.
        test: images on which accuracy is measured, clean and under the inner attack; up to 1000 of them are used.
        recipe: all settings; the defaults of ``RobustRecipe`` if None.
        resume: continue from the folder's checkpoint, which must be of the same classifier, images and recipe.
        on_step: called after each step.

    Returns:
        ``name`` of the files, ``classifier``, ``objective``, ``steps``, ``images`` (images per step times steps), and
        with ``test`` the ``accuracy`` and the ``attacked_accuracy`` in [0, 1] on ``test_images`` images.

    Raises:
        InterpreterError: the objective compares class activation maps, and the classifier has none.
        DataError: the images cannot be read, or have labels beyond the classifier's classes.
        StoreError: the folder holds another training, or cannot be written.
    """
    recipe = recipe or RobustRecipe()
    pictures = Pictures(training, classifier)
    before = classifier.sha256()
    run = {"classifier_sha256": before, "data": training.fingerprint(), "recipe": repr(recipe)}
    open_training(folder, run, resume)
    _check_labels(training, classifier, pictures)
    made = RobustTraining(recipe, classifier, pictures, folder, on_step)
    made.run()
    reached: dict[str, Any] = {
        "name": f"{classifier.name}-robust",
        "classifier": classifier.name,
        "objective": recipe.objective,
        "steps": recipe.steps,
        "images": recipe.steps * recipe.batch,
    }
    if test is not None:
        reached |= _measured(made, test)
    write_weights(classifier.module, folder / f"{reached['name']}.safetensors", f"{reached['name']}, {recipe!r}")
    write_text(folder / f"{reached['name']}.md", _card(classifier, recipe, reached, before, training))
    return reached


def _check_labels(training: ImageData, classifier: Classifier, pictures: Pictures) -> None:
    highest = max(training.record(index).label for index in range(len(training)))
    images, _ = pictures.load([0])
    classes = classifier.logits(images).shape[1]
    if highest >= classes:
        raise DataError(f"{training.name!r} has labels up to {highest}; the classifier's are 0..{classes - 1}.")


def _measured(made: RobustTraining, test: ImageData) -> dict[str, Any]:
    pictures = Pictures(test, made.classifier)
    images, labels = pictures.load(evenly_spaced(len(test), MEASURED))
    generator = torch.Generator().manual_seed(made.recipe.seed)
    attacked = [
        made.attack(part.to(made.classifier.device), own.to(made.classifier.device), 1.0, generator).cpu()
        for part, own in zip(images.split(100), labels.split(100), strict=True)
    ]

    def right(images: Tensor) -> float:
        return float((made.classifier.logits(images).argmax(1) == labels).float().mean())

    return {"accuracy": right(images), "attacked_accuracy": right(torch.cat(attacked)), "test_images": len(images)}


def _card(
    classifier: Classifier, recipe: RobustRecipe, reached: Mapping[str, Any], before: str, training: ImageData
) -> str:
    """Write the model card as Markdown."""
    lines = {"trained from": f"{classifier.name}, SHA-256 of weights, normalisation and features `{before}`"}
    if "accuracy" in reached:
        of = f"of {reached['test_images']:,} test images"
        lines["test accuracy"] = f"{100 * reached['accuracy']:.1f} % {of}"
        lines["under the inner attack"] = (
            f"{100 * reached['attacked_accuracy']:.1f} % {of}. Stronger attacks reach less: see docs/defenses.md"
        )
    lines |= {
        "objective": f"{recipe.objective}: {recipe.made.meaning}; gamma {recipe.gamma:g}",
        "inner attack": f"L-inf {255 * recipe.eps:.3g}/255, {recipe.attack_steps} steps of "
        f"{255 * recipe.step_size:.3g}/255 "
        f"from a random start, growing over the first {100 * recipe.ramp:.0f} % of the training",
        "training data": f"{training.name} ({len(training):,} images)",
        "recipe": f"{recipe.steps} steps of {recipe.batch} images, SGD with Nesterov momentum {recipe.momentum}, "
        f"weight decay {recipe.weight_decay}, learning rate up to {recipe.rate}, then down to 0 in a straight line",
        "seed": str(recipe.seed),
        "made with": f"torch {torch.__version__}, `underfire.defenses.robust.train_robust`",
        "SHA-256 of the weights": f"`{state_hash(classifier.module)}`",
        "SHA-256 of the data": f"training `{training.fingerprint()}`",
    }
    table = "\n".join(f"| {what} | {text} |" for what, text in lines.items())
    return f"""# {reached["name"]}

A small classifier that was trained against attacks, for measuring attacks on explanations. It is a test object, not a
product.

| | |
|---|---|
{table}
"""
