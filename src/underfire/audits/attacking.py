"""The changed images that the members of an ensemble make."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from underfire.attacks.arms import Asked, arms_of
from underfire.attacks.batch_size import fitting_batch_size
from underfire.attacks.benign import Benign
from underfire.attacks.experiment import Experiment
from underfire.attacks.progress import Progress
from underfire.attacks.ranking import EarlyStop
from underfire.audits.apgd import apgd
from underfire.audits.case import Case
from underfire.audits.ensemble import PREDICTION, Member
from underfire.audits.nearness import ByNearness
from underfire.audits.search import search
from underfire.batching import filled_size, in_parts, padding
from underfire.errors import NoGradientError
from underfire.numerics import attacking
from underfire.system import System

BESIDE = 8
"""The number of other images beside some that an attack cannot begin on: as many as it looks at before it begins."""

NEVER = EarlyStop(after=1.0)
"""Images leave for no lack of improvement."""

SURE = 0.9
"""An image leaves below this share of the nearness that it needs: an attack's maps differ a little from honest ones."""


@dataclass(frozen=True)
class Made:
    """Changed images.

    Args:
        images: M x C x H x W in [0, 1].
        gradients: int64 M, the gradients that were taken for each.
        left: bool M, images that left before the last step, because the attack read that their maps were near enough.
    """

    images: Tensor
    gradients: Tensor
    left: Tensor


@dataclass
class Attacks:
    """The attacks of an ensemble on the same images.

    Args:
        system: the classifier and its interpreters.
        benign: the clean images, with the maps of all interpreters.
        seed: of all random numbers.
        batch_size, memory: as for an attack.
    """

    system: System
    benign: Benign
    seed: int
    batch_size: int | None
    memory: int | None
    _class_alone: dict[tuple[str, float], dict[int, Tensor]] = field(default_factory=dict, init=False)
    _fitting: dict[str, int] = field(default_factory=dict, init=False)

    def make(self, member: Member, case: Case, places: Tensor, heard: Progress, leaving: bool = True) -> Made:
        """Attack some images. Of each image's iterates, the one with the nearest maps is kept.

        Beside images with a gradient, one without, such as a black one, is attacked as well. So if an attack cannot
        begin on these images, others stand beside them.

        Args:
            member: the attack.
            case: what it attacks, and what was found so far.
            places: int64 M, the places of the images.
            heard: called as the attack goes on.
            leaving: an image leaves the joint attacks once its maps are near enough.

        Raises:
            NoGradientError: the attack cannot follow the gradient of a map, with other images beside these, either.
        """
        try:
            return self._make(member, case, places, heard, leaving)
        except NoGradientError:
            others = self.benign.correct.cpu().clone()
            others[places] = False
            every = others.nonzero().flatten()
            if not len(every):
                raise
            beside = every[torch.linspace(0, len(every) - 1, min(BESIDE, len(every))).long()]
        made = self._make(member, case, torch.cat([beside, places]), heard, leaving)
        own = slice(len(beside), None)
        return Made(made.images[own], made.gradients[own], made.left[own])

    def _make(self, member: Member, case: Case, places: Tensor, heard: Progress, leaving: bool) -> Made:
        some, nobody = self._take(places).only(case.names), torch.zeros_like(places, dtype=torch.bool)
        if member.kind == "search":
            parts = [self.system.interpreters[name] for name in case.names]
            leaves = case.leaves if all(part.sketch() is part for part in parts) else None
            images = search(
                self.system, case.near, some, case.eps, member.steps, seed=self.seed, leaves=leaves, progress=heard
            )
            return Made(images, torch.zeros_like(places), nobody)
        if member.kind in PREDICTION:
            made = self._class_changed(member, case.eps, places, heard)
            return Made(made, torch.full_like(places, member.steps), nobody)
        part = self.system.only(case.names)
        attack = member.preset(case.eps, member.classes(some, case.state.classes[places])).staged(part)
        enough = SURE * case.leaves if leaving else None
        stop = replace(attack.early_stop or NEVER, enough=enough)
        attack = replace(attack, ranking=ByNearness(near=case.near), early_stop=stop)
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
            batch = experiment.batch_size
            found = attack.run(view, some, aim, seed=self.seed, batch_size=batch, progress=heard)
        left = (found.level > 0) & (found.value < (enough or 0.0)) & (found.steps < attack.steps)
        return Made(found.images, found.steps.cpu(), left.cpu())

    def _take(self, places: Tensor) -> Benign:
        return self.benign.take(places.to(self.benign.labels.device))

    def _class_changed(self, member: Member, eps: float, places: Tensor, heard: Progress) -> Tensor:
        """Attack the class alone, or return what was made for another interpreter."""
        known = self._class_alone.setdefault((member.name, eps), {})
        new = [place for place in places.tolist() if place not in known]
        if new:
            made = self._change_class(member, eps, self._take(torch.tensor(new)), heard)
            known.update(zip(new, made, strict=True))
        return torch.stack([known[place] for place in places.tolist()])

    def _change_class(self, member: Member, eps: float, some: Benign, heard: Progress) -> Tensor:
        view, device = self.system.view(size=some.images.shape[2:]), some.images.device
        dlr, count = member.kind == "apgd-dlr", len(some.images)

        def work(part: slice, batch_size: int) -> Tensor:
            own = part.stop - part.start
            within = part_of(heard, part.start, own, count)
            rows = part.start + padding(own, filled_size(own, batch_size, device), device)
            made = apgd(view, some.take(rows), eps, member.steps, dlr=dlr, seed=self.seed, progress=within)
            return made[:own]

        with attacking(view.prepared.precision, device):
            size = self.batch_size or fitting_batch_size(
                view, tuple(some.images.shape[1:]), device, joint=False, memory=self.memory
            )
            return torch.cat(in_parts(work, count, size))


def part_of(heard: Progress, begin: int, count: int, total: int) -> Progress:
    """Return what hears of the progress on ``count`` images of ``total``, after ``begin`` of them."""
    return lambda step, steps: heard(begin * steps + count * step, total * steps)
