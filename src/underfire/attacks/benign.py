"""Benign images, checked, with the system's honest logits and maps."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from underfire import randomness
from underfire.attacks.state import take
from underfire.attacks.steady import check_steady
from underfire.classifiers import Classifier, check_images, check_labels, label_tensor
from underfire.classifiers.recorded import as_returned
from underfire.classifiers.sigmoid import ends_in_sigmoid
from underfire.errors import ClassifierError, warn
from underfire.flags import without_autocast
from underfire.numerics import scale
from underfire.system import System
from underfire.text import counted, first_few

MIXED = 8
"""The number of images that are classified again, to see if they get the same logits."""

SAME_SHAPE, OTHER_SHAPE = 1e-6, 1e-3
"""Accepted differences of logits, relative to their spread: in a second call of the same shape, and of another one."""


@dataclass(frozen=True)
class Benign:
    """Benign images with the system's honest logits and maps, on the classifier's device.

    Args:
        images: N x C x H x W in [0, 1], on the 8-bit grid.
        labels: int64 N, the images' own classes.
        ids: int64 N, the images' identities.
        logits: N x K.
        maps: the benign maps N x h x w in [0, 1], for the images' own classes, by interpreter.
        readers: the names of interpreters that read the images but are not attacked.
        interpreter_labels: the label of each interpreter, by name; the name itself if it is missing. Random numbers are
            drawn under the label; see ``System.labels``.
    """

    images: Tensor
    labels: Tensor
    ids: Tensor
    logits: Tensor
    maps: dict[str, Tensor]
    readers: tuple[str, ...] = ()
    interpreter_labels: dict[str, str] = field(default_factory=dict)

    @property
    def attacked_maps(self) -> dict[str, Tensor]:
        """The maps of the interpreters that attacks are about."""
        return {name: maps for name, maps in self.maps.items() if name not in self.readers}

    @property
    def correct(self) -> Tensor:
        """True for images that the classifier gets right, bool N."""
        return self.logits.argmax(1) == self.labels

    def only(self, names: Collection[str]) -> Benign:
        """Return the images with the maps of these interpreters alone."""
        if set(names) == set(self.maps):
            return self
        readers = tuple(name for name in self.readers if name in names)
        return replace(self, maps={name: maps for name, maps in self.maps.items() if name in names}, readers=readers)

    def take(self, keep: Tensor) -> Benign:
        """Return the images at the indices ``keep``."""
        rows = {name: take(getattr(self, name), keep) for name in ("images", "labels", "ids", "logits", "maps")}
        return replace(self, **rows)


@without_autocast()
def read_benign(
    system: System, images: Tensor, labels: Tensor | Sequence[int], ids: Tensor | Sequence[str] | None = None
) -> Benign:
    """Check the images, round them to 8 bits, and read them with the honest classifier and interpreters.

    Args:
        images: N x C x H x W in [0, 1].
        labels: int64 N.
        ids: stable names, or int64 N; by default images are known by their pixels.

    Raises:
        InputError: the images or labels are impossible.
        ClassifierError: the classifier's output cannot carry a verdict; see ``honest_logits``.
        InterpreterError: an interpreter cannot read the images, or one of the user's own reads an image in another way
            beside others, or another time.
    """
    images, labels = check_images(images, system.classifier), label_tensor(labels)
    ids = randomness.identities(images, ids)
    device = system.classifier.device
    images, labels, ids = images.to(device), labels.to(device), ids.to(device)
    logits = honest_logits(system.classifier, images)
    labels = check_labels(labels, len(images), logits.shape[1])
    _warn_of_names(system.classifier, logits.shape[1])
    maps = system.maps(images, labels, ids)
    check_steady(system, images, labels, ids, maps)
    return Benign(images, labels, ids, logits, maps, tuple(system.readers), system.labels)


def _warn_of_names(classifier: Classifier, classes: int) -> None:
    names = classifier.class_names
    if names is not None and len(names) != classes:
        warn(
            f"class_names holds {counted(len(names), 'name')}, and {classifier.name} has {classes} classes: names in "
            "the results may be those of other classes. Expected one per class, in the order of the logits."
        )


def honest_logits(classifier: Classifier, images: Tensor) -> Tensor:
    """Compute the logits, and check that they can carry a verdict: no NaN, no probabilities, not random.

    Raises:
        ClassifierError: they cannot, for any of the images.
    """
    logits, usable = read_logits(classifier, images)
    broken = (~usable).nonzero().squeeze(1).tolist()
    if broken:
        some = "" if len(broken) == len(images) else f" for {len(broken)} of {len(images)} images ({first_few(broken)})"
        raise ClassifierError(
            f"the classifier returns NaN or infinite logits{some}: its weights or its normalisation are broken."
        )
    return logits


def read_logits(classifier: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the logits, and check the finite ones: no probabilities, not random.

    Returns:
        The logits N x K, and True for each image whose logits are all finite, bool N.

    Raises:
        ClassifierError: the finite logits cannot carry a verdict, or it is no tensor N x K.
    """
    logits = classifier.logits(images)
    if logits.ndim != 2 or len(logits) != len(images):
        raise ClassifierError(
            f"the classifier returns shape {tuple(logits.shape)} for {len(images)} images; expected logits N x K."
        )
    usable = torch.isfinite(logits).all(1)
    if bool(usable.all()):
        _check_values(classifier, images, logits)
    elif bool(usable.any()):
        _check_values(classifier, images[usable], logits[usable])
    return logits, usable


