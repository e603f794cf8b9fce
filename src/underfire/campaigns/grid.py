"""The grid of a campaign: which runs it consists of."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from underfire.errors import InputError, SeveralInputsError
from underfire.runs.settings import RunConfig
from underfire.settings import Problems

Values = dict[str, Any]
"""Settings by name, as they stand in a campaign file."""


class GridError(InputError):
    """A part of a grid cannot be used.

    Args:
        message: see ``InputError``.
        section: the table of the campaign file that it is about, such as ``exclude``.
        number: the place among the tables of that name, from 0.
        setting: the name of the setting in it, if it is about one.
    """

    def __init__(self, message: str, section: str = "grid", number: int = 0, setting: str | None = None) -> None:
        super().__init__(message)
        self.section, self.number, self.setting = section, number, setting


class Change(BaseModel):
    """Settings for those runs of a grid whose values are as ``where`` says.

    Args:
        where: values that a run must have.
        set: the settings that such a run gets. An empty text takes a setting away.
    """

    model_config = ConfigDict(extra="forbid")
    where: Values = Field(min_length=1)
    set: Values = Field(min_length=1)


class Grid(BaseModel):
    """The content of a campaign file.

    Args:
        name: a title for pages and tables.
        settings: settings of every run, named as in ``underfire attack --dump-config``.
        grid: lists of values by the name of a setting; every combination is a run. A list in a list is one value of a
            setting that may have several, such as two interpreters that are attacked at once.
        include: further runs, each on top of ``settings``.
        exclude: values; the runs of the grid that have all of them are left out.
        change: other settings for a part of the runs.
        agreed: attack only images that all classifiers of the campaign get right.
        full_names: name each run by all values that set it apart from ``settings``, and not only by those in which runs
            differ, so that names stay as they are when the campaign gets more runs.
        detectors: folders of fitted detectors, which score the images of the finished runs on their classifier.
    """

    model_config = ConfigDict(extra="forbid")
    name: str = "campaign"
    settings: Values = {}
    grid: dict[str, list[Any]] = {}
    include: list[Values] = []
    exclude: list[Values] = []
    change: list[Change] = []
    agreed: bool = False
    full_names: bool = False
    detectors: list[str] = []

    def points(self) -> list[Point]:
        """List the runs of the campaign.

        Raises:
            InputError: the grid is empty, one of its values is impossible, or two runs are the same.
        """
        problems, found = Problems(), list[Point]()
        for name, listed in self.grid.items():
            if not listed:
                problems.append(GridError(f"grid.{name} is an empty list; expected values.", "grid", 0, name))
        problems.report()
        chosen = list(self._chosen())
        if not chosen:
            why = "[[exclude]] leaves all of its [grid] out" if self.grid else "its [grid] is empty"
            raise GridError(
                f"the campaign has no runs: {why}. Expected lists of values in [grid], such as interpreters = "
                '["cam", "grad"].',
                "exclude" if self.grid else "grid",
            )
        self._check_used([values for values, _ in chosen], problems)
        classifiers = list(dict.fromkeys(str(values["classifier"]) for values, _ in chosen if "classifier" in values))
        wrong: dict[str, list[Values]] = {}
        about: dict[str, tuple[str | None, object]] = {}
        for values, own in chosen:
            varying = {name: values[name] for name in own if name in values}
            if self.agreed:
                values = {**values, "also_right": [name for name in classifiers if name != values.get("classifier")]}
            try:
                found.append(Point("", varying, RunConfig.from_values(values)))
            except InputError as error:
                for each in error.each if isinstance(error, SeveralInputsError) else [error]:
                    wrong.setdefault(str(each), []).append(varying)
                    about[str(each)] = each.setting, values.get(each.setting or "")
        for said, runs in wrong.items():
            made = InputError(_of_runs(said, runs, len(chosen)))
            made.setting, made.value = about[said]
            problems.append(made)
        problems.report()
        return _named(found, self.full_names, len(found) - len(self.include))

    def _chosen(self) -> Iterator[tuple[Values, list[str]]]:
        """Yield the settings of each run, and the names of those that set it apart."""
        axes = [[(name, value) for value in values] for name, values in self.grid.items()]
        for combination in itertools.product(*axes) if axes else ():
            values = self.settings | dict(combination)
            if not any(self._fits(values, each) for each in self.exclude):
                yield self._changed(values), list(self.grid)
        for each in self.include:
            yield self._changed(self.settings | each), list(each)

    def _changed(self, values: Values) -> Values:
        for change in self.change:
            if self._fits(values, change.where):
                values = values | change.set
        return {name: value for name, value in values.items() if value != ""}

    def _fits(self, values: Values, wanted: Values) -> bool:
        """Return True if all wanted values are there.

        A list of wanted values fits any of them, unless it is itself a value of the grid or the settings, such as two
        interpreters at once: then it fits that value alone.
        """
        return all(
            name in values and (values[name] == value or values[name] in self._any_of(name, value))
            for name, value in wanted.items()
        )

    def _any_of(self, name: str, value: Any) -> list[Any]:
        """Return the values of a list that stands for any of them; none if it is one value."""
        held = [*self.grid.get(name, ()), *(each.get(name) for each in (self.settings, *self.include))]
        return value if isinstance(value, list) and value not in held else []

    def _check_used(self, chosen: list[Values], problems: Problems) -> None:
        """Note every [[exclude]] and [[change]] that fits no run: it is most likely misspelt."""
        axes = [[(name, value) for value in values] for name, values in self.grid.items()]
        everything = [self.settings | dict(each) for each in itertools.product(*axes)] if axes else []
        for kind, many, wanted in (
            ("exclude", everything, self.exclude),
            ("change", everything + [self.settings | each for each in self.include], [c.where for c in self.change]),
        ):
            for number, each in enumerate(wanted):
                if not any(self._fits(values, each) for values in many):
                    said = f"[[{kind}]] with {_spoken(each)} fits no run of the grid."
                    problems.append(GridError(said, kind, number))


@dataclass(frozen=True)
class Point:
    """One run of a campaign.

    Args:
        name: the name of its folder.
        values: the settings that set it apart from the other runs.
        config: all of its settings.
    """

    name: str
    values: Values
    config: RunConfig


def _of_runs(said: str, runs: list[Values], total: int) -> str:
    """Say once what is wrong with several runs, and which they are, unless it is all of them."""
    if len(runs) == total:
        return said
    more = "" if len(runs) == 1 else f"; and {len(runs) - 1} more"
    return f"{said.removesuffix('.')} (run {_spoken(runs[0])}{more})."


def _spoken(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items()) or "without values of its own"


def _named(points: list[Point], full: bool, of_grid: int) -> list[Point]:
    """Give each run a name made of the values in which runs differ, or of all values.

    Args:
        points: the runs.
        full: use all values.
        of_grid: so many runs are the grid's; those that are included follow.

    Raises:
        InputError: two runs have the same settings.
    """
    known: dict[str, int] = {}
    for number, point in enumerate(points):
        text = repr(point.config)
        if text in known:
            raise GridError(
                f"two runs of the campaign are the same: {_spoken(points[known[text]].values)}; and "
                f"{_spoken(point.values)}.",
                "grid" if number < of_grid else "include",
                max(0, number - of_grid),
            )
        known[text] = number
    differ = [
        name
        for name in dict.fromkeys(name for point in points for name in point.values)
        if full or len({repr(point.values.get(name)) for point in points}) > 1
    ]
    made, taken = [], set[str]()
    for point in points:
        parts = [_slug(point.values[name]) for name in differ if name in point.values]
        name = "-".join(part for part in parts if part)[:80] or "run"
        while name.lower() in taken:
            name = _next(name)
        taken.add(name.lower())
        made.append(Point(name, point.values, point.config))
    return made


def _slug(value: Any) -> str:
    """Turn a value into a part of a folder's name: the last part of a path, and a radius without its denominator."""
    text = "+".join(map(str, value)) if isinstance(value, list) else str(value)
    radius = re.fullmatch(r"(\d+(?:\.\d+)?)/255", text)
    if radius:
        return f"eps{radius[1]}"
    text = text.rstrip("/").rsplit("/", 1)[-1]
    text = re.sub(r"\.(parquet|npz|csv|py)\b", "", text)
    return re.sub(r"[^A-Za-z0-9.+]+", "_", text).strip("._")[:40]


def _next(name: str) -> str:
    """Count a name up: ``a``, ``a_2``, ``a_3``."""
    found = re.fullmatch(r"(.*)_(\d+)", name)
    return f"{found[1]}_{int(found[2]) + 1}" if found else f"{name}_2"
