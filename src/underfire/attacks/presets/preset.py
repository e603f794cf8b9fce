"""A preset: a named attack whose details depend on the system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from underfire.arguments import check_choice, check_known
from underfire.attacks.attack import Attack
from underfire.attacks.costs import check_costs
from underfire.attacks.evading import check_fitted_for
from underfire.attacks.loaders import Images
from underfire.attacks.perturbations import PERTURBATIONS, Perturbation, check_eps, parse_eps
from underfire.attacks.presets import by_queries
from underfire.attacks.presets.adaptive import checked, evaded, rule_of, terms_against
from underfire.attacks.presets.auto import BUDGET
from underfire.attacks.presets.budgets import budget_of
from underfire.attacks.presets.building import Plan, build
from underfire.attacks.presets.edges import check_edges
from underfire.attacks.presets.kinds import KINDS, Kind
from underfire.attacks.presets.settings import MOST_STEPS, AttackSettings, two_counts
from underfire.attacks.presets.terms import weighted
from underfire.attacks.result import AttackResult
from underfire.attacks.runnable import Runnable
from underfire.attacks.schedule import Weighted
from underfire.attacks.search import ConstantSearch
from underfire.attacks.shaping import SHAPINGS, Shaping, Uniform
from underfire.attacks.square import Square
from underfire.attacks.target_maps import MapRule, map_rule
from underfire.attacks.targets import ClassRule, RandomClass
from underfire.attacks.variants import VARIANTS, Variant
from underfire.errors import InputError, unknown_name
from underfire.settings import settings_of
from underfire.system import System
from underfire.user_parts import guarded


@dataclass(frozen=True)
class Preset(AttackSettings):
    """A named attack whose details depend on the system. Call it like an attack, or ``build`` the attack itself.

    All settings may be given as text, as on the command line; a preset holds them as objects. See ``AttackSettings``.

    Raises:
        InputError: a setting has an impossible value, or does not go with the attack.
    """

    made: Perturbation = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._set(attack=self.attack if ".py:" in self.attack else self.attack.lower())
        if isinstance(self.variant, str):
            check_known("variant", self.variant, VARIANTS)
        if self.steps is not None and not two_counts(self.steps):
            raise InputError(
                f"steps is {self.steps}; expected the numbers of warm-up and joint steps, such as (40, 160), of which "
                f"there are at most {MOST_STEPS} in all."
            )
        check_choice("targeted", self.targeted, (True, False))
        check_choice("early_stop", self.early_stop, (True, False, None))
        self._check_perturbation()
        self._set(budget=budget_of(self, self.kind))
        self._check_edges()
        if self.kind.queries:
            by_queries.check(self, self.made)
        self._check_goal()
        if self.search:
            ConstantSearch(self.search)
            if self.made.has("eps"):
                raise InputError(
                    f"search is {self.search}, and {self.made.name} has a ball instead of a penalty: there is no "
                    "constant to search for."
                )
        self._set(terms=weighted(self.terms), evade=checked(self.evade))
        check_costs(self.extra_terms, self.made)

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _check_perturbation(self) -> None:
        """Make the perturbation, and take over its radius."""
        for name in ("eps", "noise_eps"):
            value = getattr(self, name)
            if isinstance(value, str):
                self._set(**{name: parse_eps(value, name)})
        given = self.perturbation
        asked = given if given is None or isinstance(given, str) else PERTURBATIONS.find(given)
        if self.attack in KINDS and KINDS[self.attack].joint:
            part = PERTURBATIONS["pgd"] if asked is None else asked
        elif isinstance(asked, Perturbation) and asked.name.lower() == self.attack:
            part = asked  # the registry need not know it
        else:
            part = self._named_by_attack()
            own = part.name
            other = asked if asked is None or isinstance(asked, str) else asked.name
            if other not in (None, own):
                raise InputError(
                    f"perturbation is {other!r}, and attack {self.attack!r} is {own!r} already: name the perturbation "
                    "as the attack, or take a joint attack."
                )
            part = asked if isinstance(asked, Perturbation) else part
        if isinstance(part, str):
            part = PERTURBATIONS.find(part)
        for name in ("eps", "noise_eps"):
            if getattr(self, name) is not None and part.has(name):
                check_eps(name, getattr(self, name))
        if isinstance(part, Perturbation):
            size = part.noise_size if part.has("eps") else None
            for name, own_value in (("eps", size), ("noise_eps", getattr(part, "noise_eps", None))):
                given = getattr(self, name)
                if given is not None and given != own_value:
                    raise InputError(
                        f"{name} is {given!r:.8}, and perturbation is {part}: give {name} to one of them, as "
                        f"{type(part).__name__}({name}={given!r:.8})."
                    )
            made = part
        else:
            made = guarded(part, "perturbation").make(eps=self.eps, noise_eps=self.noise_eps)
        self._set(made=made, eps=getattr(made, "eps", None))

    def _named_by_attack(self) -> type[Perturbation] | Perturbation:
        if self.attack not in PERTURBATIONS and ".py:" not in self.attack:
            raise InputError.about("attack", unknown_name("attack", self.attack, KINDS))
        return PERTURBATIONS.find(self.attack)

    def _check_edges(self) -> None:
        if self.shaping is not None:
            self._set(shaping=SHAPINGS.find(self.shaping))
        check_edges(self, self.effective_shaping)

    def _check_goal(self) -> None:
        if self.target_class is not None and not self.targeted and self.target_class != RandomClass():
            raise InputError(
                f"target_class is {self.target_class!r}, and the attack is untargeted: it has no target class."
            )
        rule = rule_of(self.kind, self.target_class, self.targeted)
        self._set(target_class=rule, target_map=map_rule(self.target_map))
        guarded(self.map_rule, "target_map").check(self.targeted)

    @property
    def name(self) -> str:
        """The name in results: the attack's name, with the shaping's name if the shaping is not the usual one."""
        base = self.attack if self.attack in KINDS else self.made.name
        if not self.joint and self.made.name_alone != self.made.name:
            base = self.made.name_alone
        shaping = self.effective_shaping
        return base if isinstance(shaping, type(self.kind.shaping)) else f"{base}-{shaping.name}"

    @property
    def kind(self) -> Kind:
        """The meaning of the name."""
        return KINDS[self.attack] if self.attack in KINDS else Kind(self.made.about_alone, joint=False)

    @property
    def joint(self) -> bool:
        """True for an attack on prediction and maps at once."""
        return self.kind.joint

    @property
    def made_perturbation(self) -> Perturbation:
        """The perturbation, complete for this attack."""
        return self._complete(self.made)

    def _complete(self, made: Perturbation) -> Perturbation:
        shaped = not isinstance(self.effective_shaping, Uniform)
        return guarded(made, "perturbation").completed(self.joint, shaped, self.settled_variant)

    @property
    def settled_variant(self) -> Variant:
        """The variant as an object."""
        return VARIANTS[self.variant] if isinstance(self.variant, str) else self.variant

    @property
    def effective_shaping(self) -> Shaping:
        """The shaping that was asked for, or the one that belongs to the attack."""
        assert not isinstance(self.shaping, str)
        return self.shaping or self.kind.shaping

    @property
    def class_rule(self) -> ClassRule:
        """The rule for target classes."""
        assert isinstance(self.target_class, ClassRule)
        return self.target_class

    @property
    def map_rule(self) -> MapRule:
        """The rule for target maps."""
        assert isinstance(self.target_map, MapRule)
        return self.target_map

    @property
    def extra_terms(self) -> tuple[Weighted, ...]:
        """The loss terms beyond those of the attack."""
        return (*weighted(self.terms), *terms_against(self.kind, self.evade, self.settled_variant, self.class_rule))

    def build(self, system: System) -> Attack | Square:
        """Make the attack on ``system``."""
        if not self.kind.queries:
            return self.staged(system)
        check_fitted_for(self.evade, system.classifier)
        return by_queries.build(self, self.made, self.extra_terms, self._rules)

    @property
    def _rules(self) -> dict[str, Any]:
        return {"target_class": self.class_rule, "target_map": self.map_rule}

    def staged(self, system: System) -> Attack:
        """Make the attack on ``system``, one with stages of gradient steps: any but ``square``."""
        check_fitted_for(self.evade, system.classifier)
        plan = Plan(
            self.name,
            self.joint,
            self.kind.auto,
            self,
            self._complete(guarded(self.made, "perturbation").for_auto()[0] if self.kind.auto else self.made),
            self.effective_shaping,
            self.settled_variant,
            self.extra_terms,
            (*weighted(self.terms), *evaded(self.kind, self.evade)),
        )
        return build(plan, self._rules, system)

    def __call__(
        self,
        system: System,
        images: Images,
        labels: Tensor | Sequence[int] | None = None,
        *,
        control: Runnable | Preset | bool | None = True,
        **options: Any,
    ) -> AttackResult:
        """Attack ``images``, and measure the result beside the controls.

        Args:
            control: the attack to compare with; if True, the prediction-only control of a joint attack; none if None or
                False.
            options: as for ``Attack.__call__``.
        """
        if control is True:
            control = self.control() if self.has_control else None
        beside = control.build(system) if isinstance(control, Preset) else control
        return self.build(system)(system, images, labels, control=beside, **options)

    @property
    def has_control(self) -> bool:
        """True if the attack is compared with a prediction-only control: joint attacks, and ``bim``."""
        return self.joint or self.attack == "bim"

    def control(self) -> Preset:
        """Make the prediction-only control: the same perturbation, shaping, start, targets and number of steps.

        It does not look at the target map, and is measured by it. The control of ``bim`` is ``pgd``, from a random
        start.
        """
        if self.attack == "bim":
            return self.replace(attack="pgd", perturbation=None, terms=(), evade=(), target_class=self.target_class)
        shaped = not isinstance(self.effective_shaping, Uniform)
        moved = guarded(self.made_perturbation, "perturbation")
        if self.kind.auto and shaped:  # its edges weigh steps as those of auto do
            moved = guarded(moved.for_auto()[0], "perturbation")
        part = moved.alone()
        return self.replace(
            attack=part.name,
            perturbation=part,
            **dict.fromkeys(("eps", "noise_eps", "early_stop", "budget")),
            target_class=self.target_class,
            shaping=self.effective_shaping,
            edge_scope="all" if self.kind.auto and shaped else self.edge_scope,
            steps=self._steps_beside(),
            terms=(),
            evade=(),
        )

    def _steps_beside(self) -> tuple[int, int] | None:
        """Return the steps of the control. One gradient leads further than many queries: 200 are enough beside them."""
        if self.budget is None:
            return self.steps
        return (0, min(self.budget, BUDGET) if self.kind.queries else self.budget)

    def replace(self, **changes: Any) -> Preset:
        """Return the preset with some settings changed. The radius stays if the new perturbation has one."""
        values = {name: getattr(self, name) for name in settings_of(AttackSettings)} | changes
        if "attack" in changes and "budget" not in changes:
            values["budget"] = None
        if self.target_class == rule_of(self.kind, None, self.targeted):  # the usual one may be another now
            values["target_class"] = changes.get("target_class")
        if {"perturbation", "attack"} & changes.keys():
            bare = Preset(**{**values, "eps": changes.get("eps"), "noise_eps": changes.get("noise_eps")})
            brings = isinstance(values["perturbation"], Perturbation)
            for name in ("eps", "noise_eps"):
                if name not in changes and (brings or not bare.made.has(name)):
                    values[name] = None
        return Preset(**values)
