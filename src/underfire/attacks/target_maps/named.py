"""The registry of rules for target maps, and the conversion of a user's setting to a rule."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from underfire import user_files
from underfire.attacks.target_maps.base import BenignMap, MapRule
from underfire.attacks.target_maps.given import GivenMap
from underfire.attacks.target_maps.patch import RandomPatch
from underfire.attacks.target_maps.pool import ClassMap
from underfire.errors import InputError
from underfire.registry import Registry, instances_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAP_RULES: Registry[MapRule] = Registry(
    "target_map",
    "underfire.map_rules",
    {rule.name: rule for rule in (BenignMap(), RandomPatch(), ClassMap())},
    instances_of(MapRule, "the rule for target maps"),
)
"""Rules for target maps by name: what ``--target-map`` and ``preset(target_map=...)`` take."""


def map_rule(given: MapRule | str | Path | Tensor | NDArray[Any] | None) -> MapRule:
    """Turn a rule, a rule's name, ``file.py:name``, or a map (its file or its values) into a rule.

    Raises:
        InputError: it is none of these.
    """
    if given is None:
        return BenignMap()
    if isinstance(given, MapRule):
        return MAP_RULES.find(given)
    if isinstance(given, str):
        if given in MAP_RULES or user_files.split(given):
            return MAP_RULES.find(given)
        if not os.path.lexists(os.path.expanduser(given)):
            near = difflib.get_close_matches(given.lower(), list(MAP_RULES), n=1)
            suggestion = f" Did you mean {near[0]!r}?" if near else ""
            raise InputError(
                f"target_map is {given!r}, and there is no such file; expected {', '.join(MAP_RULES)} or a file with a "
                f"map.{suggestion}"
            )
    return GivenMap(given)
