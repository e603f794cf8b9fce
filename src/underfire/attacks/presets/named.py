"""Presets from keyword arguments, former names included."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from underfire.arguments import check_known
from underfire.attacks.presets.preset import Preset
from underfire.attacks.presets.settings import AttackSettings
from underfire.errors import InputError, warn_deprecated
from underfire.settings import settings_of


def preset(attack: str = "adv2", **settings: Any) -> Preset:
    """Make the attack called ``attack``, with the settings that ``AttackSettings`` describes.

    ``random_start=`` and ``neighbours=`` are deprecated: give a perturbation, such as ``PGD(random_start=True)`` or
    ``StAdv(neighbours="diagonal")``.

    Raises:
        InputError: an unknown setting, an impossible value, or one that does not go with the attack.
    """
    if "name" in settings:
        attack = settings.pop("name")
    _take_over_former(attack, settings)
    known = list(settings_of(AttackSettings))
    for name in settings:
        check_known("setting", name, known)
    return Preset(attack, **settings)


def _take_over_former(attack: str, settings: dict[str, Any]) -> None:
    """Move deprecated settings into the perturbation, and warn."""
    former = {name: settings.pop(name) for name in ("random_start", "neighbours") if name in settings}
    if not any(value is not None for value in former.values()):
        return
    made: Any = Preset(attack, **settings).made  # a frozen dataclass, as all perturbations are
    for name, value in former.items():
        if value is not None and not made.has(name):
            raise InputError(f"{name} is {value!r}, and {made.name} has no such setting.")
        warn_deprecated(f"preset({name}=...)", f"perturbation={type(made).__name__}({name}={value!r})")
    settings["perturbation"] = replace(made, **{n: v for n, v in former.items() if v is not None})
    settings.pop("eps", None)
    settings.pop("noise_eps", None)
