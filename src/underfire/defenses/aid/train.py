"""AID, from a classifier, its masker and images to a masker file and a model card."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from underfire import training as loop
from underfire.checkpoints import open_training, state_hash, write_text
from underfire.classifiers import Classifier
from underfire.data import ImageData
from underfire.defenses.aid.recipe import AidRecipe
from underfire.defenses.aid.training import AidTraining
from underfire.errors import InputError
from underfire.interpreters.rts import files
from underfire.interpreters.rts.measuring import measure
from underfire.interpreters.rts.network import Masker
from underfire.interpreters.rts.sampling import Pictures


def train_aid(
    classifier: Classifier,
    training: ImageData,
    folder: Path,
    *,
    masker: str | None = None,
    test: ImageData | None = None,
    recipe: AidRecipe | None = None,
    resume: bool = False,
    on_step: Callable[[loop.Step], None] | None = None,
) -> dict[str, Any]:
    """Go on training the masker of ``classifier`` by AID, and write the result to ``folder``.

    The loss is l_map - weight * |g(x) - g(A(x))|, where l_map is the masker's own loss and A attacks the classifier and
    the masker as it stands ([ADV2] section 6.2). The folder gets ``rts-aid-NAME.safetensors``, the model card
    ``rts-aid-NAME.md`` and a checkpoint.

    Args:
        classifier: the network whose decisions the maps explain, and whose features the masker reads.
        training: labelled images, with labels in the classifier's order.
        folder: the output folder; it is created if needed.
        masker: the file of the trained masker, or the folder with it; the one that ships for the classifier if None.
        test: images to measure the masker on; they are never trained on.
        recipe: all settings; the defaults of ``AidRecipe`` if None.
        resume: continue from the folder's checkpoint, which must be of the same networks, images and recipe.
        on_step: called after each step.

    Returns:
        ``name`` of the file, ``classifier``, ``steps``, and the measurements on ``test``.

    Raises:
        InputError: the masker reads the features of another network.
        InterpreterError: the masker does not belong to the classifier.
        DataError: the images cannot be read.
        StoreError: the folder holds another training, or cannot be written.
    """
    recipe = recipe or AidRecipe()
    opened = files.open_masker(masker, None, classifier.sha256(), classifier.name)
    assert opened.note is not None
    if not opened.note.shared:
        raise InputError(
            f"masker {opened.file} reads the features of {opened.note.encoder!r}; AID needs a masker that reads those "
            "of the classifier itself."
        )
    before = state_hash(opened.masker)
    run = {
        "classifier_sha256": classifier.sha256(),
        "masker_sha256": before,
        "data": training.fingerprint(),
        "recipe": repr(recipe),
    }
    open_training(folder, run, resume)
    own = copy.deepcopy(opened.masker)
    job = AidTraining(recipe, classifier, own, Pictures(training, classifier), folder, on_step)
    job.run()
    note = replace(opened.note, decoder_steps=opened.note.decoder_steps + recipe.steps)
    reached: dict[str, Any] = {
        "name": f"{files.AID_PREFIX}{classifier.name}",
        "classifier": classifier.name,
        "steps": recipe.steps,
    }
    if test is not None:
        prepared = job.plain.classifier
        reached |= asdict(measure(own, note.confidence, prepared, prepared, Pictures(test, classifier)))
    files.write(own, note, folder / f"{reached['name']}.safetensors")
    write_text(folder / f"{reached['name']}.md", _card(reached, recipe, own, before, training, note))
    return reached


def _card(
    reached: Mapping[str, Any],
    recipe: AidRecipe,
    masker: Masker,
    before: str,
    training: ImageData,
    note: files.Note,
) -> str:
    """Write the model card as Markdown."""
    lines = {
        "classifier": f"{note.classifier}, SHA-256 of weights, normalisation and features `{note.classifier_sha256}`",
        "trained from": f"the masker with the SHA-256 `{before}`",
    }
    if "kept" in reached:
        lines["decoder"] = (
            f"the classifier still sees the class in {100 * reached['kept']:.1f} % of {reached['test_images']:,} test "
            f"images when only the most important half of the map is left (a random half: "
            f"{100 * reached['kept_random']:.1f} %; the other half: {100 * reached['without']:.1f} %)"
        )
    lines |= {
        "loss": f"the masker's own loss - {recipe.weight:g} * mean |g(x) - g(A(x))|",
        "attack A": f"{recipe.attack} against the masker as it stands, L-inf {255 * recipe.eps:.3g}/255, "
        f"{recipe.warmup} and {recipe.joint} steps, random target classes",
        "recipe": f"{recipe.steps} steps of {recipe.batch} images and {recipe.attacked} attacked ones, Adam "
        f"{recipe.rate:g}, falling to 0 in the second half, weight decay {recipe.weight_decay:g}",
        "training data": f"{training.name} ({len(training):,} images)",
        "seed": str(recipe.seed),
        "made with": f"torch {torch.__version__}, `underfire.defenses.aid.train_aid`",
        "SHA-256 of the weights": f"`{state_hash(masker)}`",
        "SHA-256 of the data": f"training `{training.fingerprint()}`",
    }
    table = "\n".join(f"| {what} | {text} |" for what, text in lines.items())
    return f"""# {reached["name"]}

A masker for the interpreter RTS that was trained by AID, so that its map moves when an attack changes the class. It is
a test object: docs/defenses.md says what an attacker who knows it reaches.

| | |
|---|---|
{table}
"""
