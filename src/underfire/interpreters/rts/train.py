"""Training a masker from a classifier and images to weights, model card and losses."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from underfire.classifiers import Classifier
from underfire.data import ImageData
from underfire.errors import DataError, InputError
from underfire.interpreters.rts import files
from underfire.interpreters.rts.card import masker_card
from underfire.interpreters.rts.measuring import measure
from underfire.interpreters.rts.network import Masker
from underfire.interpreters.rts.sampling import Pictures
from underfire.interpreters.rts.training import MaskerRecipe, Step, Training, rows
from underfire.zoo.folder import open_folder, record, write_text

LOSSES = "losses.csv"


def train_masker(
    classifier: Classifier,
    training: ImageData,
    folder: Path,
    *,
    test: ImageData | None = None,
    encoder: Classifier | None = None,
    encoder_spec: str = "",
    recipe: MaskerRecipe | None = None,
    resume: bool = False,
    on_step: Callable[[Step], None] | None = None,
) -> dict[str, Any]:
    """Train a masker for ``classifier``; write ``rts-NAME.safetensors``, ``rts-NAME.md``, losses and checkpoint.

    Args:
        training: labelled images, with labels in the classifier's order.
        folder: where everything is written.
        test: images to measure the masker on; it is never trained on them.
        encoder: another network whose features the masker reads; the classifier's own where None.
        encoder_spec: how ``classifiers.load`` finds the encoder, for the masker's file.
        recipe: steps and all else; ``MaskerRecipe``'s defaults where None.
        resume: go on from the folder's checkpoint, which must be of the same networks, images and recipe.
        on_step: called after each step.

    Returns:
        The file's name, the steps, and with ``test`` what was measured on it.

    Raises:
        InputError: an encoder that does not go with the classifier.
        InterpreterError: an encoder without convolutional features.
        DataError: images that cannot be read, or labels beyond the classifier's classes.
        StoreError: the folder holds another training, or cannot be written.
    """
    recipe = recipe or MaskerRecipe()
    shared = encoder is None or encoder.sha256() == classifier.sha256()
    pictures = Pictures(training, classifier)
    size = pictures.size()
    if encoder is not None and not shared:
        _check_encoder(classifier, encoder, encoder_spec, size)
    run: dict[str, Any] = {
        "classifier": classifier.sha256(),
        "encoder": (encoder or classifier).sha256(),
        "preparation": classifier.preparation(),
        "data": training.fingerprint(),
        "recipe": repr(recipe),
    }
    open_folder(folder, run, resume)
    record(folder, run)
    prepared = classifier.prepare(size=size)
    features = prepared if shared or encoder is None else encoder.prepare(size=size).to(classifier.device)
    job = Training(recipe, prepared, features, pictures, folder, on_step)
    for data in (training, test):
        if data is not None:
            _check_labels(data, classifier, job.masker)
    masker = job.run()
    note = files.Note(
        classifier=classifier.name,
        classifier_sha256=run["classifier"],
        encoder="" if shared else encoder_spec,
        encoder_sha256=run["encoder"],
        image_size=job.size,
        shape=masker.shape,
        confidence=_confidence(recipe, job.size),
        selector_steps=recipe.selector_steps,
        decoder_steps=recipe.decoder_steps,
    )
    name = files.PREFIX + (re.sub(r"[^A-Za-z0-9._-]+", "-", classifier.name).strip("-.") or "classifier")
    file = folder / f"{name}.safetensors"
    files.write(masker, note, file)
    reached: dict[str, Any] = {
        "name": name,
        "classifier": classifier.name,
        "encoder": encoder.name if encoder is not None and not shared else classifier.name,
        "selector_steps": recipe.selector_steps,
        "decoder_steps": recipe.decoder_steps,
        "parameters": sum(value.numel() for value in masker.parameters()),
    }
    if test is not None:
        reached |= asdict(measure(masker, note.confidence, prepared, features, Pictures(test, classifier)))
    lines = [f"{phase},{step},{what},{value:.6g}" for phase, step, what, value in rows(job.log)]
    write_text(folder / LOSSES, "\n".join(["phase,step,name,value", *lines]) + "\n")
    write_text(folder / f"{name}.md", masker_card(reached, recipe, note, masker, training, test))
    return reached


def _confidence(recipe: MaskerRecipe, size: tuple[int, int]) -> float:
    if recipe.confidence is not None:
        return recipe.confidence
    return 6.0 if min(size) >= 128 else 0.0


def _check_encoder(classifier: Classifier, encoder: Classifier, spec: str, size: tuple[int, int]) -> None:
    if not spec:
        raise InputError("encoder_spec is empty; expected how the encoder is loaded, for whoever reads the masker.")
    for what in ("image_size", "channels"):
        mine, other = getattr(classifier, what), getattr(encoder, what)
        if mine != other and None not in (mine, other):
            raise InputError(
                f"encoder {encoder.name} takes {what} {other}, and {classifier.name} {mine}: expected the same."
            )
    grey = torch.full((1, classifier.channels, *size), 0.5)
    classes = [network.logits(grey).shape[1] for network in (classifier, encoder)]
    if classes[0] != classes[1]:
        raise InputError(f"encoder {encoder.name} has {classes[1]} classes, and {classifier.name} {classes[0]}.")
    if classifier.class_names and encoder.class_names and classifier.class_names != encoder.class_names:
        raise InputError(
            f"encoder {encoder.name} has other classes than {classifier.name}, or another order: the class that the "
            "attack aims at must mean the same to both."
        )


def _check_labels(data: ImageData, classifier: Classifier, masker: Masker) -> None:
    highest, classes = max(data.record(index).label for index in range(len(data))), masker.shape.classes
    if highest >= classes:
        raise DataError(
            f"{data.name!r} has labels up to {highest}; the encoder's classes, like those of {classifier.name}, are "
            f"0..{classes - 1}."
        )
