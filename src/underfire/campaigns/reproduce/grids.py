"""The runs that tables and figures of a paper need, as a campaign."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from underfire.attacks import KINDS
from underfire.attacks.perturbations import PERTURBATIONS
from underfire.campaigns.grid import Change, Grid, Values
from underfire.campaigns.reproduce.labels import trained_without_defense
from underfire.campaigns.reproduce.papers import CONTROL, NO_DEFENSE, Item, Paper
from underfire.errors import InputError
from underfire.runs.settings import NO_BASELINE

INTERPRETERS = ("grad", "cam", "mask", "rts")
"""The interpreters of both papers."""


@dataclass(frozen=True)
class Choice:
    """The classifiers, interpreters and settings of a reproduction.

    Args:
        classifiers: names of classifiers.
        interpreters: names of interpreters; each is attacked by itself.
        settings: settings of every run, named as in ``underfire attack --dump-config``: ``data`` and others.
        steps: steps of the attacks that have a warm-up and a joint stage; the published ones if None.
        budget: steps of ``auto``; its default if None.
        eps: the radius of perturbations that have one; the default if None.
        counts: the number of images by interpreter; the entry ``""`` is for all others.
        defended: trained defenses: ``rts:FOLDER`` for a masker, or a file of weights for the classifier.
    """

    classifiers: Sequence[str]
    interpreters: Sequence[str] = INTERPRETERS
    settings: Mapping[str, Any] = field(default_factory=dict)
    steps: Sequence[int] | None = None
    budget: int | None = None
    eps: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    defended: Sequence[str] = ()

    @property
    def maskers(self) -> list[str]:
        """The defended interpreters among ``defended``."""
        return [name for name in self.defended if name.startswith(MASKER)]

    @property
    def weights(self) -> list[str]:
        """The files of weights among ``defended``."""
        return [name for name in self.defended if not name.startswith(MASKER)]

    @property
    def plain(self) -> list[str]:
        """The interpreters that defended maskers are compared with: ``rts``, or ``rts:FOLDER``."""
        own = [name for name in self.interpreters if name.partition(":")[0] == "rts"]
        return [name for name in own if name not in self.defended]

    @property
    def labels(self) -> dict[str, str]:
        """The defenses' names in tables: the name of a folder, or of that in which a file lies. A classifier trained by
        the recipe ``normal``, the same training without a defense, is called so.

        Raises:
            InputError: two defenses have the same name.
        """
        found = {name: _label(name.removeprefix(MASKER)) for name in self.defended}
        controls = [name for name in found if trained_without_defense(Path(name).expanduser())]
        if len(controls) > 1:
            raise InputError(
                f"defended holds {' and '.join(controls)}, which are all trained without a defense, by the recipe "
                f"{CONTROL}: tables have one row for these. Give one of them."
            )
        for name, label in found.items():
            taken = label in (NO_DEFENSE, CONTROL) or list(found.values()).count(label) > 1
            if taken and name not in controls:
                raise InputError(
                    f"defended is {name!r}, and tables would call it {label!r}, like another row: a defense has the "
                    "name of its folder. Rename the folder."
                )
        return found

    def count(self, interpreter: str) -> int | None:
        """Return the number of images for an interpreter, ``rts`` or ``rts:FOLDER``; None for all."""
        names = (interpreter, interpreter.partition(":")[0], "")
        return next((self.counts[name] for name in names if name in self.counts), None)


def _label(text: str) -> str:
    path = Path(text).expanduser()
    path = path.resolve() if path.exists() else path
    is_file = path.is_file() or (path.suffix != "" and not path.is_dir())
    if is_file and trained_without_defense(path):
        return CONTROL
    return path.parent.name if is_file else path.name


MASKER = "rts:"
"""The beginning of the name of an interpreter with a masker of its own."""


ADAPTIVE = ("adaptive", "adaptive-auto")
"""The attacks that know the detectors of an item."""


def grid_of(
    paper: Paper, items: Sequence[Item], choice: Choice, evade: Mapping[str, Sequence[str]] | None = None
) -> Grid:
    """Describe the runs that items of a paper need, each of them once.

    Cheap interpreters come first, so that a run that is stopped early has the most to show.

    Args:
        paper: the paper.
        items: its tables and figures.
        choice: classifiers, interpreters and settings.
        evade: what the adaptive attacks evade, by classifier: squeezers with thresholds. There are no adaptive attacks
            on further classifiers. If None, they evade the squeezers of the items, whatever the thresholds are.

    Raises:
        InputError: there is no classifier or interpreter, or a number of images is for an interpreter that is not
            there.
    """
    for name, given in (("classifier", choice.classifiers), ("interpreter", choice.interpreters)):
        if not given:
            raise InputError(f"{name} is empty; expected at least one name.")
    for name in choice.counts:
        if name and name not in choice.interpreters:
            raise InputError(
                f"count is given for {name!r}, which is not among the interpreters {', '.join(choice.interpreters)}."
            )
    groups = {name: paper.runs[name] for item in items for name in item.runs}
    asked = {(name, attack) for item in items for name in item.runs for attack in item.attacks or groups[name].attack}
    order = sorted(choice.interpreters, key=lambda name: COST.get(name, 1))
    every = list(dict.fromkeys((*order, *choice.maskers)))
    runs: list[Values] = [
        {
            "classifier": classifier,
            "interpreters": [interpreter],
            "attack": attack,
            "perturbation": perturbation,
            "target_map": target,
        }
        for interpreter, classifier, (name, group) in itertools.product(every, choice.classifiers, groups.items())
        for attack, perturbation, target in itertools.product(group.attack, group.perturbation, group.target_map)
        if (name, attack) in asked
        and group.attacks_on(interpreter)
        and (group.interpreter or interpreter in order)
        and (attack not in ADAPTIVE or evade is None or evade.get(classifier))
    ]
    return Grid(
        name=paper.title,
        settings=dict(choice.settings),
        include=[run for place, run in enumerate(runs) if run not in runs[:place]],
        change=[*_changes(choice, runs), *_evading(items, choice, evade)],
        full_names=True,  # so that more items or classifiers can be added to a folder
    )


def grown(grid: Grid, held: Grid) -> Grid:
    """Add the runs that a folder holds already to those of a grid, so that the folder's campaign grows."""
    return grid.model_copy(
        update={
            "include": [*grid.include, *(each for each in held.include if each not in grid.include)],
            "change": [*(each for each in held.change if each not in grid.change), *grid.change],
        }
    )


