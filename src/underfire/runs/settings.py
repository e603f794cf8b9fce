"""The configuration of a run: everything that its results depend on, as values."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from underfire.attacks import CLASS_RULES, AttackSettings, BenignMap, ForeignAttack, GivenClass, Preset, RandomClass
from underfire.attacks.measures import chosen_measures
from underfire.attacks.noise import NOISE_DRAWS
from underfire.attacks.targets import ClassRule
from underfire.errors import InputError, unknown_name
from underfire.interpreters import canonical
from underfire.memory import parse_bytes
from underfire.runs.inputs import InputSettings
from underfire.settings import Problems, setting, settings_of, settle
from underfire.user_files import split

INTERPRETERS = "Interpreters"
"""The heading of the settings about interpreters."""

NO_BASELINE = "none"
"""The ``baseline`` that leaves out the prediction-only attack beside a joint one."""


def parse_interpreters(text: str) -> tuple[str, ...]:
    """Split names at commas. The name of a masker's folder (``rts:FOLDER``) may hold commas, and is not split."""
    return (text,) if text.startswith("rts:") else tuple(name.strip() for name in text.split(","))


def parse_batch_size(text: str) -> str | None:
    """Return None for ``auto``, and any other text as it is."""
    return None if text == "auto" else text


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
        seed: of all random numbers.
        noise_draws: the number of times that each image's map is read under random noise, for the limit of "kept".
        precision: of the attacks; results are judged in the network's own precision.
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
    seed: int = setting("Seed of all random numbers.", "N", value=0, kind=int, least=-(2**63), most=2**63 - 1)
    noise_draws: int = setting(
        "Times that each image's map is read under random noise, for the largest map distance that counts as kept.",
        "N",
        value=NOISE_DRAWS,
        kind=int,
        least=1,
    )
    precision: Literal["float32", "tf32", "bf16"] = setting(
        "Precision of the attack: float32, or tf32 or bf16, which are faster on a GPU. Results are judged in float32.",
        "TYPE",
        value="float32",
        kind=Literal["float32", "tf32", "bf16"],
    )
    measures: tuple[str, ...] = setting(
        "One more measure: file.py:name. Can be repeated.",
        "NAME",
        value=(),
        kind=tuple[str, ...],
        flags=("--measure",),
        many=True,
    )


@dataclass(frozen=True, kw_only=True)
class RunConfig(RunSettings, InputSettings, AttackSettings):
    """One attack on one system over one set of images.

    Batch size, device, and what a run shows do not belong here, so that a run may be resumed with others: batches do
    not change results, and another device changes their last bits only.
    """

    def __post_init__(self) -> None:
        settle(self)
        problems = Problems()
        with problems.noted():
            self._settle_interpreters()
        with problems.noted():
            self._settle_attack()
        with problems.noted():
            self._check_baseline()
        with problems.noted():
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
        self._set(target_class=self.target_class or RandomClass.name, target_map=self.target_map or BenignMap.name)
        if self.target_class != RandomClass.name and not self.targeted:
            raise InputError(
                f"target_class is {self.target_class!r}, and the attack is untargeted: it has no target class."
            )
        own = split(str(self.target_class))  # the user's file is looked at now; a class is known with the classifier
        self._set(eps=self._preset(CLASS_RULES.find(str(self.target_class)) if own else GivenClass(0)).eps)

    def _check_baseline(self) -> None:
        if self.baseline in (None, NO_BASELINE):
            return
        if ":" not in self.baseline:
            raise InputError(
                f"baseline is {self.baseline!r}; expected torchattacks:NAME, foolbox:NAME, art:NAME or {NO_BASELINE}."
            )
        ForeignAttack(self.baseline)

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def preset(self, names: Sequence[str], classes: int) -> Preset:
        """Make the attack that is asked for.

        Maps of classes have no pool yet; see ``read_pool``.

        Args:
            names: the names of the classifier's classes.
            classes: the number of classes.
        """
        return self._preset(parse_target(str(self.target_class), names, classes))

    def _preset(self, rule: ClassRule) -> Preset:
        values = {name: getattr(self, name) for name in settings_of(AttackSettings)}
        return Preset(**values | {"target_class": rule if self.targeted else None})


@dataclass(frozen=True, kw_only=True)
class ExecutionSettings:
    """Settings of a run that its results do not depend on. A run may be resumed with others.

    Args:
        out: the output folder.
        batch_size: images at once; as many as suit the device and fit into its memory if None.
        memory: the largest number of bytes that the process shall have on the device; what is free counts if None.
        device: ``auto``, ``cpu``, ``cuda``, or ``cuda:1``.
    """

    out: str = setting("Folder for results, images and maps.", "FOLDER")
    batch_size: int | None = setting(
        "Images at once; does not change results on a CPU; on a GPU it changes their last bits.",
        "N",
        value=None,
        kind=int,
        least=1,
        parse=parse_batch_size,
        default="auto",
        panel="The run",
    )
    memory: int | None = setting(
        "The most memory that this process shall have on the device; limits --batch-size auto.",
        "SIZE",
        value=None,
        kind=int,
        parse=parse_bytes,
        default="what is free",
        panel="The run",
    )
    device: str = setting("Device: auto, cpu, cuda, cuda:1.", "NAME", value="auto", panel="The run")


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
