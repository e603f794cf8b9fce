"""``underfire.audit``: joint robust accuracy by an ensemble of attacks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from underfire.arguments import check_callable, check_known, whole_number
from underfire.attacks.benign import read_benign
from underfire.attacks.loaders import Images, images_and_labels
from underfire.attacks.perturbations import check_eps, parse_eps
from underfire.audits.doubts import of_explanation
from underfire.audits.ensemble import ENSEMBLES, Member, distinct
from underfire.audits.quality import look
from underfire.audits.result import Audit
from underfire.audits.running import Progress, Runner
from underfire.check.sanity import shuffled_copy
from underfire.classifiers import Classifier
from underfire.errors import InputError
from underfire.files import make_folder, path_of
from underfire.flags import without_autocast
from underfire.memory import bytes_of
from underfire.metrics.pointing import check_masks
from underfire.runs.identity import described
from underfire.system import System
from underfire.text import no_image

EPS = (8 / 255,)


@without_autocast()
@torch.inference_mode(False)
def audit(
    system: System | Classifier,
    images: Images,
    labels: Tensor | Sequence[int] | None = None,
    *,
    eps: float | str | Sequence[float | str] = EPS,
    ensemble: str | Sequence[Member] = "audit-1",
    count: int | None = None,
    ids: Sequence[str] | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    memory: int | str | None = None,
    masks: Tensor | NDArray[np.bool_] | None = None,
    again: Classifier | None = None,
    folder: Path | str | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Measure joint robust accuracy: the share of images on which no attack changes the class and keeps the map.

    Every attack of the ensemble is tried on an image, until one finds another class (any other one) with a kept map.
    Interpreters are audited one by one, and several also all at once: there, one image must keep all their maps.

    Args:
        system: the classifier with its interpreters; a classifier alone is audited with CAM and Grad.
        images, labels, count: as for an attack: a tensor N x C x H x W in [0, 1] with int64 N, or a ``DataLoader``.
        eps: the radius in L-inf in pixel units, or several.
        ensemble: the name of an ensemble, or members of your own.
        ids: a name for each image, for random numbers and reports; by default images are known by their pixels.
        seed: of all random numbers.
        batch_size: images at once; as many as suit the device and its memory if None.
        memory: the most that the process shall have on the device, such as ``"8GB"`` or a number of bytes, for a
            ``batch_size`` of None.
        masks: true masks of the objects, bool N x H x W, to see if explanations point at them.
        again: the same network trained again, to see if its explanations are the same.
        folder: what is found is saved here after each attack, and every few images of a slow one. An audit that was
            stopped goes on from there.
        progress: called as the audit goes on.

    Raises:
        InputError, ClassifierError, InterpreterError: the input is impossible, or the classifier's answers are a matter
            of luck (a randomised layer). Nothing has been attacked then.
        StoreError: ``folder`` cannot be written.
    """
    system = system if isinstance(system, System) else System(system, ["cam", "grad"])
    radii = _radii(eps)
    members, title = _members(ensemble)
    seed, memory = whole_number("seed", seed), bytes_of(memory)
    if batch_size is not None:
        batch_size = whole_number("batch_size", batch_size, 1, ", or None for what suits the device")
    check_callable("progress", progress, "with words and the share that is done")
    place = None if folder is None else path_of("folder", folder)
    if not isinstance(again, Classifier | None):
        raise InputError(
            f"again is an object of type {type(again).__name__}; expected a Classifier of the same network, trained "
            "again, such as Classifier(network, mean=..., std=...)."
        )
    images, labels = images_and_labels(images, labels, system.classifier, count)
    benign = read_benign(system, images, labels, ids)
    masks = _as_tensor(masks) if isinstance(masks, np.ndarray) else masks
    if masks is not None:
        check_masks(masks, len(benign.images))
    if not bool(benign.correct.any()):
        raise InputError(
            f"{no_image(len(benign.images), '', 'is', 'classified correctly')}, so there is nothing to audit. Are the "
            "labels in the classifier's order, and is its normalisation right?"
        )
    if place is not None:
        make_folder(place)
    tell = progress or (lambda _words, _share: None)
    tell("looking at the explanations", 0.0)
    shuffled = shuffled_copy(system.classifier)
    quality = {name: look(system, name, benign, shuffled, masks, again) for name in system.attacked}
    members = distinct(members, benign.logits.shape[1])
    runner = Runner(system, benign, members, seed, batch_size, memory, place, tell)
    results = runner.run(radii)
    said = runner.doubts(results) + of_explanation({name: each.doubts for name, each in quality.items()})
    return Audit(
        system.classifier.name,
        title,
        members,
        tuple(results),
        {name: found.lines for name, found in quality.items()},
        tuple(said),
        tuple(ids) if ids is not None else tuple(f"image {number}" for number in range(len(benign.images))),
        tuple(benign.labels.tolist()),
        tuple(system.classifier.class_names or ()),
        seed,
        benign.images.cpu(),
        benign.ids.cpu(),
        {name: described(system.interpreters[name]) for name in system.attacked},
        system.classifier.sha256(),
    )


def _as_tensor(masks: NDArray[Any]) -> Tensor:
    """Convert masks to a tensor: also flipped or read-only ones."""
    if masks.dtype.kind not in "biuf":
        raise InputError(f"masks is an array of {masks.dtype}; expected bool N x H x W.")
    return torch.from_numpy(masks.copy())


def _radii(eps: float | str | Sequence[float | str]) -> tuple[float, ...]:
    values = eps.tolist() if isinstance(eps, Tensor | np.ndarray) else eps
    given = values if isinstance(values, Iterable) and not isinstance(values, str) else (values,)
    numbers = (each.tolist() if isinstance(each, Tensor | np.ndarray) else each for each in given)
    radii = [parse_eps(each) if isinstance(each, str) else each for each in numbers]
    if not radii:
        raise InputError("eps is empty; an audit needs at least one radius, such as 8 / 255.")
    for each in radii:
        check_eps("eps", each)
    return tuple(sorted({float(each) for each in radii}))


def _members(ensemble: str | Sequence[Member]) -> tuple[tuple[Member, ...], str]:
    if isinstance(ensemble, str):
        check_known("ensemble", ensemble, ENSEMBLES)
        return ENSEMBLES[ensemble], ensemble
    members = tuple(ensemble) if isinstance(ensemble, Iterable) else (ensemble,)
    for member in members:
        if not isinstance(member, Member):
            raise InputError(
                f"ensemble holds {member!r:.80}; expected objects of type Member, or the name of an ensemble: "
                f"{', '.join(ENSEMBLES)}."
            )
    if not members:
        raise InputError("ensemble is empty; an audit needs at least one attack.")
    names = [member.name for member in members]
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise InputError(
            f"ensemble holds two members of the name {twice!r}; expected a name of its own for each: by the names, an "
            "audit knows which attacks are done and which one found an image."
        )
    return members, "own"