COST = {"mask": 30, "grad": 6}
"""How much longer a step takes on an interpreter than on CAM, roughly."""


def _changes(choice: Choice, runs: Sequence[Values]) -> list[Change]:
    """List the settings that only some of the runs have."""
    attacks = list(dict.fromkeys(run["attack"] for run in runs))
    with_ball = [name for name in dict.fromkeys(run["perturbation"] for run in runs) if PERTURBATIONS[name].has("eps")]
    found: list[tuple[str, list[Any], Values]] = []
    if choice.steps is not None:
        found.append(("attack", [name for name in attacks if not has_budget(name)], {"steps": list(choice.steps)}))
    if choice.budget is not None:
        found.append(("attack", [name for name in attacks if has_budget(name)], {"budget": choice.budget}))
    if choice.eps is not None:
        found.append(("perturbation", with_ball, {"eps": [choice.eps]}))
    for name in dict.fromkeys(run["interpreters"][0] for run in runs):
        count = choice.count(name)
        if count is not None:
            found.append(("interpreters", [[name]], {"count": count}))
    return [Change(where={name: values}, set=given) for name, values, given in found if values]


def has_budget(attack: str) -> bool:
    """Return True if an attack has a number of steps, ``budget``, and no schedule of stages."""
    return attack in KINDS and KINDS[attack].has_budget


def _evading(items: Sequence[Item], choice: Choice, evade: Mapping[str, Sequence[str]] | None) -> list[Change]:
    """Say what adaptive attacks evade. A control stands beside the other attacks already."""
    squeezers = [name.partition(":")[2] for item in items for name in item.detectors if name.startswith("squeezing:")]
    known = dict.fromkeys(choice.classifiers, squeezers) if evade is None else evade
    return [
        Change(
            where={"attack": list(ADAPTIVE), "classifier": [classifier]},
            set={"evade": list(dict.fromkeys(texts)), "baseline": NO_BASELINE},
        )
        for classifier, texts in known.items()
        if texts and squeezers
    ]
