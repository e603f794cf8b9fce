"""A preset: a named attack whose details depend on the system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from underfire.attacks.attack import Attack
from underfire.attacks.perturbations import EPS, check_eps, has_ball, parse_eps
from underfire.attacks.presets.building import KINDS, build, perturbation_of
from underfire.attacks.presets.rows import ROWS
from underfire.attacks.presets.variants import VARIANTS, EdgeScope, Variant
from underfire.attacks.result import AttackResult
from underfire.attacks.search import ConstantSearch
from underfire.attacks.shaping import SHAPINGS, EdgeMask, Shaping, Uniform
from underfire.attacks.target_maps import BenignMap, MapRule, map_rule
from underfire.attacks.targets import CLASS_RULES, ClassRule, GivenClass, RandomClass
from underfire.errors import InputError, unknown_name
from underfire.system import System

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Preset:
    """A named attack whose details depend on the system. Call it like an attack, or ``build`` the attack itself.

    Args:
        name: ``adv2``, ``advedge``, ``advedge+`` (joint), ``pgd``, ``bim``, ``cw`` or ``stadv`` (prediction only).
        eps: L-inf radius in pixel units, of ``pgd`` and ``bim``: the published 0.031 where None is given. The others
            have none.
        steps: warm-up and joint steps instead of the published ones; weights rescale with them.
        variant: ``paper``, ``published``, or a ``Variant`` of one's own. An interpreter's published settings (Grad's
            normalised pixels) are the interpreter's: ``interpreters.create("grad", "published")``.
        targeted: reach a class (default), or only leave the image's own.
        target_class: which class, where targeted.
        early_stop: whether images that have come to rest leave; by default where weights stand still at last (Grad)
            and never under ``published``. On CAM it saves a fifth of the steps and costs 3 % of map distance.
        perturbation: of a joint attack: ``pgd`` (default), ``bim``, ``cw`` or ``stadv``.
        target_map: which map, of a joint attack.
        shaping: instead of what goes with the name.
        edge_threshold: of ``advedge+``, in Sobel magnitude.
        edge_scope: edges act in ``all`` stages or in the ``warmup`` alone; by the variant where None.
        random_start: of ``pgd``, multiplied by the shaping; where None, in prediction-only attacks.
        neighbours: ``adjacent`` or ``diagonal``, of StAdv's flow; by the variant where None.
        noise_eps: of ``cw`` and ``stadv``, which have no eps: maps are compared with noise of plus and minus so
            much, as under ``pgd``, rather than with noise as large as the change was.
        search: rounds of a search for each image's own constant between penalty and objective (``cw``, ``stadv``).
    """

    name: str
    eps: float | None = None
    steps: tuple[int, int] | None = None
    variant: str | Variant = "paper"
    targeted: bool = True
    target_class: ClassRule = field(default_factory=RandomClass)
    early_stop: bool | None = None
    perturbation: str | None = None
    target_map: MapRule = field(default_factory=BenignMap)
    shaping: Shaping | None = None
    edge_threshold: float | None = None
    edge_scope: EdgeScope | None = None
    random_start: bool | None = None
    neighbours: Literal["adjacent", "diagonal"] | None = None
    noise_eps: float | None = None
    search: int = 0

    def __post_init__(self) -> None:
        if self.name not in KINDS:
            raise unknown_name("attack", self.name, KINDS)
        if isinstance(self.variant, str) and self.variant not in VARIANTS:
            raise unknown_name("preset variant", self.variant, VARIANTS)
        if self.perturbation is not None and self.perturbation not in ROWS:
            raise unknown_name("perturbation", self.perturbation, ROWS)
        own = KINDS[self.name].perturbation
        if own is not None and self.perturbation not in (None, own):
            raise InputError(
                f"perturbation is {self.perturbation!r}, and attack {self.name!r} is {own!r} already: name the "
                "perturbation as the attack, or take a joint attack."
            )
        if self.steps is not None and not _two_counts(self.steps):
            raise InputError(
                f"steps is {self.steps}; expected the numbers of warm-up and joint steps, such as (40, 160)."
            )
        shaping = self.shaping or KINDS[self.name].shaping
        if self.edge_threshold is not None:
            EdgeMask(self.edge_threshold)
            if not isinstance(shaping, EdgeMask):
                raise InputError(f"edge_threshold is {self.edge_threshold:g}, and {self.name} has none: advedge+ has.")
        if self.edge_scope not in (None, "all", "warmup"):
            raise InputError(f"edge_scope is {self.edge_scope!r}; expected 'all' or 'warmup'.")
        if self.edge_scope is not None and isinstance(shaping, Uniform):
            raise InputError(
                f"edge_scope is {self.edge_scope!r}, and edges have no part in {self.name}: advedge and advedge+ have."
            )
        if self.random_start and self.perturbation_name != "pgd":
            raise InputError(f"random_start is True, and {self.perturbation_name} has none: pgd has.")
        if self.neighbours is not None and self.perturbation_name != "stadv":
            raise InputError(f"neighbours is {self.neighbours!r}, and {self.perturbation_name} has no flow: stadv has.")
        ball = has_ball(self.perturbation_name)
        if self.eps is None and ball:
            object.__setattr__(self, "eps", EPS)
        if self.eps is not None and not ball:
            raise InputError(
                f"eps is {self.eps!r:.8}, and {self.perturbation_name} has no ball: its changes are as large as they "
                "need to be. noise_eps says what noise maps are compared with."
            )
        if self.eps is not None:
            check_eps("eps", self.eps)
        if self.noise_eps is not None and self.eps is not None:
            raise InputError(
                f"noise_eps is {self.noise_eps:g}, and {self.perturbation_name} is compared with noise of its own eps, "
                f"{self.eps:g}: it is for cw and stadv, which have none."
            )
        if self.search:
            ConstantSearch(self.search)
            if ball:
                raise InputError(
                    f"search is {self.search}, and {self.perturbation_name} has a ball instead of a penalty: there is "
                    "no constant to search for."
                )
        self.target_map.check(self.targeted)
        perturbation_of(self, Uniform())

    @property
    def settings(self) -> Variant:
        """What the variant's name stands for."""
        return VARIANTS[self.variant] if isinstance(self.variant, str) else self.variant

    @property
    def perturbation_name(self) -> str:
        return self.perturbation or KINDS[self.name].perturbation or "pgd"

    @property
    def joint(self) -> bool:
        return KINDS[self.name].joint

    def build(self, system: System) -> Attack:
        """The attack on ``system``."""
        return build(self, system)

    def __call__(self, system: System, images: Tensor, labels: Tensor | Sequence[int], **options: Any) -> AttackResult:
        """Attack ``images``: the same arguments and result as ``Attack.__call__``."""
        return self.build(system)(system, images, labels, **options)

    def control(self) -> Preset:
        """The prediction-only attack with the same perturbation, shaping, start and targets, and as many steps. It does
        not look at the target map, and is measured by it."""
        name = self.perturbation_name
        shaping = self.shaping or KINDS[self.name].shaping
        name = "bim" if name == "pgd" and not self.random_start else name
        return replace(self, name=name, perturbation=None, shaping=shaping, early_stop=None)


