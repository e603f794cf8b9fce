"""Run an audit: the attacks of an ensemble, one after the other, each on the images that still stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from underfire import metrics
from underfire.arguments import check_known
from underfire.attacks.arms import Asked, arms_of
from underfire.attacks.benign import Benign, read_benign
from underfire.attacks.experiment import Experiment
from underfire.attacks.goal import Goal
from underfire.attacks.intervals import JointIntervals
from underfire.attacks.limits import Limit, chance_of, kept_limit
from underfire.attacks.loaders import Images, images_and_labels
from underfire.attacks.noise import NOISE_DRAWS, more_noise
from underfire.attacks.perturbations import PGD, check_eps, parse_eps
from underfire.attacks.probe import probe_logits
from underfire.attacks.unsound import sound
from underfire.audits import doubts
from underfire.audits.doubts import Doubt
from underfire.audits.ensemble import ENSEMBLES, Member, distinct
from underfire.audits.quality import Quality, look
from underfire.audits.result import Audit, Robustness
from underfire.audits.search import search
from underfire.audits.standing import Standing
from underfire.classifiers import Classifier
from underfire.errors import ClassifierError, InputError, NoGradientError
from underfire.flags import without_autocast
from underfire.metrics.chance import Chance
from underfire.numerics import attacking
from underfire.system import System

Progress = Callable[[str, float], None]
"""Called with a few words about what is done, and the share that is done, in [0, 1]."""

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
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Measure joint robust accuracy: the share of images on which no attack changes the class and keeps the map.

    Every attack of the ensemble is tried on an image, until one finds another class (any other one) with a kept map.
    Interpreters are audited one by one.

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
        folder: what is found is saved here after each attack, and an audit that was stopped goes on from there.
        progress: called as the audit goes on.

    Raises:
        InputError, ClassifierError, InterpreterError: the input is impossible, or the classifier's answers are a matter
            of luck (a randomised layer). Nothing has been attacked then.
    """
    system = system if isinstance(system, System) else System(system, ["cam", "grad"])
    radii = _radii(eps)
    members, title = _members(ensemble)
    images, labels = images_and_labels(images, labels, system.classifier, count)
    benign = read_benign(system, images, labels, ids)
    if not bool(benign.correct.any()):
        raise InputError(
            f"none of the {len(benign.images)} images is classified correctly, so there is nothing to audit. Are the "
            "labels in the classifier's order, and is its normalisation right?"
        )
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    tell = progress or (lambda _words, _share: None)
    tell("looking at the explanations", 0.0)
    quality = {name: look(system, name, benign, masks, again) for name in system.attacked}
    runner = _Runner(system, benign, distinct(members, benign.logits.shape[1]), seed, batch_size, memory, folder, tell)
    results = tuple(
        runner.run(name, radius, (place * len(radii) + each) / (len(system.attacked) * len(radii)))
        for place, name in enumerate(system.attacked)
        for each, radius in enumerate(radii)
    )
    return Audit(
        system.classifier.name,
        title,
        results,
        {name: found.lines for name, found in quality.items()},
        runner.doubts(results, quality),
        tuple(ids) if ids is not None else tuple(f"image {place}" for place in range(len(benign.images))),
        tuple(benign.labels.tolist()),
        tuple(system.classifier.class_names or ()),
        seed,
        benign.images.cpu(),
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


@dataclass
class _Runner:
    """The attacks of an audit, on the same images."""

    system: System
    benign: Benign
    members: tuple[Member, ...]
    seed: int
    batch_size: int | None
    memory: int | None
    folder: Path | None
    tell: Progress

    def __post_init__(self) -> None:
        self.why_no_gradient = self._why_no_gradient()
        self._chance: dict[str, Chance] = {}
        self._states: dict[tuple[str, float], Standing] = {}

    def _why_no_gradient(self) -> str | None:
        """Return the reason why attacks cannot follow gradients; None if they can."""
        right = self.benign.images[self.benign.correct]
        try:
            prepared = self.system.classifier.prepare(size=right.shape[2:])
            with torch.enable_grad():
                probe_logits(prepared, right[:8])
        except NoGradientError as error:
            return doubts.words_of(error)
        return None

    def run(self, name: str, eps: float, begun: float) -> Robustness:
        """Run the ensemble on one interpreter at one radius, or go on with it."""
        limit = self._limit(name, eps)
        low = JointIntervals({name: limit}).limit(name).low
        # Images whose map is kept by any limit that the interval of the limit holds need no further attack.
        leaves = limit.mean if low is None else min(low, limit.mean)
        path = None if self.folder is None else self.folder / f"{name.replace('/', '-')}-{eps:.6f}.npz"
        made_by = f"{self.system.interpreters[name]}, seed {self.seed}, {[member.name for member in self.members]}"
        loaded = None if path is None else Standing.load(path, self.benign, made_by)
        smaller = [self._states[key] for key in self._states if key[0] == name and key[1] < eps]
        state = loaded or Standing.begin(self.benign, smaller[-1] if smaller else None, limit.mean)
        for member in self.members:
            if member.name in state.done:
                continue
            self.tell(f"{name} at {eps:.4g}: {member.name}", begun)
            self._attack(member, name, eps, state, limit.mean, leaves)
            if path is not None:
                state.save(path, self.benign.logits, made_by)
        self._states[name, eps] = state
        return Robustness(
            name,
            eps,
            limit.correct,
            state.wrong & limit.correct,
            state.nearest,
            limit,
            tuple(state.wrong_by),
            tuple(state.kept_by),
            state.gradients,
            state.images,
            tuple(state.classes.tolist()),
        )

    def _limit(self, name: str, eps: float) -> Limit:
        part = self.benign.only((name,))
        noisy = partial(PGD(eps).noise, self.benign.images, self.benign.ids, self.seed)
        # Draws begin at 0 here: there is no noise control beside them that has read the first one.
        drawn = more_noise(self.system.only((name,)), part, lambda draw: noisy(draw - 1), NOISE_DRAWS + 1)[name]
        maps, correct = part.maps[name].cpu(), self.benign.correct.cpu().numpy()
        if name not in self._chance:
            self._chance[name] = chance_of(correct, lambda rows: maps[list(rows)])
        return kept_limit(drawn.numpy(), correct, self._chance[name])

    def _attack(self, member: Member, name: str, eps: float, state: Standing, limit: float, leaves: float) -> None:
        right = self.benign.correct.cpu().numpy()
        standing = right if member.kind == "prediction" else right & ~(state.wrong & (state.nearest < leaves))
        if member.kind != "search" and self.why_no_gradient is not None:
            standing = np.zeros_like(right)
        places = torch.from_numpy(np.flatnonzero(standing))
        if not len(places):
            state.done.append(member.name)
            return
        some = self.benign.take(places.to(self.benign.labels.device)).only((name,))
        images = self._images(member, name, eps, some)
        images, logits = sound(some, images, self.system.classifier.logits(images))
        goal = Goal(targeted=False)
        classes = goal.explained(logits, some.labels)
        maps = self.system.only((name,)).maps(images, classes, some.ids)[name]
        distance = metrics.map_l1(maps.cpu(), some.maps[name].cpu())
        wrong = goal.reached(logits, some.labels)
        state.add(member.name, places, images, classes, wrong, distance, limit, member.gradients)

    def _images(self, member: Member, name: str, eps: float, some: Benign) -> Tensor:
        if member.kind == "search":
            quick = self.system.interpreters[name].sketch() is self.system.interpreters[name]
            return search(self.system, name, some, eps, member.steps, seed=self.seed, reads_maps=quick)
        part = self.system.only((name,))
        attack = member.preset(eps, member.classes(some)).build(part)
        arms = arms_of(part, [Asked(attack, (name,), None)])
        size = some.images.shape[2:]
        experiment = Experiment(
            part, arms, seed=self.seed, batch_size=self.batch_size, memory=self.memory, size=size, measures=()
        )
        aim = experiment.aims(some)[next(each.label for each in arms if each.kind == "attack")]
        view = experiment.view_of((name,))
        # The images are judged by the caller, whatever the attack was after: no second reading of their maps.
        with attacking(view.prepared.precision, some.images.device):
            return attack.run(view, some, aim, seed=self.seed, batch_size=experiment.batch_size).images

    def doubts(self, results: Sequence[Robustness], quality: dict[str, Quality]) -> tuple[Doubt, ...]:
        """Collect what speaks against the results."""
        found = self._doubts_of_gradients()
        for each in results:
            found += doubts.of_result(
                each.interpreter,
                each.eps,
                self.members,
                each.correct,
                each.wrong,
                each.wrong_by,
                each.kept_by,
                each.limit,
            )
        found += doubts.of_explanation({name: each.doubts for name, each in quality.items()})
        return tuple(found)

    def _doubts_of_gradients(self) -> list[Doubt]:
        right = self.benign.take(self.benign.correct.nonzero().flatten())
        if self.why_no_gradient is not None:
            return doubts.of_gradients(None, right, self.why_no_gradient)
        try:
            view = self.system.view(size=right.images.shape[2:])
        except ClassifierError as error:
            return doubts.of_gradients(None, right, doubts.words_of(error))
        return doubts.of_gradients(view, right)
