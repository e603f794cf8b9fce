"""``underfire.audit``: joint robust accuracy by an ensemble of attacks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from underfire.arguments import check_known
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
from underfire.files import make_folder
from underfire.flags import without_autocast
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
    memory: int | None = None,
    masks: Tensor | None = None,
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
        memory: the largest number of bytes that the process shall have on the device, for a ``batch_size`` of None.
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
    folder = None if folder is None else Path(folder)
    if folder is not None:
        make_folder(folder)
    images, labels = images_and_labels(images, labels, system.classifier, count)
    benign = read_benign(system, images, labels, ids)
    if not bool(benign.correct.any()):
        raise InputError(
            f"{no_image(len(benign.images), '', 'is', 'classified correctly')}, so there is nothing to audit. Are the "
            "labels in the classifier's order, and is its normalisation right?"
        )
    tell = progress or (lambda _words, _share: None)
    tell("looking at the explanations", 0.0)
    shuffled = shuffled_copy(system.classifier)
    quality = {name: look(system, name, benign, shuffled, masks, again) for name in system.attacked}
    members = distinct(members, benign.logits.shape[1])
    runner = Runner(system, benign, members, seed, batch_size, memory, folder, tell)
    results = runner.run(radii)
    said = runner.doubts(results) + of_explanation({name: each.doubts for name, each in quality.items()})
    return Audit(
        system.classifier.name,
        title,
        members,
        tuple(results),
        {name: found.lines for name, found in quality.items()},
        tuple(said),
        tuple(ids) if ids is not None else tuple(f"image {place}" for place in range(len(benign.images))),
        tuple(benign.labels.tolist()),
        tuple(system.classifier.class_names or ()),
        seed,
        benign.images.cpu(),
        benign.ids.cpu(),
        {name: described(system.interpreters[name]) for name in system.attacked},
    )


def _radii(eps: float | str | Sequence[float | str]) -> tuple[float, ...]:
    given = [eps] if isinstance(eps, float | int | str) else list(eps)
    radii = tuple(sorted({parse_eps(each) if isinstance(each, str) else float(each) for each in given}))
    if not radii:
        raise InputError("eps is empty; an audit needs at least one radius, such as 8 / 255.")
    for each in radii:
        check_eps("eps", each)
    return radii


def _members(ensemble: str | Sequence[Member]) -> tuple[tuple[Member, ...], str]:
    if isinstance(ensemble, str):
        check_known("ensemble", ensemble, ENSEMBLES)
        return ENSEMBLES[ensemble], ensemble
    members = tuple(ensemble)
    if not members:
        raise InputError("ensemble is empty; an audit needs at least one attack.")
    return members, "own"
