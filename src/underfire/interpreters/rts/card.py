"""The model card of a masker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from underfire.checkpoints import state_hash
from underfire.data import ImageData
from underfire.interpreters.rts.files import Note
from underfire.interpreters.rts.network import Masker
from underfire.interpreters.rts.training import MaskerRecipe
from underfire.text import card

_HASHED = "SHA-256 of weights, normalisation and features"


def masker_card(
    reached: Mapping[str, Any],
    recipe: MaskerRecipe,
    note: Note,
    masker: Masker,
    training: ImageData,
    test: ImageData | None,
) -> str:
    """Write the card as Markdown: classifier, data, recipe and measurements.

    Args:
        reached: the measurements and counts that ``train_masker`` returns.
    """
    shape = note.shape
    loss = recipe.loss
    lines = {
        "classifier": f"{note.classifier}, {_HASHED} `{note.classifier_sha256}`",
        "encoder": "the classifier itself" if note.shared else f"{note.encoder}, {_HASHED} `{note.encoder_sha256}`",
        **_measured(reached),
        "training data": f"{training.name} ({len(training):,} images)",
        "input": f"features with {shape.top} channels at the top and {list(shape.skips)} at finer scales, of images of "
        f"{note.image_size[0]} x {note.image_size[1]}; {shape.classes} classes",
        "network": f"selector and decoder of width {shape.width}, {reached['parameters']:,} parameters",
        "recipe": f"selector: {_selector(recipe)}; decoder: {recipe.decoder_steps} steps of "
        f"{recipe.decoder_batch} images, {100 * recipe.decoder_fakes:.0f} % fake classes; Adam {recipe.rate:g}, weight "
        f"decay {recipe.weight_decay:g}; loss: destroyer + {loss.area:g} area + {loss.roughness:g} roughness + "
        f"{loss.preserver:g} preserver",
        "confidence": f"{note.confidence:g}: the evidence for the class that a place must show",
        "seed": str(recipe.seed),
        "made with": f"torch {torch.__version__}, `underfire train rts`",
        "SHA-256 of the weights": f"`{state_hash(masker)}`",
        "SHA-256 of the data": f"training `{training.fingerprint()}`"
        + ("" if test is None else f", test `{test.fingerprint()}`"),
    }
    about = (
        "A masker (Dabkowski & Gal 2017) that shows where a classifier sees a class: the network behind the "
        "interpreter RTS. It\nworks with the classifier below only."
    )
    return card(reached["name"], about, lines)


def _selector(recipe: MaskerRecipe) -> str:
    if recipe.selector == "head":
        return "the classifier's head, not trained"
    return (
        f"{recipe.selector_steps} steps of {recipe.selector_batch} images, {100 * recipe.selector_fakes:.0f} % fake "
        "classes"
    )


def _measured(reached: Mapping[str, Any]) -> dict[str, str]:
    if "test_images" not in reached:
        return {}
    count = f"of {reached['test_images']:,} test images"
    share = {name: f"{100 * reached[name]:.1f} %" for name in ("accuracy", "kept", "kept_random", "without")}
    return {
        "selector": f"right about {100 * reached['presence_accuracy']:.1f} % of the classes asked for, half of which "
        f"are absent, {count}",
        "decoder": f"the classifier still sees the class in {share['kept']} {count} when only the most important half "
        f"of the map is left (a random half: {share['kept_random']}; the other half: {share['without']}; "
        f"the whole image: {share['accuracy']})",
    }
