"""Attacks whose images are known already: they are read and judged like any attack, and nothing is attacked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire.attacks.aim import Aim
from underfire.attacks.benign import Benign
from underfire.attacks.goal import Goal
from underfire.attacks.outcome import Outcome
from underfire.attacks.perturbations import PGD, Perturbation
from underfire.attacks.progress import Progress
from underfire.attacks.runnable import Runnable
from underfire.attacks.shaping import Shaping, Uniform
from underfire.attacks.target_maps import MapRule
from underfire.attacks.targets import ClassRule
from underfire.system import SystemView

ReadImages = Callable[[Sequence[int]], Tensor]
"""Reads the images of these identities: N x C x H x W in [0, 1], at 8 bits."""
ReadMap = Callable[[str, int], Tensor]
"""Reads the wanted map h x w in [0, 1] for an interpreter's name and an image's identity."""


@dataclass(frozen=True)
class GivenImages(Runnable):
    """Images that were attacked before, perhaps on another system, as an attack of the protocol.

    It makes no steps and looks at no network. The images are judged as they are, beside the same controls as those of
    any attack.

    Args:
        name: the name of the attack that made the images.
        digest: a hash of the images, by which results know them.
        read: reads the images.
        noise_size: the size of the noise control in pixel units.
        goal: the goal of the attack that made the images.
        target_class: its target classes; see ``KnownClasses``.
        target_map: its wanted maps; see ``KnownMaps``.
    """

    name: str
    digest: str
    read: ReadImages = field(repr=False, compare=False)
    noise_size: float
    goal: Goal
    target_class: ClassRule
    target_map: MapRule
    perturbation: Perturbation = field(init=False)
    shaping: Shaping = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "perturbation", PGD(self.noise_size))
        object.__setattr__(self, "shaping", Uniform())

    @property
    def joint(self) -> bool:
        """False: there is no objective here."""
        return False

    @property
    def steps(self) -> int:
        """1, so that progress moves."""
        return 1

    def run(
        self,
        view: SystemView,
        benign: Benign,
        aim: Aim,
        *,
        seed: int,
        batch_size: int,
        progress: Progress | None = None,
        trace_every: int | None = None,
    ) -> Outcome:
        outcome = Outcome.empty(benign.images, None)
        outcome.images = self.read(benign.ids.tolist()).to(benign.images)
        outcome.last = outcome.images
        if progress is not None:
            progress(1, 1)
        return outcome


@dataclass(frozen=True)
class KnownClasses(ClassRule):
    """The target classes that images had in an earlier attack.

    Args:
        digest: a hash of the classes, by which results know them.
        classes_of: the class of each image by its identity.
    """

    name: ClassVar[str] = "known"
    needs_images: ClassVar[bool] = False
    needs_maps: ClassVar[bool] = False

    digest: str
    classes_of: Mapping[int, int] = field(repr=False, compare=False)

    def classes(self, view: SystemView, benign: Benign, seed: int) -> Tensor:
        found = [self.classes_of[number] for number in benign.ids.tolist()]
        return torch.tensor(found, dtype=torch.int64, device=benign.labels.device)


@dataclass(frozen=True)
class KnownMaps(MapRule):
    """The maps that an earlier attack wanted, resized to the maps of each interpreter that reads.

    Args:
        digest: a hash of the earlier attack, by which results know them.
        read: reads a map.
    """

    name: ClassVar[str] = "known"

    digest: str
    read: ReadMap = field(repr=False, compare=False)

    def maps(self, benign: Benign, classes: Tensor, seed: int) -> dict[str, Tensor]:
        return {
            name: torch.stack([_resized(self.read(name, number), maps) for number in benign.ids.tolist()]).to(maps)
            for name, maps in benign.maps.items()
        }


def _resized(wanted: Tensor, maps: Tensor) -> Tensor:
    """Resize a map h x w to the size of ``maps``; one that has it already keeps its values exactly."""
    if wanted.shape == maps.shape[1:]:
        return wanted
    sized = F.interpolate(wanted[None, None], maps.shape[1:], mode="bilinear", align_corners=False, antialias=True)
    return sized[0, 0].clamp(0, 1)
