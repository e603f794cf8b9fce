"""What a run is asked to do: everything that its results depend on, as values."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from underfire.attacks import (
    CLASS_RULES,
    ForeignAttack,
    GivenClass,
    Preset,
    preset,
)
from underfire.attacks.perturbations import parse_eps
from underfire.attacks.targets import ClassRule
from underfire.errors import InputError, unknown_name
from underfire.interpreters import canonical
from underfire.runs.inputs import InputConfig

NO_BASELINE = "none"
"""A ``baseline``: no prediction-only attack beside a joint one. (None is our own.)"""


class RunConfig(InputConfig):
    """One attack on one system over one set of images. ``batch_size``, ``device`` and what a run shows do not belong
    here, so that a run may be resumed with others: batches do not change results, another device their last bits."""

    interpreters: tuple[str, ...] = ("cam",)
    readers: tuple[str, ...] = ()
    attack: str = "adv2"
    baseline: str | None = None
    perturbation: str | None = None
    target_map: str = "benign"
    edge_threshold: float | None = None
    edge_scope: Literal["all", "warmup"] | None = None
    search: int = Field(0, ge=0)
    eps: float | None = None
    noise_eps: float | None = None
    steps: tuple[int, int] | None = None
    target: str = "random"
    targeted: bool = True
    preset_: Literal["paper", "published"] = Field("paper", alias="preset")
    precision: Literal["float32", "bf16"] = "float32"
    early_stop: bool | None = None
    count: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=-(2**63), lt=2**63)
    each: bool = False
    measures: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()

    @property
    def variant(self):
        return self.preset_

    def to_dict(self):
        return self.model_dump(mode="json")

    @classmethod
    def from_values(cls, values):
        return cls.create(**values)

    @field_validator("eps", "noise_eps", mode="before")
    @classmethod
    def _parse_eps(cls, value: Any, info: ValidationInfo) -> Any:
        return parse_eps(value, str(info.field_name)) if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _with_radius(cls, values: Any) -> Any:
        """The papers' radius, where there is a ball and none was chosen."""
        if not isinstance(values, dict) or values.get("eps") is not None:
            return values
        return values

    @field_validator("interpreters", "readers")
    @classmethod
    def _known_interpreters(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(canonical(name) for name in value)

    @model_validator(mode="after")
    def _possible_attack(self) -> RunConfig:
        if self.target != "random" and not self.targeted:
            raise InputError(f"target is {self.target!r}, and the attack is untargeted: it has no target class.")
        self._preset(GivenClass(0))
        if self.baseline not in (None, NO_BASELINE):
            if ":" not in self.baseline:
                raise InputError(
                    f"baseline is {self.baseline!r}; expected torchattacks:NAME, foolbox:NAME, art:NAME or "
                    f"{NO_BASELINE}."
                )
            ForeignAttack(self.baseline)
        return self

    def preset(self, names: Sequence[str], classes: int) -> Preset:
        """The attack that is asked for, on a classifier of so many ``classes``, which are called ``names``.

        Maps of classes have no pool yet; see ``read_pool``.
        """
        return self._preset(parse_target(self.target, names, classes))

    def _preset(self, rule: ClassRule) -> Preset:
        return preset(
            self.attack,
            eps=self.eps,
            noise_eps=self.noise_eps,
            steps=self.steps,
            variant=self.preset_,
            targeted=self.targeted,
            target_class=rule if self.targeted else None,
            target_map=self.target_map,
            early_stop=self.early_stop,
            perturbation=self.perturbation,
            edge_threshold=self.edge_threshold,
            edge_scope=self.edge_scope,
            search=self.search,
            terms=self.terms,
        )


def parse_steps(text: str) -> tuple[int, int]:
    """``WARMUP,JOINT``, such as ``40,160``."""
    try:
        warmup, joint = (int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"steps is {text!r}; expected WARMUP,JOINT, such as 40,160.") from error
    return warmup, joint


def parse_target(text: str, names: Sequence[str], classes: int) -> ClassRule:
    """``random``, ``least-likely``, a class name or a class number."""
    if text in CLASS_RULES:
        return CLASS_RULES[text]
    if text in names[:classes]:
        return GivenClass(list(names).index(text))
    if text.isdecimal():
        if int(text) >= classes:
            raise InputError(f"target is class {text}; the classifier has classes 0..{classes - 1}.")
        return GivenClass(int(text))
    # Only the nearest of many names: a thousand would bury the message.
    shown = names if len(names) <= 20 else difflib.get_close_matches(text, names, n=3)
    error = unknown_name("target", text, (*CLASS_RULES, *shown))
    raise InputError(f"{error} Or a class number, 0..{classes - 1}.")
