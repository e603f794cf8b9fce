"""From what a user types or gives as ``target_map`` to the rule that it stands for."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from underfire.attacks.target_maps.base import BenignMap, MapRule
from underfire.attacks.target_maps.given import GivenMap
from underfire.attacks.target_maps.patch import RandomPatch
from underfire.attacks.target_maps.pool import ClassMap
from underfire.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAP_RULES: dict[str, MapRule] = {"benign": BenignMap(), "patch": RandomPatch(), "class": ClassMap()}


def map_rule(given: MapRule | str | Path | Tensor | NDArray[Any] | None) -> MapRule:
    """The rule that ``given`` stands for: itself, by name, or by its map. Raises InputError where there is none."""
    if given is None:
        return BenignMap()
    if isinstance(given, MapRule):
        return given
    if isinstance(given, str):
        if given in MAP_RULES:
            return MAP_RULES[given]
        if not os.path.lexists(os.path.expanduser(given)):
            near = difflib.get_close_matches(given.lower(), MAP_RULES, n=1)
            suggestion = f" Did you mean {near[0]!r}?" if near else ""
            raise InputError(
                f"target_map is {given!r}, and there is no such file; expected {', '.join(MAP_RULES)} or a file with a "
                f"map.{suggestion}"
            )
    return GivenMap(given)
