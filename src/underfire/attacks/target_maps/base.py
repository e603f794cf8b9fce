"""The contract of rules for target maps, and the rule that keeps the benign map."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from underfire.attacks.benign import Benign
from underfire.errors import InputError
from underfire.user_parts import Part, guarded, shape_of, shown

ROUNDING = 1e-6
"""By so much the values of maps may lie outside of [0, 1]."""


class MapRule(Part, ABC):
    """A rule that gives each image the map that the attack wants the interpreters to show.

    Class attributes:
        name: the rule's name in results.
        benign: True if the target is the image's own benign map; joint success then means that the map is kept.
        of_class: True if the target is a map of the target class, which an untargeted attack does not have.
    """

    name: ClassVar[str]
    benign: ClassVar[bool] = False
    of_class: ClassVar[bool] = False

    def check(self, targeted: bool) -> None:
        """Raise InputError if the rule needs target classes and the attack is not ``targeted``."""
        if self.of_class and not targeted:
            raise InputError(
                f"target_map is {self.name!r}, the map of another image of the target class, and the attack is "
                "untargeted: it has no target class. Take another target map, or attack a class."
            )

    def classes(self, benign: Benign) -> tuple[int, ...] | None:
        """Return the only classes that random target classes may be drawn from; None for all classes."""
        return None

    @abstractmethod
    def maps(self, benign: Benign, classes: Tensor, seed: int) -> dict[str, Tensor]:
        """Make the wanted maps N x h x w in [0, 1], by interpreter, also of interpreters that only read.

        Args:
            benign: the images, and what the system honestly says about them.
            classes: int64 N, the classes of the attack's goal.
            seed: of random draws.
        """


@dataclass(frozen=True)
class BenignMap(MapRule):
    """The map of the clean image for its own class: the explanation that an analyst expects."""

    name: ClassVar[str] = "benign"
    benign: ClassVar[bool] = True

    def maps(self, benign: Benign, classes: Tensor, seed: int) -> dict[str, Tensor]:
        return benign.maps


def wanted_maps(rule: MapRule, benign: Benign, classes: Tensor, seed: int) -> dict[str, Tensor]:
    """Make the wanted maps of ``rule``, on the device of the benign maps.

    Raises:
        InputError: the rule leaves an interpreter out, or its maps are no maps N x h x w in [0, 1].
        UserCodeError: a rule of the user's own raises an error.
    """
    found: Mapping[str, Tensor] = guarded(rule, "target_map").maps(benign, classes, seed)
    if found is benign.maps:
        return benign.maps
    if not isinstance(found, Mapping):
        raise InputError(f"target_map {rule.name!r} returns {shown(found)}; expected a dictionary by interpreter.")
    made: dict[str, Tensor] = {}
    for name, maps in benign.maps.items():
        if name not in found:
            raise InputError(
                f"target_map {rule.name!r} returns maps of {', '.join(map(str, found)) or 'no interpreter'}, and none "
                f"of {name}; expected a map for every interpreter in benign.maps."
            )
        values = found[name]
        if not isinstance(values, Tensor) or values.shape != maps.shape or not values.is_floating_point():
            kind = f" and {values.dtype}" if isinstance(values, Tensor) else ""
            raise InputError(
                f"target_map {rule.name!r} returns {shape_of(values)}{kind} for {name}; expected floating-point maps "
                f"of shape {tuple(maps.shape)}, as benign.maps has them."
            )
        if not bool(((values >= -ROUNDING) & (values <= 1 + ROUNDING)).all()):
            raise InputError(
                f"target_map {rule.name!r} returns maps for {name} with values of {float(values.min()):.4g} to "
                f"{float(values.max()):.4g}; expected values in [0, 1], without NaN."
            )
        made[name] = values.to(maps)
    return made
