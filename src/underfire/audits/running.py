"""The attacks of an audit: the members of the ensemble, one after the other, each on the images that still stand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from underfire.attacks.arms import Asked, arms_of
from underfire.attacks.batch_size import fitting_batch_size
from underfire.attacks.benign import Benign
from underfire.attacks.experiment import Experiment
from underfire.attacks.goal import Goal
from underfire.attacks.intervals import JointIntervals
from underfire.attacks.limits import Flags, Limit, chance_of, kept_limit
from underfire.attacks.noise import NOISE_DRAWS, more_noise
from underfire.attacks.perturbations import PGD
from underfire.attacks.unsound import sound
from underfire.audits import doubts
from underfire.audits.apgd import apgd
from underfire.audits.case import Case
from underfire.audits.doubt import Doubt
from underfire.audits.ensemble import PREDICTION, Member
from underfire.audits.nearness import Nearness
from underfire.audits.result import Robustness
from underfire.audits.search import search
from underfire.audits.standing import Found, Standing, file_name
from underfire.errors import NoGradientError
from underfire.metrics.chance import Chance
from underfire.numerics import attacking
from underfire.runs.identity import described
from underfire.system import System
from underfire.version import __version__

Progress = Callable[[str, float], None]
"""Called with a few words about what is done, and the share that is done, in [0, 1]."""


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
        self.why_no_gradient = doubts.why_no_gradient(self.system, self.benign)
        self._chance: dict[str, Chance] = {}
        self._class_alone: dict[tuple[str, float], Tensor] = {}
        self._fitting: dict[str, int] = {}
        self._blocked: dict[tuple[str, float], str] = {}
        self._limits: dict[tuple[str, float], Limit] = {}
        hashed = hashlib.sha256((self.benign.images.cpu() * 255).round().to(torch.uint8).numpy().tobytes())
        for values in (self.benign.labels, self.benign.ids):
            hashed.update(values.cpu().numpy().tobytes())
        self._images_hash = hashed.hexdigest()

    def run(self, radii: Sequence[float]) -> list[Robustness]:
        """Run the ensemble on every interpreter at every radius, and on all of them at once, or go on with it.

        What is found at a small radius counts at the larger ones, and each image that was found for one interpreter is
        tried on the others, and on all at once.

        Args:
            radii: in ascending order.
        """
        cases: dict[str, Case] = {}
        results: dict[tuple[str, float], Robustness] = {}
        asked: list[tuple[str, ...]] = [(name,) for name in self.system.attacked]
        if len(asked) > 1:
            asked.append(tuple(self.system.attacked))
        for place, eps in enumerate(radii):
            before, cases = cases, {}
            for each, names in enumerate(asked):
                begun = (place * len(asked) + each) / (len(radii) * len(asked))
                case = self._begin(names, eps, before.get("+".join(names)))
                if case.near.several:  # what was found for single interpreters costs no attack
                    self._try_on(case, cases)
                self._run(case, begun)
                cases[case.label] = case
            for case in cases.values():
                self._try_on(case, cases)
            results |= {(label, eps): self._result(case) for label, case in cases.items()}
        return [results["+".join(names), eps] for names in asked for eps in radii]

    def _begin(self, names: tuple[str, ...], eps: float, smaller: Case | None) -> Case:
        limits = {name: self._limit_of(name, eps) for name in names}
        near = Nearness(limits)
        leaves = near.leaves({name: self.leaves(limit) for name, limit in limits.items()})
        path, made_by = self._path(near, eps), self._made_by(names)
        loaded = None if path is None else Standing.load(path, self.benign, names, made_by)
        case = Case(near, eps, leaves, loaded or Standing.begin(self.benign))
        if smaller is not None:
            found = smaller.state.finds(self.correct)
            if near.several and len(found.places):  # their nearness was a share of the limits there
                found = self._judged(case, found.places, found.images.to(self.benign.images))
            case.state.inherit(smaller.state, found, smaller.near.kept, near.kept)
        return case

    def _run(self, case: Case, begun: float) -> None:
        path = self._path(case.near, case.eps)
        for member in self.members:
            if member.name in case.state.done:
                continue
            self.tell(f"{case.label} at {case.eps:.4g}: {member.name}", begun)
            self._attack(member, case)
            if path is not None:
                case.state.save(path, self.benign, case.names, self._made_by(case.names))

    def _path(self, near: Nearness, eps: float) -> Path | None:
        """Return the file for the state of a case; None if there is no folder."""
        name = file_name(near.label.replace("/", "-"))
        return None if self.folder is None else self.folder / f"{name}-{eps:.6f}.npz"

    def _limit_of(self, name: str, eps: float) -> Limit:
        if (name, eps) not in self._limits:
            self._limits[name, eps] = self._limit(name, eps)
        return self._limits[name, eps]

    def leaves(self, limit: Limit) -> float:
        """Choose the map distance below which an image needs no further attack.

        Its map is kept then by any limit that the interval of the limit holds.
        """
        low = JointIntervals({"": limit}).limit("").low
        return limit.mean if low is None else min(low, limit.mean)

    def _try_on(self, case: Case, cases: Mapping[str, Case]) -> None:
        """Try the images that were found for other interpreters on those of ``case``, where these were not fooled."""
        for other in cases.values():
            found = other.state.finds(self.correct & ~case.fallen)
            if other is not case and len(found.places):
                judged = self._judged(case, found.places, found.images.to(self.benign.images))
                case.state.absorb(f"attack on {other.label}", judged, case.near.kept)

    def _result(self, case: Case) -> Robustness:
        state = case.state
        distances = {name: np.full(len(self.correct), np.inf) for name in case.names}
        found = state.finds(np.ones(len(self.correct), dtype=bool))
        some = self.benign.take(found.places.to(self.benign.labels.device))
        if not case.near.several:
            distances = {case.label: state.nearest.copy()}
        elif len(found.places):
            images, classes = found.images.to(some.images), found.classes.to(some.labels)
            for name, read in case.near.distances(self.system, some, images, classes).items():
                distances[name][found.places.numpy()] = read.double().numpy()
        return Robustness(
            case.label,
            case.eps,
            self.correct,
            state.wrong & self.correct,
            distances,
            case.near.limits,
            tuple(state.wrong_by),
            tuple(state.kept_by),
            state.gradients,
            state.images.clone(),
            tuple(state.classes.tolist()),
        )

    def _made_by(self, names: Sequence[str]) -> dict[str, str]:
        """Describe the images and settings by which a saved state is known."""
        members = hashlib.sha256(json.dumps([each.to_dict() for each in self.members]).encode()).hexdigest()
        return {
            "images, labels or names of images": self._images_hash[:16],
            "settings of the interpreter": " + ".join(described(self.system.interpreters[name]) for name in names),
            "attacks": f"{', '.join(each.name for each in self.members)}; {members[:16]}",
            "random numbers": f"seed {self.seed}",
            "version of underfire": __version__,
        }

    def _limit(self, name: str, eps: float) -> Limit:
        part = self.benign.only((name,))
        noisy = partial(PGD(eps).noise, self.benign.images, self.benign.ids, self.seed)
        # Draws begin at 0 here: there is no noise control beside them that has read the first one.
        drawn = more_noise(self.system.only((name,)), part, lambda draw: noisy(draw - 1), NOISE_DRAWS + 1)[name]
        maps = part.maps[name].cpu()
        if name not in self._chance:
            self._chance[name] = chance_of(self.correct, lambda rows: maps[list(rows)])
        return kept_limit(drawn.numpy(), self.correct, self._chance[name])

    def _attack(self, member: Member, case: Case) -> None:
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
        some = self.benign.take(places.to(self.benign.labels.device)).only(case.names)
        try:
            images = self._images(member, case, places, some)
        except NoGradientError as error:
            self._blocked[case.label, case.eps] = doubts.words_of(error)
            return
        state.add(member.name, self._judged(case, places, images), case.near.kept, member.gradients)

    def _judged(self, case: Case, places: Tensor, images: Tensor) -> Found:
        """Read images with the honest classifier and interpreters, as a user would."""
        some = self.benign.take(places.to(self.benign.labels.device)).only(case.names)
        images, logits = sound(some, images, self.system.classifier.logits(images))
        goal = Goal(targeted=False)
        classes = goal.explained(logits, some.labels)
        nearness = case.near.of(case.near.distances(self.system, some, images, classes))
        return Found(places, images, classes, goal.reached(logits, some.labels), nearness)

    def _images(self, member: Member, case: Case, places: Tensor, some: Benign) -> Tensor:
        if member.kind == "search":
            parts = [self.system.interpreters[name] for name in case.names]
            leaves = case.leaves if all(part.sketch() is part for part in parts) else None
            return search(self.system, case.near, some, case.eps, member.steps, seed=self.seed, leaves=leaves)
        if member.kind in PREDICTION:
            key = (member.name, case.eps)
            if key not in self._class_alone:
                self._class_alone[key] = self._change_class(member, case.eps, some)
            return self._class_alone[key]
        part = self.system.only(case.names)
        attack = member.preset(case.eps, member.classes(some, case.state.classes[places])).build(part)
        arms = arms_of(part, [Asked(attack, case.names, None)])
        size, batch = some.images.shape[2:], self.batch_size or self._fitting.get(case.label)
        experiment = Experiment(
            part, arms, seed=self.seed, batch_size=batch, memory=self.memory, size=size, measures=()
        )
        self._fitting[case.label] = experiment.batch_size
        aim = experiment.aims(some)[next(each.label for each in arms if each.kind == "attack")]
        view = experiment.view_of(case.names)
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
        found = doubts.of_logits(self.system, self.benign, self.why_no_gradient)
        for each in results:
            found += doubts.of_result(each, self.members)
            why = self._blocked.get((each.interpreter, each.eps))
            if why is not None:
                text = f"a joint attack could not follow the gradient of the map, and did not run: {why}"
                found.append(Doubt("gradients", text, True, each.interpreter, each.eps))
        return found