def _check_values(classifier: Classifier, images: Tensor, logits: Tensor) -> None:
    """Raise ClassifierError if finite logits are probabilities, or if the network is random."""
    if bool((logits >= 0).all()) and bool(((logits.sum(1) - 1).abs() < 1e-4).all()):
        raise ClassifierError(
            "the classifier returns probabilities (rows in [0, 1] that sum to 1); expected logits. Attacks on "
            "probabilities vanish where the classifier is certain: remove the softmax at its end."
        )
    values = as_returned(logits)
    if bool(((values >= 0) & (values <= 1)).all()) and ends_in_sigmoid(classifier, images[:8]):
        raise ClassifierError(
            "the classifier returns what comes out of a sigmoid; expected logits. If each class is decided for itself "
            "(multi-label), there is no one class that an attack could change. If there are two classes, remove the "
            "sigmoid: a single logit is enough."
        )
    _check_repeats(classifier, images, logits)


def _check_repeats(classifier: Classifier, images: Tensor, logits: Tensor) -> None:
    """Check that images get equal logits in a second call, and nearly equal ones beside other images.

    Kernels are chosen by the shape of a batch, so that other batch sizes may give other last bits: they are compared
    within a tolerance.

    Raises:
        ClassifierError: the network is random, keeps state, or mixes the images of a batch.
    """
    some = images[:MIXED]
    again = classifier.logits(some, batch_size=MIXED)
    third = classifier.logits(some, batch_size=MIXED)
    twice = float((third - again).abs().max() / scale(again))
    if twice > SAME_SHAPE:
        raise ClassifierError(
            f"the classifier gives other logits for the same images on a second call (difference {twice:.2g}, relative "
            "to their spread): it is random (dropout or noise that stays on), or keeps state. A verdict would be a "
            "matter of luck."
        )
    fewer = images[: max(1, min(MIXED, len(images) // 2))]  # other neighbours in the batch, wherever there are any
    apart = classifier.logits(fewer, batch_size=MIXED) - logits[: len(fewer)]
    mixed = float(apart.abs().max() / scale(logits))
    if mixed > max(OTHER_SHAPE, classifier.tolerance):
        raise ClassifierError(
            f"the classifier gives other logits for the same images beside other images (difference {mixed:.2g}, "
            "relative to their spread): it depends on the other images of its batch (a batch norm in training mode), "
            "or keeps state. A verdict would be a matter of luck."
        )


def warn_near_chance(correct: int, seen: int, classes: int) -> None:
    """Warn if accuracy on ``seen`` images cannot be told from guessing."""
    from scipy.special import bdtrc

    # bdtrc(k, n, p) is the probability of more than k hits in n guesses; scipy.stats would take a second to import.
    if seen >= 10 and bdtrc(correct - 1, seen, 1 / classes) > 0.01:
        warn(
            f"only {correct} of {seen} images are classified correctly, which is near chance for {classes} classes. "
            "Are the classes in the classifier's order, and is its normalisation right?"
        )
