"""Lines of a check about calling the network: does it repeat itself, and do its logits follow the image?"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from underfire.attacks.probe import probe_logits
from underfire.check.line import CheckLine
from underfire.classifiers import Classifier
from underfire.errors import ClassifierError, UnderfireError, UnderfireWarning
from underfire.numerics import judging, scale
from underfire.text import first_few

BATCH_TOLERANCE = 1e-3
"""The largest relative difference of an image's logits between two batches that is accepted."""


def repeats(classifier: Classifier, images: Tensor) -> CheckLine:
    """Check that an image gets the same logits twice, and in another batch, and that the network stays as it is."""
    images = images[:8].to(classifier.device)
    before = {name: value.clone() for name, value in _state(classifier)}
    with classifier.evaluating(), judging(classifier.device), torch.no_grad():
        together = classifier.run(images)
        again = classifier.run(images)
        alone = classifier.run(images[:1])
    unit = float(scale(together))
    twice = float((again - together).abs().max()) / unit
    apart = float((alone - together[:1]).abs().max()) / unit
    changed = [name for name, value in _state(classifier) if name in before and not torch.equal(before[name], value)]
    details = {"same_batch_twice": twice, "batch_of_1_against_8": apart, "changed": changed}
    text = f"same images twice: {twice:.1g}; batch of 1 against {len(images)}: {apart:.1g} (relative difference)"
    if max(twice, apart) > BATCH_TOLERANCE:
        problem = "the logits of an image depend on the other images of its batch, or on chance"
        return CheckLine("repeats", "problem", f"{problem}: {text}", details)
    if changed:
        hint = (
            f"each pass changes the network, also in evaluation mode ({first_few(changed)}): its hash changes with it, "
            "and results may depend on the passes before them"
        )
        return CheckLine("repeats", "hint", f"{hint}; {text}", details)
    return CheckLine("repeats", "good", text, details)


def _state(classifier: Classifier) -> list[tuple[str, Tensor]]:
    """Return the weights and buffers of the network by name."""
    return [*classifier.module.named_parameters(), *classifier.module.named_buffers()]


def gradient(classifier: Classifier, images: Tensor) -> CheckLine:
    """Check that the logits have a gradient in the image. A network without a copy is left to the trials."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnderfireWarning)
            prepared = classifier.prepare(size=images.shape[2:])
    except UnderfireError as error:
        return CheckLine("gradient", "hint", f"not looked at: {error}")
    try:
        with torch.enable_grad():
            probe_logits(prepared, images.to(classifier.device))
    except ClassifierError as error:
        return CheckLine("gradient", "problem", str(error))
    return CheckLine("gradient", "good", "the logits follow the image")