def _two_counts(steps: Any) -> bool:
    two = isinstance(steps, tuple | list) and len(steps) == 2 and all(isinstance(count, Integral) for count in steps)
    return two and min(steps) >= 0 and sum(steps) > 0


def preset(
    name: str,
    *,
    eps: float | str | None = None,
    steps: tuple[int, int] | None = None,
    variant: str | Variant = "paper",
    targeted: bool = True,
    target_class: ClassRule | int | str | Sequence[int] | Tensor | None = None,
    target_map: MapRule | str | Path | Tensor | NDArray[Any] | None = None,
    shaping: Shaping | str | None = None,
    noise_eps: float | str | None = None,
    **others: Any,
) -> Preset:
    """The attack called ``name``: ``adv2``, ``advedge``, ``advedge+`` (joint), ``pgd``, ``bim``, ``cw``, ``stadv``
    (prediction only). See ``Preset`` for all that can be set.

    Args:
        eps: a number, or a fraction such as ``"8/255"``; of ``pgd`` and ``bim``.
        target_class: a rule, its name (``random``, ``least-likely``), a class number, or one per image.
        target_map: a rule, ``benign``, ``patch``, ``class`` (the map of another one of the attacked images, which is of
            the target class; see ``ClassMap`` for maps of others), or a map: the name of a file, or a tensor or array
            h x w (for all images) or N x h x w (one per image) in [0, 1]; see ``GivenMap``.
        shaping: ``uniform``, ``edge`` or ``edge-mask``, instead of what goes with the attack.
        noise_eps: as ``eps``.

    Raises:
        InputError: for a value that cannot be, or a target class where the attack is untargeted.
    """
    if target_class is not None and not targeted:
        raise InputError(f"target_class is {target_class!r}, and targeted is False: an untargeted attack has none.")
    if isinstance(shaping, str):
        if shaping not in SHAPINGS:
            raise unknown_name("shaping", shaping, SHAPINGS)
        shaping = SHAPINGS[shaping]
    return Preset(
        name.lower(),
        parse_eps(eps) if isinstance(eps, str) else eps,
        steps,
        variant,
        targeted,
        _class_rule(target_class),
        target_map=map_rule(target_map),
        shaping=shaping,
        noise_eps=parse_eps(noise_eps, "noise_eps") if isinstance(noise_eps, str) else noise_eps,
        **others,
    )


def _class_rule(given: Any) -> ClassRule:
    if isinstance(given, str):
        if given not in CLASS_RULES:
            raise unknown_name("target_class", given, CLASS_RULES)
        return CLASS_RULES[given]
    if given is None or isinstance(given, ClassRule):
        return given or RandomClass()
    values = given.tolist() if hasattr(given, "tolist") else given  # of tensors, arrays and their numbers
    if isinstance(values, Integral):
        return GivenClass(int(values))
    if isinstance(values, Sequence) and values and all(isinstance(value, Integral) for value in values):
        return GivenClass(tuple(int(value) for value in values))
    raise InputError(
        f"target_class is {values!r:.60} ({type(given).__name__}); expected a rule, 'random', 'least-likely', a class "
        "number, or one class number per image."
    )
