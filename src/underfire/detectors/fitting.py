"""Fitting: learn from images, score the calibration images, and choose the threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from underfire.classifiers import Classifier
from underfire.detectors.contract import Detector, FittedDetector
from underfire.detectors.measuring import check_alone, measured
from underfire.detectors.named import made_of
from underfire.detectors.split import Members, Split, check_apart, check_sources
from underfire.detectors.target import Target
from underfire.detectors.threshold import calibrated, check_rate, images_needed, warn_if_constant
from underfire.errors import InputError
from underfire.system import System
from underfire.user_parts import guarded

Ids = Sequence[str] | None


def fit(
    detector: Detector | str,
    system: System | Classifier | nn.Module,
    calibration: Tensor | Split,
    benign: Tensor | Split | None = None,
    attacked: Tensor | Split | None = None,
    *,
    false_positives: float = 0.05,
    calibration_ids: Ids = None,
    benign_ids: Ids = None,
    attacked_ids: Ids = None,
    source: Mapping[str, Any] | None = None,
) -> FittedDetector:
    """Fit a detector for one system, and choose its threshold on separate images.

    The threshold is never chosen on the images that the detector is tested on. Images that the detector does not learn
    from are ignored, so that several detectors can be given the same ones.

    Args:
        detector: a ``Detector``, or its name: ``squeezing``, ``squeezing:bit-depth:3``, ``lid``, ``maps``, ...
        system: the classifier with the interpreters that the detector reads; a classifier alone for a detector that
            reads no maps.
        calibration: clean images for the threshold, N x C x H x W in [0, 1]. They should be like the images that the
            detector will see: for example, only images that the classifier gets right, if it is tested on such.
        benign: clean images that the detector learns from; None if it learns nothing.
        attacked: attacked images that the detector learns from, if it needs any. They may be made from the images in
            ``benign``. Each of the three may also be a ``Split``, which has its own ids.
        false_positives: the share of benign images that may count as attacked, in (0, 1).
        calibration_ids, benign_ids: the ids of the images; hashes of their pixels if None.
        attacked_ids: the id of the clean image that each attacked image was made from, or the hash of its pixels:
            ``Split.of(clean, classifier).members.ids``.
        source: how the command line opens classifier and interpreters again, as JSON values.

    Raises:
        InputError: there are too few calibration images for the rate (the message has the number needed); two splits
            share images, or may do so because their ids are missing; the detector needs images or interpreters that are
            not given.
    """
    made, spec = made_of(detector)
    check_rate(false_positives)
    coupled = with_interpreters(made, system)
    classifier = coupled.classifier
    if not isinstance(source, Mapping | None):
        raise InputError(f"source is {source!r:.80}; expected None, or a mapping of names to JSON values.")
    held = _split(calibration, classifier, calibration_ids, "calibration")
    if len(held) < images_needed(false_positives):
        calibrated(held.images.new_zeros(len(held)), false_positives)  # before anything is computed
    seen = {"benign": benign, "attacked": attacked}
    _check_given(made, seen)
    splits: dict[str, Split] = {}
    if made.learns and benign is not None:
        splits["benign"] = _split(benign, classifier, benign_ids, "benign")
    if made.needs_attacked and attacked is not None:
        splits["attacked"] = _split(attacked, classifier, attacked_ids, "attacked")
    if "attacked" in splits and "benign" in splits:
        splits["attacked"] = splits["attacked"].named_as(splits["benign"])
        named = {"calibration": held, "benign": splits["benign"]}
        unnamed = [name for name, split in named.items() if split.members.ids == split.members.pixels]
        check_sources(splits["attacked"].members, splits["benign"].members, unnamed)
    for role, split in splits.items():
        check_apart(held.members, split.members, "the calibration images", f"the {role} images of the fit")
        if split.images.shape[1:] != held.images.shape[1:]:
            raise InputError(
                f"{role} images are {tuple(split.images.shape[1:])}, and calibration images are "
                f"{tuple(held.images.shape[1:])} (channels, height, width); expected one shape."
            )
    state = {}
    if made.learns:
        state = guarded(made, "detector").learn(coupled, splits["benign"], splits.get("attacked"))
    scores = measured(made, coupled, state, held.images)
    check_alone(made, coupled, state, held.images, scores)
    warn_if_constant(scores, made.title)
    members: dict[str, Members] = {role: split.members for role, split in splits.items()}
    return FittedDetector(
        detector=made,
        system=coupled,
        state=state,
        threshold=calibrated(scores, false_positives),
        false_positives=false_positives,
        target=Target.of(coupled, held.images.shape[1:]),
        members={**members, "calibration": held.members},
        calibration=scores,
        source=dict(source or {}),
        spec=spec,
    )


def _split(images: Tensor | Split, classifier: Classifier, ids: Ids, name: str) -> Split:
    """Make a split of an argument of ``fit``, unless it is one."""
    if not isinstance(images, Split):
        return Split.of(images, classifier, ids, clean=name != "attacked", name=name)
    if ids is not None:
        raise InputError(f"{name}_ids is given, and {name} is a Split, which has its own ids: leave it out.")
    return images


def with_interpreters(detector: Detector, system: System | Classifier | nn.Module) -> System:
    """Return the system with the interpreters that a detector reads: all of the system, or none.

    Raises:
        InputError: the system has too few or too many of them.
    """
    if not isinstance(system, System):
        system = System(system, "grad").only(())
    if not detector.reads_maps:
        return system.only(())
    count, least, most = len(system.interpreters), detector.least_interpreters, detector.most_interpreters
    if count < least or (most is not None and count > most):
        wanted = f"at least {least}" if most is None else f"{least}" if least == most else f"{least} to {most}"
        raise InputError(
            f"detector {detector.title} reads maps of {wanted} interpreters; the system has {count} "
            f"({', '.join(system.interpreters) or 'none'}). Give System(classifier, [...]), or --interpreter NAMES."
        )
    return system


def _check_given(detector: Detector, seen: Mapping[str, Tensor | Split | None]) -> None:
    """Raise InputError if the images that a detector learns from are missing."""
    if detector.learns and seen["benign"] is None:
        raise InputError(
            f"benign is missing; detector {detector.title} learns from clean images: give some (--count on the command "
            "line, at least 1)."
        )
    if detector.needs_attacked and seen["attacked"] is None:
        raise InputError(
            f"attacked is missing; detector {detector.title} learns from attacked images: give those of a run "
            "(--attacked RUN on the command line)."
        )
