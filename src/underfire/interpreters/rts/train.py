"""Training of a masker, from a classifier and images to a masker file, a model card and a table of losses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from underfire import training as loop
from underfire.checkpoints import open_training
from underfire.classifiers import Classifier
from underfire.data import ImageData
from underfire.errors import InputError
from underfire.files import name_part, write_text
from underfire.interpreters.rts import files
from underfire.interpreters.rts.card import masker_card
from underfire.interpreters.rts.measuring import measure
from underfire.interpreters.rts.sampling import Pictures
from underfire.interpreters.rts.training import MaskerRecipe, Training


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
    on_step: Callable[[loop.Step], None] | None = None,
) -> dict[str, Any]:
    """Train a masker for ``classifier`` and write it to ``folder``.

    The folder gets ``rts-NAME.safetensors``, the model card ``rts-NAME.md``, ``losses.csv`` and a checkpoint.

    Args:
        classifier: the network whose decisions the maps explain.
        training: labelled images, with labels in the classifier's order.
        folder: the output folder; it is created if needed.
        test: images to measure the masker on; they are never trained on.
        encoder: another network, whose features the masker reads; the classifier if None.
        encoder_spec: the name by which ``classifiers.load`` finds the encoder; it is stored in the masker file.
        recipe: all settings; the defaults of ``MaskerRecipe`` if None.
        resume: continue from the folder's checkpoint, which must be of the same networks, images and recipe.
        on_step: called after each step.

    Returns:
        ``name`` of the file, ``classifier``, ``encoder``, the steps, ``parameters``, and the measurements on ``test``.

    Raises:
        InputError: the encoder does not fit the classifier.
        InterpreterError: the encoder has no convolutional features, or no head that a selector can be made from.
        DataError: the images cannot be read, or have labels beyond the classifier's classes.
        StoreError: the folder holds another training, or cannot be written.
    """
    recipe = recipe or MaskerRecipe()
    shared = encoder is None or encoder.sha256() == classifier.sha256()
    pictures = Pictures(training, classifier)
    size = pictures.size()
    if encoder is not None and not shared:
        _check_encoder(classifier, encoder, encoder_spec, size)
    run: dict[str, Any] = {
        "classifier_sha256": classifier.sha256(),
        "encoder_sha256": (encoder or classifier).sha256(),
        "preparation": classifier.preparation(),
        "data": training.fingerprint(),
        "recipe": repr(recipe),
    }
    open_training(folder, run, resume)
    prepared = classifier.prepare(size=size)
    features = prepared if shared or encoder is None else encoder.prepare(size=size).to(classifier.device)
    job = Training(recipe, prepared, features, pictures, folder, on_step)
    masker = job.masker
    testing = None if test is None else Pictures(test, classifier)
    for each in (pictures, testing):
        if each is not None:
            each.check_labels(masker.shape.classes)
    log = job.run()
    note = files.Note(
        classifier=classifier.name,
        classifier_sha256=run["classifier_sha256"],
        encoder="" if shared else encoder_spec,
        encoder_sha256=run["encoder_sha256"],
        image_size=job.size,
        shape=masker.shape,
        confidence=_confidence(recipe, job.size),
        selector_steps=recipe.selector_steps,
        decoder_steps=recipe.decoder_steps,
        selector=recipe.selector,
    )
    name = files.PREFIX + name_part(classifier.name)
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
    if testing is not None:
        reached |= asdict(measure(masker, note.confidence, prepared, features, testing))
    write_text(folder / loop.LOSSES, loop.table(log))
    write_text(folder / f"{name}.md", masker_card(reached, recipe, note, masker, training, test))
    return reached


def _confidence(recipe: MaskerRecipe, size: tuple[int, int]) -> float:
    if recipe.confidence is not None:
        return recipe.confidence
    return 6.0 if min(size) >= 128 else 0.0


def _check_encoder(classifier: Classifier, encoder: Classifier, spec: str, size: tuple[int, int]) -> None:
    if not spec:
        raise InputError(
            "encoder_spec is empty; expected the name that loads the encoder: readers of the masker need it."
        )
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
