"""Try other inputs than the classifier gets now: another normalisation, pixels in 0..255, blue before red."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from underfire.batching import in_batches
from underfire.classifiers import Classifier
from underfire.classifiers.conventions import ReversedChannels
from underfire.classifiers.recorded import two_classes

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5,), (0.5,))
CAFFE = ((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255))
"""The means of networks that come from Caffe, for pixels in [0, 1], red first."""

_BGR = "blue before red, as OpenCV reads images"

SIGNIFICANT = 0.01
"""The p-value below which another input is clearly better."""


@dataclass(frozen=True)
class OtherInput:
    """Another way to feed the network.

    Args:
        advice: a description for the user, with the options that set it.
        accuracy: the share of images that are right with it.
        confidence: the mean probability of the predicted class.
    """

    advice: str
    accuracy: float
    confidence: float


def try_other_inputs(
    classifier: Classifier, images: Tensor, labels: Tensor, right: Tensor
) -> tuple[list[OtherInput], OtherInput | None]:
    """Classify a few images with other inputs, and find one that is clearly better than the present one.

    "Clearly better" means that a tenth more of the images are right, and that a paired sign test over the images that
    only one of the two gets right is significant at 1 %.

    Args:
        images: N x C x H x W in [0, 1].
        labels: int64 N.
        right: bool N, the images that are right now.

    Returns:
        All inputs that give finite logits, and the most accurate of the clearly better ones; None if there is none.
    """
    tried: list[OtherInput] = []
    best: OtherInput | None = None
    for advice, change in _changes(classifier).items():
        logits = _logits(classifier, images, change)
        if not bool(torch.isfinite(logits).all()):
            continue
        also_right = logits.argmax(1) == labels
        other = OtherInput(advice, float(also_right.float().mean()), float(logits.softmax(1).amax(1).mean()))
        tried.append(other)
        if _clearly_better(also_right, right) and (best is None or other.accuracy > best.accuracy):
            best = other
    return tried, best


def worth_trying(right: Tensor) -> bool:
    """Say if another input could be clearly better, by getting every image right.

    Args:
        right: bool N, the images that are right now.
    """
    return _clearly_better(torch.ones_like(right), right)


def _changes(classifier: Classifier) -> dict[str, Callable[[Tensor], Tensor]]:
    """List functions from pixels in [0, 1] to another input, by the advice that goes with each."""

    def scaled(mean: tuple[float, ...], std: tuple[float, ...]) -> Callable[[Tensor], Tensor]:
        def change(images: Tensor) -> Tensor:
            first, second = images.new_tensor(mean), images.new_tensor(std)
            return (images - first.view(1, -1, 1, 1)) / second.view(1, -1, 1, 1)

        return change

    own = (classifier.mean, classifier.std)
    changes: dict[str, Callable[[Tensor], Tensor]] = {}
    if classifier.channels == 3 and own != IMAGENET:
        changes["ImageNet's normalisation: --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225"] = scaled(*IMAGENET)
    if own[0] is None or {*own[0], *(own[1] or ())} != {0.5}:
        halves = ",".join(["0.5"] * classifier.channels)
        changes[f"pixels in [-1, 1]: --mean {halves} --std {halves}"] = scaled(*HALF)
    if own[0] is not None:
        changes["no normalisation: the network seems to do it itself"] = lambda images: images
    level, zero = ",".join(["0.0039216"] * classifier.channels), ",".join(["0"] * classifier.channels)
    changes[f"pixels in 0..255: --mean {zero} --std {level}"] = lambda images: images * 255
    if classifier.channels == 3:
        # The network inside of ``ReversedChannels`` gets red first if the channels are reversed once more.
        is_bgr = isinstance(classifier.module, ReversedChannels)
        order = "red before blue: without --channel-order bgr" if is_bgr else f"{_BGR}: --channel-order bgr"
        changes[order] = lambda images: classifier.normalise(images).flip(1)
        caffe = scaled(*CAFFE)
        advice = (
            f"{_BGR}, and Caffe's means: --bounds 0,255 --channel-order bgr --mean 103.939,116.779,123.68 --std 1,1,1"
        )
        changes[advice] = lambda images: caffe(images) if is_bgr else caffe(images).flip(1)
    return changes


def _logits(classifier: Classifier, images: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Compute the logits of images N x C x H x W whose pixels ``change`` turns into the network's input."""

    def run(chunk: Tensor) -> Tensor:
        return two_classes(classifier.output(change(chunk.to(classifier.device)))).float().cpu()

    with classifier.evaluating(), torch.no_grad():
        return in_batches(run, images, batch_size=16)


def _clearly_better(other: Tensor, right: Tensor) -> bool:
    """Compare two sets of right answers, bool N; see ``try_other_inputs``."""
    from scipy.stats import binomtest

    gained, lost = int((other & ~right).sum()), int((right & ~other).sum())
    if gained - lost < 0.1 * len(right) or not gained:
        return False
    return bool(binomtest(gained, gained + lost, 0.5, alternative="greater").pvalue < SIGNIFICANT)
