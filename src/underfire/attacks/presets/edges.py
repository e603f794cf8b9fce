"""The settings of a preset that are about edges, and their checks."""

from __future__ import annotations

from underfire.arguments import check_choice
from underfire.attacks.presets.settings import AttackSettings
from underfire.attacks.shaping import EdgeMask, Shaping, Uniform
from underfire.errors import InputError


def check_edges(settings: AttackSettings, shaping: Shaping) -> None:
    """Raise InputError if settings about edges are impossible, or do not go with the attack's shaping."""
    threshold = settings.edge_threshold
    if threshold is not None:
        EdgeMask(threshold)
        if not isinstance(shaping, EdgeMask):
            raise InputError(f"edge_threshold is {threshold:g}, and {settings.attack} has none: advedge+ has.")
        if shaping.threshold not in (EdgeMask.threshold, threshold):
            raise InputError(
                f"edge_threshold is {threshold:g}, and shaping is {shaping}: give the threshold to one of them."
            )
    check_choice("edge_scope", settings.edge_scope, ("all", "warmup", None))
    if settings.edge_scope is not None and isinstance(shaping, Uniform):
        raise InputError(
            f"edge_scope is {settings.edge_scope!r}, and edges have no part in {settings.attack}: advedge and advedge+ "
            "have."
        )
