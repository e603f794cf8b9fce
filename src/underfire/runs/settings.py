"""The configuration of a run: everything that its results depend on, as values."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from underfire.attacks import (
    CLASS_RULES,
    KINDS,
    AttackSettings,
    BenignMap,
    ForeignAttack,
    GivenClass,
    GridFirst,
    Preset,
    RandomClass,
)
from underfire.attacks.evading import folder_of
from underfire.attacks.measures import chosen_measures
from underfire.attacks.noise import NOISE_DRAWS
from underfire.attacks.perturbations import eps_text, parse_several_eps
from underfire.attacks.targets import ClassRule
from underfire.errors import InputError, unknown_name
from underfire.interpreters import canonical
from underfire.runs.inputs import PREDICTED, InputSettings
from underfire.settings import Problems, setting, settings_of, settle
from underfire.user_files import split

INTERPRETERS = "Interpreters"
"""The heading of the settings about interpreters."""

NO_BASELINE = "none"
"""The ``baseline`` that leaves out the prediction-only attack beside a joint one."""


def parse_interpreters(text: str) -> tuple[str, ...]:
    """Split names at commas. The name of a masker's folder (``rts:FOLDER``) may hold commas, and is not split."""
    return (text,) if text.startswith("rts:") else tuple(name.strip() for name in text.split(","))


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The settings of a run beyond its inputs and its attack.

    Args:
        interpreters: names of the interpreters that are attacked.
        readers: names of interpreters that only read.
        each: attack every interpreter by itself, in one run with shared controls, instead of all at once.
        baseline: another library's attack as prediction-only control, or ``none``. If None: the same perturbation
            without the map terms, such as ``bim`` for adv2.
        count: attack the first ``count`` correctly classified images; all if None.
        balance: take as equal a number of these as possible from each true class, instead of the first ones. The images
            of a class come in an order that depends on the seed; a class with few images gives all that it has.
        also_right: attack only images that these classifiers get right, too: each is opened with the options of this
            run's classifier.
        seed: of all random numbers.
        noise_draws: the number of times that each image's map is read under random noise, for the limit of "kept".
        precision: of the attacks; results are judged in the network's own precision.
        compile: compile the network for passes without a second derivative; it changes the last bits of attacks.
        measures: more measures, as ``file.py:name``.
    """

    interpreters: tuple[str, ...] = setting(
        "Interpreters to attack, with commas or by repeating the option: cam, gradcam, grad, mask, rts, ... (see "
        "'underfire list'); rts:FOLDER for your own masker, my_file.py:name for your own interpreter.",
        "NAMES",
        value=("cam",),
        kind=tuple[str, ...],
        flags=("--interpreter",),
        parse=parse_interpreters,
        many=True,
        panel=INTERPRETERS,
    )
    readers: tuple[str, ...] = setting(
        "More interpreters that show maps of the attacked images but are not attacked: captum:Lime, ... (written like "
        "--interpreter).",
        "NAMES",
        value=(),
        kind=tuple[str, ...],
        flags=("--read-with",),
        parse=parse_interpreters,
        many=True,
        panel=INTERPRETERS,
    )
    each: bool = setting(
        "Attack every interpreter by itself, in one run with shared controls, instead of all at once.",
        value=False,
        kind=bool,
        flags=("--each", "--no-each"),
        panel=INTERPRETERS,
    )
    baseline: str | None = setting(
        "Prediction-only attack beside a joint one: torchattacks:NAME, foolbox:NAME, art:NAME, or none.",
        "NAME",
        value=None,
        default="the same perturbation without the map terms, such as bim beside adv2",
    )
    count: int | None = setting(
        "Attack the first N correctly classified images.", "N", value=None, kind=int, least=1, default="all"
    )
    balance: bool = setting(
        "With --count: take as equal a number of images as possible from each true class, in an order drawn from "
        "--seed. A class with few correctly classified images gives all of them, and the other classes give more.",
        value=False,
        kind=bool,
        flags=("--balance", "--no-balance"),
    )
    also_right: tuple[str, ...] = setting(
        "Attack only images that this classifier gets right, too. Can be repeated.",
        "NAME",
        value=(),
        kind=tuple[str, ...],
        many=True,
    )
    seed: int = setting("Seed of all random numbers.", "N", value=0, kind=int, least=-(2**63), most=2**63 - 1)
    noise_draws: int = setting(
        "Times that each image's map is read under random noise, for the largest map distance that counts as kept.",
        "N",
        value=NOISE_DRAWS,
        kind=int,
        least=1,
        most=1000,
    )
    precision: Literal["float32", "tf32", "bf16"] = setting(
        "Precision of the attack: float32, or tf32 or bf16, which are faster on a GPU. Results are judged in float32.",
        "TYPE",
        value="float32",
        kind=Literal["float32", "tf32", "bf16"],
    )
    compile: bool = setting(
        "Compile the network by torch.compile where an attack needs no second derivative: faster on a GPU.",
        value=False,
        kind=bool,
        flags=("--compile", "--no-compile"),
    )
    measures: tuple[str, ...] = setting(
        "One more measure: file.py:name. Can be repeated.",
        "NAME",
        value=(),
        kind=tuple[str, ...],
        flags=("--measure",),
        many=True,
    )


@dataclass(frozen=True)
class RunAttackSettings(AttackSettings):
    """The settings of a run's attack. In contrast to a single attack, a run may have several eps.

    Args:
        eps: the radii in L-inf in pixel units, such as ``"2/255,4/255"`` or ``(2 / 255, 4 / 255)``. The attack is made
            once for each, beside controls of the same eps, on the same images with the same benign maps.
    """

    eps: tuple[float, ...] | None = setting(  # type: ignore[assignment]  # one attack has one eps, a run has several
        "L-inf radius of pgd and bim, such as 8/255; also of adv2, advedge and advedge+, which use pgd by default. "
        "Several, such as 2/255,4/255,8/255, make the attack once for each.",
        "EPS,...",
        value=None,
        kind=tuple[float, ...],
        parse=parse_several_eps,
        default="0.031",
        many=True,
    )


@dataclass(frozen=True, kw_only=True)
class RunConfig(RunSettings, InputSettings, RunAttackSettings):
    """One attack on one system over one set of images.

    Batch size, device, and what a run shows do not belong here, so that a run may be resumed with others: batches do
    not change results, and another device changes their last bits only.
    """

    def __post_init__(self) -> None:
        settle(self)
        problems = Problems()
        checks = (self._settle_interpreters, self._settle_attack, self._check_baseline, self._check_images)
        for name, check in zip(("interpreters", None, "baseline", None), checks, strict=True):
            with problems.noted(name):
                check()
        with problems.noted("measures"):
            chosen_measures(self.measures)
        problems.report()

    def _settle_interpreters(self) -> None:
        names = (*self.interpreters, *self.readers)
        made = [canonical(name) for name in names]
        for place, name in enumerate(made):
            if name in made[:place]:
                raise InputError(
                    f"interpreter has {names[place]!r} twice in {', '.join(names)}; each can be given once."
                )
        if not self.interpreters:
            raise InputError("interpreters is empty; expected at least one name.")
        if self.each and self.readers:
            raise InputError(
                f"each is set, and readers is {', '.join(self.readers)}: readers read the images of one attack, and "
                "there is one for each interpreter. Leave one of the two out."
            )
        count = len(self.interpreters)
        self._set(interpreters=tuple(made[:count]), readers=tuple(made[count:]))

    def _settle_attack(self) -> None:
        """Check the attack before any image is read, and take over its radius and its rules."""
        kind = KINDS.get(self.attack.lower())
        usual = GridFirst if kind is not None and kind.adaptive and self.targeted else RandomClass
        self._set(target_class=self.target_class or usual.name, target_map=self.target_map or BenignMap.name)
        if self.target_class != RandomClass.name and not self.targeted:
            raise InputError(
                f"target_class is {self.target_class!r}, and the attack is untargeted: it has no target class."
            )
        self._check_eps()
        own = split(str(self.target_class))  # the user's file is looked at now; a class is known with the classifier
        presets = self._presets(CLASS_RULES.find(str(self.target_class)) if own else GivenClass(0))
        self._set(eps=tuple(float(each.eps) for each in presets if each.eps is not None) or None)

    def _check_eps(self) -> None:
        """Raise InputError if ``eps`` is empty, or has a radius twice."""
        if self.eps is None:
            return
        if not self.eps:
            raise InputError("eps is empty; expected at least one radius, such as 8/255.")
        texts = [eps_text(eps) for eps in self.eps]
        for place, text in enumerate(texts):
            if text in texts[:place]:
                raise InputError(f"eps has {text} twice in {', '.join(texts)}; each can be given once.")

    def _check_baseline(self) -> None:
        if self.baseline in (None, NO_BASELINE):
            return
        if ":" not in self.baseline:
            raise InputError(
                f"baseline is {self.baseline!r}; expected torchattacks:NAME, foolbox:NAME, art:NAME or {NO_BASELINE}."
            )
        ForeignAttack(self.baseline)

    def _check_images(self) -> None:
        if self.balance and self.count is None:
            raise InputError(
                "balance is set, and count is not: without a number of images, all are attacked, and there is nothing "
                "to choose. Give count, too, such as --count 70."
            )
        if self.labels == PREDICTED and self.also_right:
            raise InputError(
                f"labels is {PREDICTED!r}, and also_right is {', '.join(self.also_right)}: every classifier is right "
                "about what it predicts itself. Leave also_right out (in a campaign, agreed), or give true labels."
            )

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def evaded(self) -> tuple[Path, ...]:
        """The folders of the fitted detectors that the attack evades, apart from those by squeezing."""
        texts = cast(tuple[str, ...], self.evade)  # a run's configuration holds nothing else
        return tuple(folder for part in texts if (folder := folder_of(part)) is not None)

    def presets(self, names: Sequence[str], classes: int) -> list[Preset]:
        """Make the attacks that are asked for: one for each eps.

        Maps of classes have no pool yet; see ``read_pool``. Detectors in folders are not evaded yet: each system that
        is attacked needs a term of its own.

        Args:
            names: the names of the classifier's classes.
            classes: the number of classes.
        """
        return self._presets(parse_target(str(self.target_class), names, classes))

    def _presets(self, rule: ClassRule) -> list[Preset]:
        values = {name: getattr(self, name) for name in settings_of(AttackSettings)}
        values["target_class"] = rule if self.targeted else None
        values["evade"] = tuple(part for part in values["evade"] if folder_of(part) is None)
        return [Preset(**values | {"eps": eps}) for eps in self.eps or (None,)]


def parse_target(text: str, names: Sequence[str], classes: int) -> ClassRule:
    """Turn ``random``, ``least-likely``, ``file.py:name``, a class name or a class number into a rule.

    A rule's name comes first, so that ``random`` means the same if a class has that name.
    """
    if text in CLASS_RULES or split(text):
        return CLASS_RULES.find(text)
    if text in names[:classes]:
        return GivenClass(list(names).index(text))
    if text.isdecimal():
        if int(text) >= classes:
            raise InputError(f"target_class is class {text}; the classifier has classes 0..{classes - 1}.")
        return GivenClass(int(text))
    # Only the nearest of many names: a thousand would bury the message.
    shown = names if len(names) <= 20 else difflib.get_close_matches(text, names, n=3)
    error = unknown_name("target_class", text, (*CLASS_RULES, *shown))
    raise InputError(f"{error} Or a class number, 0..{classes - 1}.")
