"""What a run is asked to do: everything that its results depend on, as values."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from underfire.attacks import CLASS_RULES, GivenClass, Preset
from underfire.attacks.targets import ClassRule
from underfire.classifiers import Classifier
from underfire.errors import InputError, unknown_name


class RunConfig(BaseModel):
    """One attack on one system over one set of images. ``batch_size``, ``device`` and what a run shows do not belong
    here: they do not change results, so that a run may be resumed with others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    classifier: str
    interpreters: tuple[str, ...] = ("cam",)
    attack: str = "adv2"
    eps: float = Field(0.031)
    steps: tuple[int, int] | None = None
    target: str = "random"
    targeted: bool = True
    preset: Literal["paper", "published"] = "paper"
    precision: Literal["float32", "bf16"] = "float32"
    count: int | None = Field(None, ge=1)
    seed: int = 0

    @field_validator("eps", mode="before")
    @classmethod
    def _parse_eps(cls, value: Any) -> Any:
        return parse_eps(value) if isinstance(value, str) else value

    @classmethod
    def create(cls, **values: Any) -> RunConfig:
        """A checked configuration. Raises InputError, one sentence per problem."""
        try:
            return cls(**values)
        except ValidationError as error:
            problems = [
                f"{'.'.join(str(part) for part in problem['loc'])} is {problem['input']!r}: {problem['msg']}"
                for problem in error.errors()
            ]
            raise InputError("; ".join(problems) + ".") from error

    def preset_for(self, classifier: Classifier, classes: int) -> Preset:
        """The attack that is asked for."""
        rule = parse_target(self.target, classifier, classes)
        return Preset(self.attack, self.eps, self.steps, self.preset, self.targeted, rule)


def parse_eps(text: str) -> float:
    """A number or a fraction, such as ``0.031`` or ``8/255``."""
    try:
        return float(Fraction(text.replace(" ", "")))
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"eps is {text!r}; expected a number or a fraction, such as 0.031 or 8/255.") from error


def parse_steps(text: str) -> tuple[int, int]:
    """``WARMUP,JOINT``, such as ``40,160``."""
    try:
        warmup, joint = (int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"steps is {text!r}; expected WARMUP,JOINT, such as 40,160.") from error
    return warmup, joint


def parse_target(text: str, classifier: Classifier, classes: int) -> ClassRule:
    """``random``, ``least-likely``, a class number or a class name."""
    if text in CLASS_RULES:
        return CLASS_RULES[text]
    names = classifier.class_names or ()
    if text in names:
        return GivenClass(names.index(text))
    if text.isdigit():
        if int(text) >= classes:
            raise InputError(f"target is class {text}; the classifier has classes 0..{classes - 1}.")
        return GivenClass(int(text))
    raise unknown_name("target", text, (*CLASS_RULES, *names))
