"""Kinds of attack: the meaning of each attack's name."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from underfire.attacks.perturbations import PERTURBATIONS
from underfire.attacks.shaping import Edge, EdgeMask, Shaping, Uniform

_UNIFORM = Uniform()


@dataclass(frozen=True)
class Kind:
    """The meaning of an attack's name.

    Args:
        about: one line for ``underfire list presets``.
        joint: True for attacks on prediction and maps at once, False for those on the prediction alone.
        shaping: the weight of the perturbation per pixel, unless another is asked for.
        auto: True for the attack without a published schedule, see ``underfire.attacks.presets.auto``.
        adaptive: True for attacks that evade detectors in any case, see ``underfire.attacks.presets.adaptive``.
        queries: True for attacks that take no gradient, see ``underfire.attacks.square``.
    """

    about: str
    joint: bool
    shaping: Shaping = _UNIFORM
    auto: bool = False
    adaptive: bool = False
    queries: bool = False

    @property
    def has_budget(self) -> bool:
        """True for attacks with one number of steps, ``budget``, and no schedule of stages."""
        return self.auto or self.queries


JOINT: Mapping[str, Kind] = MappingProxyType(
    {
        "adv2": Kind("class and map at once (Zhang et al. 2020)", True),
        "advedge": Kind("ADV2, weighted by the image's edges (Abdukhamidov et al. 2022)", True, Edge()),
        "advedge+": Kind("ADV2, on the image's edges alone (Abdukhamidov et al. 2022)", True, EdgeMask()),
        "auto": Kind("class and map at once, without parameters; the strongest (--budget)", True, auto=True),
        "adaptive": Kind("ADV2, and past a detector by squeezing (Zhang et al. 2020)", True, adaptive=True),
        "adaptive-auto": Kind("auto, and past a detector by squeezing", True, auto=True, adaptive=True),
        "square": Kind("class and map at once by answers alone, without gradients (--budget)", True, queries=True),
    }
)


class Kinds(Mapping[str, Kind]):
    """All kinds by name: the joint attacks, and for each perturbation the prediction-only attack of its name."""

    def __getitem__(self, name: str) -> Kind:
        return JOINT[name] if name in JOINT else Kind(PERTURBATIONS[name].about_alone, joint=False)

    def __iter__(self) -> Iterator[str]:
        yield from JOINT
        yield from PERTURBATIONS

    def items(self) -> ItemsView[str, Kind]:
        """Return all kinds with their names. Perturbations of packages that cannot be used are left out."""
        alone = {name: Kind(part.about_alone, joint=False) for name, part in PERTURBATIONS.items()}
        return {**JOINT, **alone}.items()

    def __len__(self) -> int:
        return len(JOINT) + len(PERTURBATIONS)


KINDS = Kinds()
