"""Target maps: rules that give each image the map that an attack wants the interpreters to show."""

from underfire.attacks.target_maps.base import BenignMap, MapRule, wanted_maps
from underfire.attacks.target_maps.given import GivenMap
from underfire.attacks.target_maps.named import MAP_RULES, map_rule
from underfire.attacks.target_maps.patch import RandomPatch
from underfire.attacks.target_maps.pool import ClassMap, MapPool

__all__ = [
    "MAP_RULES",
    "BenignMap",
    "ClassMap",
    "GivenMap",
    "MapPool",
    "MapRule",
    "RandomPatch",
    "map_rule",
    "wanted_maps",
]
