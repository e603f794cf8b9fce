"""The attacks of an audit: the members of the ensemble, one after the other, each on the images that still stand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from underfire import metrics
from underfire.attacks.arms import Asked, arms_of
from underfire.attacks.batch_size import fitting_batch_size
from underfire.attacks.benign import Benign
from underfire.attacks.experiment import Experiment
from underfire.attacks.goal import Goal
from underfire.attacks.intervals import JointIntervals
from underfire.attacks.limits import Flags, Limit, chance_of, kept_limit
from underfire.attacks.noise import NOISE_DRAWS, more_noise
from underfire.attacks.perturbations import PGD
from underfire.attacks.probe import probe_logits
from underfire.attacks.unsound import sound
from underfire.audits import doubts
from underfire.audits.apgd import apgd
from underfire.audits.doubt import Doubt
from underfire.audits.ensemble import PREDICTION, Member
from underfire.audits.result import Robustness
from underfire.audits.search import search
from underfire.audits.standing import Found, Standing
from underfire.errors import ClassifierError, NoGradientError
from underfire.metrics.chance import Chance
from underfire.numerics import attacking
from underfire.runs.identity import described
from underfire.system import System
from underfire.version import __version__

Progress = Callable[[str, float], None]
"""Called with a few words about what is done, and the share that is done, in [0, 1]."""


@dataclass
class _Case:
    """The audit of one interpreter at one radius. ``leaves`` is the map distance below which an image has fallen."""

    name: str
    eps: float
    limit: Limit
    leaves: float
    state: Standing


@dataclass
class Runner:
    """The attacks of an audit, on the same images.

    Args:
        system: the classifier and its interpreters.
        benign: the clean images, with the maps of all interpreters.
        members: the attacks.
        seed: of all random numbers.
        batch_size, memory: as for an attack.
        folder: where the state is saved after each attack; nowhere if None.
        tell: called as the audit goes on.
    """

    system: System
    benign: Benign
    members: tuple[Member, ...]
    seed: int
    batch_size: int | None
    memory: int | None
    folder: Path | None
    tell: Progress

    def __post_init__(self) -> None:
        self.correct: Flags = self.benign.correct.cpu().numpy()
        self.why_no_gradient = self._why_no_gradient()
        self._chance: dict[str, Chance] = {}
        self._class_alone: dict[tuple[str, float], Tensor] = {}
        self._fitting: dict[str, int] = {}
        self._blocked: dict[tuple[str, float], str] = {}
        hashed = hashlib.sha256((self.benign.images.cpu() * 255).round().to(torch.uint8).numpy().tobytes())
        for values in (self.benign.labels, self.benign.ids):
            hashed.update(values.cpu().numpy().tobytes())
        self._images_hash = hashed.hexdigest()

    def run(self, radii: Sequence[float]) -> list[Robustness]:
        """Run the ensemble on every interpreter at every radius, or go on with it.

        What is found at a small radius counts at the larger ones, and each image that was found for one interpreter is
        tried on the others.

        Args:
            radii: in ascending order.
        """
        cases: dict[str, _Case] = {}
        results: dict[tuple[str, float], Robustness] = {}
        names = list(self.system.attacked)
        for place, eps in enumerate(radii):
            before, cases = cases, {}
            for each, name in enumerate(names):
                begun = (place * len(names) + each) / (len(radii) * len(names))
                cases[name] = self._run(name, eps, before.get(name), begun)
            self._share(cases)
            results |= {(name, eps): self._result(case) for name, case in cases.items()}
        return [results[name, eps] for name in names for eps in radii]

    def _run(self, name: str, eps: float, smaller: _Case | None, begun: float) -> _Case:
        limit = self._limit(name, eps)
        path = None if self.folder is None else self.folder / f"{name.replace('/', '-')}-{eps:.6f}.npz"
        made_by = self._made_by(name)
        loaded = None if path is None else Standing.load(path, self.benign, name, made_by)
        case = _Case(name, eps, limit, self.leaves(limit), loaded or Standing.begin(self.benign))
        if smaller is not None:
            case.state.inherit(smaller.state, self.correct, smaller.limit.mean, limit.mean)
        for member in self.members:
            if member.name in case.state.done:
                continue
            self.tell(f"{name} at {eps:.4g}: {member.name}", begun)
            self._attack(member, case)
            if path is not None:
                case.state.save(path, self.benign, name, made_by)
        return case

    def leaves(self, limit: Limit) -> float:
        """Choose the map distance below which an image needs no further attack.

        Its map is kept then by any limit that the interval of the limit holds.
        """
        low = JointIntervals({"": limit}).limit("").low
        return limit.mean if low is None else min(low, limit.mean)

    def _share(self, cases: dict[str, _Case]) -> None:
        """Try the images that were found for one interpreter on the others, where these were not fooled."""
        for case in cases.values():
            for other in cases.values():
                places = self.correct & ~(case.state.wrong & (case.state.nearest < case.limit.mean))
                found = other.state.finds(places)
                if other is case or not len(found.places):
                    continue
                judged = self._judged(case.name, found.places, found.images.to(self.benign.images))
                case.state.absorb(f"attack on {other.name}", judged, case.limit.mean)

    def _result(self, case: _Case) -> Robustness:
        state = case.state
        return Robustness(
            case.name,
            case.eps,
            case.limit.correct,
            state.wrong & case.limit.correct,
            state.nearest.copy(),
            case.limit,
            tuple(state.wrong_by),
            tuple(state.kept_by),
            state.gradients,
            state.images.clone(),
            tuple(state.classes.tolist()),
        )

    def _made_by(self, name: str) -> dict[str, str]:
        """Describe the images and settings by which a saved state is known."""
        members = hashlib.sha256(json.dumps([each.to_dict() for each in self.members]).encode()).hexdigest()
        return {
            "images, labels or names of images": self._images_hash[:16],
            "settings of the interpreter": described(self.system.interpreters[name]),
            "attacks": f"{', '.join(each.name for each in self.members)}; {members[:16]}",
            "random numbers": f"seed {self.seed}",
            "version of underfire": __version__,
        }

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

    def _limit(self, name: str, eps: float) -> Limit:
        part = self.benign.only((name,))
        noisy = partial(PGD(eps).noise, self.benign.images, self.benign.ids, self.seed)
        # Draws begin at 0 here: there is no noise control beside them that has read the first one.
        drawn = more_noise(self.system.only((name,)), part, lambda draw: noisy(draw - 1), NOISE_DRAWS + 1)[name]
        maps = part.maps[name].cpu()
        if name not in self._chance:
            self._chance[name] = chance_of(self.correct, lambda rows: maps[list(rows)])
        return kept_limit(drawn.numpy(), self.correct, self._chance[name])

    def _attack(self, member: Member, case: _Case) -> None:
        state = case.state
        standing = self.correct
        if member.kind not in PREDICTION:
            standing = self.correct & ~(state.wrong & (state.nearest < case.leaves))
        if member.kind != "search" and self.why_no_gradient is not None:
            return  # and it is not done: it will run once the classifier has a gradient
        if not standing.any():
            state.done.append(member.name)
            return
        places = torch.from_numpy(np.flatnonzero(standing))
        some = self.benign.take(places.to(self.benign.labels.device)).only((case.name,))
        try:
            images = self._images(member, case, places, some)
        except NoGradientError as error:
            self._blocked[case.name, case.eps] = doubts.words_of(error)
            return
        state.add(member.name, self._judged(case.name, places, images), case.limit.mean, member.gradients)

    def _judged(self, name: str, places: Tensor, images: Tensor) -> Found:
        """Read images with the honest classifier and interpreter, as a user would."""
        some = self.benign.take(places.to(self.benign.labels.device)).only((name,))
        images, logits = sound(some, images, self.system.classifier.logits(images))
        goal = Goal(targeted=False)
        classes = goal.explained(logits, some.labels)
        maps = self.system.only((name,)).maps(images, classes, some.ids)[name]
        distance = metrics.map_l1(maps.cpu(), some.maps[name].cpu())
        return Found(places, images, classes, goal.reached(logits, some.labels), distance)

    def _images(self, member: Member, case: _Case, places: Tensor, some: Benign) -> Tensor:
        if member.kind == "search":
            quick = self.system.interpreters[case.name].sketch() is self.system.interpreters[case.name]
            leaves = case.leaves if quick else None
            return search(self.system, case.name, some, case.eps, member.steps, seed=self.seed, leaves=leaves)
        if member.kind in PREDICTION:
            key = (member.name, case.eps)
            if key not in self._class_alone:
                self._class_alone[key] = self._change_class(member, case.eps, some)
            return self._class_alone[key]
        part = self.system.only((case.name,))
        attack = member.preset(case.eps, member.classes(some, case.state.classes[places])).build(part)
        arms = arms_of(part, [Asked(attack, (case.name,), None)])
        size, batch = some.images.shape[2:], self.batch_size or self._fitting.get(case.name)
        experiment = Experiment(
            part, arms, seed=self.seed, batch_size=batch, memory=self.memory, size=size, measures=()
        )
        self._fitting[case.name] = experiment.batch_size
        aim = experiment.aims(some)[next(each.label for each in arms if each.kind == "attack")]
        view = experiment.view_of((case.name,))
        # The images are judged by the caller, whatever the attack was after: no second reading of their maps.
        with attacking(view.prepared.precision, some.images.device):
            return attack.run(view, some, aim, seed=self.seed, batch_size=experiment.batch_size).images

    def _change_class(self, member: Member, eps: float, some: Benign) -> Tensor:
        """Attack the class alone."""
        view, device = self.system.view(size=some.images.shape[2:]), some.images.device
        found = []
        with attacking(view.prepared.precision, device):
            size = self.batch_size or fitting_batch_size(
                view, tuple(some.images.shape[1:]), device, joint=False, memory=self.memory
            )
            for start in range(0, len(some.images), size):
                rows = torch.arange(start, min(start + size, len(some.images)), device=device)
                dlr = member.kind == "apgd-dlr"
                found.append(apgd(view, some.take(rows), eps, member.steps, dlr=dlr, seed=self.seed))
        return torch.cat(found)

    def doubts(self, results: Sequence[Robustness]) -> list[Doubt]:
        """Collect what speaks against the results."""
        found = self._doubts_of_gradients()
        for each in results:
            found += doubts.of_result(each, self.members)
            why = self._blocked.get((each.interpreter, each.eps))
            if why is not None:
                text = f"a joint attack could not follow the gradient of the map, and did not run: {why}"
                found.append(Doubt("gradients", text, True, each.interpreter, each.eps))
        return found

    def _doubts_of_gradients(self) -> list[Doubt]:
        right = self.benign.take(self.benign.correct.nonzero().flatten())
        if self.why_no_gradient is not None:
            return doubts.of_gradients(None, right, self.why_no_gradient)
        try:
            view = self.system.view(size=right.images.shape[2:])
        except ClassifierError as error:
            return doubts.of_gradients(None, right, doubts.words_of(error))
        return doubts.of_gradients(view, right)
