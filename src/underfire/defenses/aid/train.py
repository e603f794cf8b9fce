"""AID, from a classifier, its masker and images to a masker file and a model card."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from underfire.checkpoints import state_hash
from underfire.classifiers import Classifier
from underfire.data import ImageData
from underfire.defenses.aid.recipe import AidRecipe
from underfire.defenses.aid.training import AidTraining
from underfire.defenses.training import OnStep, begin, finish
from underfire.errors import InputError
from underfire.files import name_part
from underfire.interpreters.rts import files
from underfire.interpreters.rts.measuring import measure
from underfire.interpreters.rts.sampling import Pictures
from underfire.processes import ALONE, Group

ABOUT = (
    "A masker for the interpreter RTS that was trained by AID, so that its map moves when an attack changes the "
    "class.\nIt is a test object: docs/defenses.md says what an attacker who knows it reaches."
)


def train_aid(
    classifier: Classifier,
    training: ImageData,
    folder: Path,
    *,
    masker: str | None = None,
    test: ImageData | None = None,
    recipe: AidRecipe | None = None,
    resume: bool = False,
    on_step: OnStep | None = None,
    group: Group = ALONE,
) -> dict[str, Any]:
    """Go on training the masker of ``classifier`` by AID, and write the result to ``folder``.

    The loss is l_map - weight * |g(x) - g(A(x))|, where l_map is the masker's own loss and A attacks the classifier and
    the masker as it stands ([ADV2] section 6.2). The folder gets ``rts-aid-NAME.safetensors``, the model card
    ``rts-aid-NAME.md``, ``losses.csv`` and a checkpoint.

    Args:
        classifier: the network whose decisions the maps explain, and whose features the masker reads.
        training: labelled images, with labels in the classifier's order.
        folder: the output folder; it is created if needed.
        masker: the file of the trained masker, or the folder with it; the one that ships for the classifier if None.
        test: images to measure the masker on; they are never trained on.
        recipe: all settings; the defaults of ``AidRecipe`` if None.
        resume: continue from the folder's checkpoint, which must be of the same networks, images and recipe.
        on_step: called after each step, in the leading process alone.
        group: the processes that train together, each with a copy of the classifier on its device. The leading one
            measures the result and writes the files.

    Returns:
        ``name`` of the file, ``classifier``, ``steps``, and the measurements on ``test``.

    Raises:
        InputError: the masker reads the features of another network.
        InterpreterError: the masker does not belong to the classifier.
        DataError: the images cannot be read.
        StoreError: the folder holds another training, or cannot be written.
        ProcessLostError: another process of the group has ended.
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
    own = copy.deepcopy(opened.masker).to(classifier.device)
    pictures = begin(classifier, training, own.shape.classes, folder, recipe, resume, test, group, masker_sha256=before)
    job = AidTraining(recipe, classifier, own, pictures, folder, on_step, group, opened.note.confidence)
    log = job.run()
    note = replace(opened.note, decoder_steps=opened.note.decoder_steps + recipe.steps)
    reached: dict[str, Any] = {
        "name": f"{files.AID_PREFIX}{name_part(classifier.name)}",
        "classifier": classifier.name,
        "steps": recipe.steps,
    }
    if not group.leads:
        return reached
    files.write(own, note, folder / f"{reached['name']}.safetensors")
    if test is not None:
        prepared = job.plain.classifier
        reached |= asdict(measure(own, note.confidence, prepared, prepared, Pictures(test, classifier)))
    finish(
        folder,
        reached["name"],
        log,
        own,
        ABOUT,
        _lines(reached, recipe, before, note),
        made_by="underfire train aid",
        training=training,
        seed=recipe.seed,
        group=group,
    )
    return reached


def _lines(reached: Mapping[str, Any], recipe: AidRecipe, before: str, note: files.Note) -> dict[str, str]:
    """Write the lines of the model card that are AID's own, by heading."""
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
    levels = recipe.warmup + recipe.joint  # ADV2 moves by one level of 1/255 in each step
    reach = f" (its steps reach {levels}/255)" if recipe.attack == "adv2" and levels < 255 * recipe.eps else ""
    return lines | {
        "loss": f"the masker's own loss - {recipe.weight:g} * mean |g(x) - g(A(x))|",
        "attack A": f"{recipe.attack} against the masker as it stands, L-inf {255 * recipe.eps:.3g}/255{reach}, "
        f"{recipe.warmup} and {recipe.joint} steps, random target classes",
        "recipe": f"{recipe.steps} steps of {recipe.batch} images and {recipe.attacked} attacked ones, "
        f"{recipe.optimising}",
    }
