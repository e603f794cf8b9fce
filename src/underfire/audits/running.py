"""The attacks of an audit: the members of the ensemble, one after the other, each on the images that still stand."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from underfire.attacks.benign import Benign
from underfire.attacks.goal import Goal
from underfire.attacks.intervals import JointIntervals
from underfire.attacks.limits import Flags, Limit, chance_of, kept_limit
from underfire.attacks.noise import NOISE_DRAWS, more_noise
from underfire.attacks.perturbations import PGD, eps_text
from underfire.attacks.progress import Progress as Heard
from underfire.attacks.unsound import sound
from underfire.audits import doubts
from underfire.audits.attacking import Attacks, part_of
from underfire.audits.case import Case
from underfire.audits.doubt import Doubt
from underfire.audits.ensemble import PREDICTION, Member
from underfire.audits.nearness import Nearness
from underfire.audits.result import Robustness
from underfire.audits.standing import Found, Standing, elsewhere, file_name
from underfire.batching import depends_on_batch
from underfire.errors import NoGradientError
from underfire.metrics.chance import Chance
from underfire.runs.identity import described
from underfire.system import System
from underfire.version import __version__

Progress = Callable[[str, float], None]
"""Called with a few words about what is done, and the share that is done, in [0, 1]."""


BLOCK, QUICK = 16, 30.0
"""The number of images that an attack begins with on a CPU, after which the state is saved; twice as many are next if
these took fewer seconds than ``QUICK``. A GPU attacks all images at once: their last bits depend on their batch."""


@dataclass
class Runner:
    """The attacks of an audit, on the same images.

    Args:
        system: the classifier and its interpreters.
        benign: the clean images, with the maps of all interpreters.
        members: the attacks.
        seed: of all random numbers.
        batch_size, memory: as for an attack.
        folder: where the state is saved after each attack, and every few images of a slow one; nowhere if None.
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
        self.searches = {each.name for each in self.members if each.kind == "search"}
        self._chance: dict[str, Chance] = {}
        self.attacks = Attacks(self.system, self.benign, self.seed, self.batch_size, self.memory)
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
        length = 1 / (len(radii) * len(asked))
        for place, eps in enumerate(radii):
            before, cases = cases, {}
            for each, names in enumerate(asked):
                case = self._begin(names, eps, before.get("+".join(names)))
                if case.near.several:  # what was found for single interpreters costs no attack
                    self._try_on(case, cases)
                self._run(case, (place * len(asked) + each) * length, length)
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

    def _run(self, case: Case, begun: float = 0.0, length: float = 1.0) -> None:
        """Run the attacks on a case, which is ``length`` of the audit, after ``begun`` of it."""
        total, before = sum(member.work for member in self.members), 0.0
        for member in self.members:
            if member.name not in case.state.done:
                words = f"{case.label} at {eps_text(case.eps)}: {member.name}"

                def heard(
                    step: int, steps: int, words: str = words, first: float = before, own: float = member.work
                ) -> None:
                    self.tell(words, begun + length * (first + own * step / steps) / total)

                heard(0, 1)
                self._attack(member, case, heard)
                self._save(case)
            before += member.work

    def _save(self, case: Case) -> None:
        path = self._path(case.near, case.eps)
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
                places = found.places.tolist()
                kept_by, wrong_by = (
                    [elsewhere(credits[place], other.label) for place in places]
                    for credits in (other.state.nearest_by, other.state.wrong_by)
                )
                case.state.absorb(other.label, judged, case.near.kept, kept_by, wrong_by)
                case.state.overrule(wrong_by, judged, self.searches)

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

    def _attack(self, member: Member, case: Case, heard: Heard) -> None:
        state = case.state
        standing = self.correct
        if member.kind not in PREDICTION:
            standing = self.correct & ~(state.wrong & (state.nearest < case.leaves))
        if member.kind != "search" and self.why_no_gradient is not None:
            return  # and it is not done: it will run once the classifier has a gradient
        places = torch.from_numpy(np.flatnonzero(standing & ~state.tried_by(member.name)))
        begin, size = 0, len(places) if depends_on_batch(self.benign.images.device) else BLOCK
        while begin < len(places):
            block, started = places[begin : begin + size], time.monotonic()
            part = part_of(heard, begin, len(block), len(places))
            try:
                self._attack_some(member, case, block, part)
            except NoGradientError as error:
                self._blocked[case.label, case.eps] = doubts.words_of(error)
                return
            self._save(case)
            begin += len(block)
            if time.monotonic() - started < QUICK:
                size *= 2
        state.finish(member.name)

    def _attack_some(self, member: Member, case: Case, places: Tensor, heard: Heard) -> None:
        """Attack some images, and those again to the end that left although their honest maps are not near enough."""
        made = self.attacks.make(member, case, places, heard)
        found = self._judged(case, places, made.images)
        self._add(member, case, found, made.gradients)
        again = places[made.left & ~(found.wrong & (found.nearness < case.leaves))]
        if len(again):
            case.state.not_tried(member.name, again)
            part = part_of(heard, len(places) - len(again), len(again), len(places))
            made = self.attacks.make(member, case, again, part, leaving=False)
            self._add(member, case, self._judged(case, again, made.images), made.gradients)

    def _add(self, member: Member, case: Case, found: Found, gradients: Tensor) -> None:
        """Note what a member found; one with gradients is credited with what only a search had found before."""
        case.state.add(member.name, found, case.near.kept, gradients.numpy())
        case.state.overrule([member.name] * len(found.places), found, self.searches)

    def _judged(self, case: Case, places: Tensor, images: Tensor) -> Found:
        """Read images with the honest classifier and interpreters, as a user would."""
        some = self.benign.take(places.to(self.benign.labels.device)).only(case.names)
        images, logits = sound(some, images, self.system.classifier.logits(images))
        goal = Goal(targeted=False)
        classes = goal.explained(logits, some.labels)
        nearness = case.near.of(case.near.distances(self.system, some, images, classes))
        return Found(places, images, classes, goal.reached(logits, some.labels).cpu(), nearness)

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
