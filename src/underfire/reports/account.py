"""Accounts: the intervals of one attack and its controls, computed once for tables, figures and pages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from underfire import metrics
from underfire.errors import InputError
from underfire.reports.wording import Wording, wording
from underfire.runs.comparison import Comparison
from underfire.runs.folder import read_summary, results_in
from underfire.runs.outdated import is_outdated
from underfire.runs.run import Run
from underfire.runs.significance import TESTED
from underfire.runs.summary import against_control, averaged, chance, gap, group, joint
from underfire.text import plain

Source = Path | Run
"""A finished run, or its folder. A ``Run`` that is given to several reports makes its limits once."""

Interval = Mapping[str, Any]
"""A mean over images with its 95 % interval, as in ``summary.json``.

The keys are ``mean``, ``low``, ``high`` (all None if there is no image) and ``n``, the number of images.
"""

FORMER_NAMES = {"target_class": "target", "variant": "preset"}
"""Names of settings in runs of earlier versions, by today's name."""


class Account:
    """One comparison of a run: an attack and its controls, with the interval of every measure.

    Args:
        run: the run.
        part: the comparison: the attack and its controls.
        stored: the intervals by interpreter, as in ``summary.json``. Intervals that are missing there are computed.
        chances: the chance control by interpreter, likewise.
    """

    def __init__(
        self, run: Run, part: Comparison, stored: Mapping[str, Any], chances: Mapping[str, Any] | None = None
    ) -> None:
        self.run, self.part = run, part
        self._stored, self._chances = stored, chances or {}
        self._chance: dict[str, dict[str, Any]] = {}
        self._groups: dict[tuple[str, str], dict[str, Any]] = {}
        self._differences: dict[str, dict[str, Any] | None] = {}
        self._corrected: dict[str, float] | None = None

    @property
    def wording(self) -> Wording:
        """The words for this attack: it keeps the benign map, or reaches another one."""
        return wording(self.part.keeps)

    def about(self, interpreter: str = "") -> dict[str, str]:
        """Return names for the page's filters: ``attack``, ``classifier`` and ``run``, and ``interpreter`` if given."""
        names = {
            "attack": plain(self.part.attack),
            "classifier": self.part.classifier,
            "run": plain(self.run.name),
        }
        return names | ({"interpreter": plain(interpreter)} if interpreter else {})

    @property
    def attacked(self) -> int:
        """The number of attacked images."""
        return int(self.run.images["attacked"])

    def group(self, role: str, interpreter: str) -> dict[str, Any]:
        """Return the intervals of all measures, by name, for one attack or control and one interpreter.

        Args:
            role: ``attack``, ``control``, ``noise``, ``clean`` or ``reseeded``.
            interpreter: an interpreter that read the images.
        """
        key = (role, interpreter)
        if key not in self._groups:
            held = self._stored.get(interpreter, {}).get("attacks", {}).get(self.part.names[role])
            considered = self.run.images["considered"]
            names = {measure.name for measure in averaged(self.run.measures)} | {"joint_success", "joint_success_curve"}
            whole = held is not None and names <= held.keys()
            self._groups[key] = held if whole else group(self.part, role, interpreter, self.run.measures, considered)
        return self._groups[key]

    def difference(self, interpreter: str) -> dict[str, Any] | None:
        """Return the intervals of all measures for attack minus control, paired by image; None without a control."""
        if interpreter not in self._differences:
            held = self._stored.get(interpreter, {}).get("against_prediction_only")
            whole = held is not None and {*TESTED} <= held["paired_difference"].keys()
            found = held if whole else against_control(self.part, interpreter)
            self._differences[interpreter] = None if found is None else found["paired_difference"]
        return self._differences[interpreter]

    def joint(self, role: str, interpreter: str | None) -> Interval:
        """Return the interval of joint success.

        Args:
            role: ``attack`` or a control's role.
            interpreter: an interpreter. If None, joint success of all attacked interpreters at once.
        """
        if interpreter is None and len(self.part.attacked) > 1:
            return self.all_at_once[role]
        found: Interval = self.group(role, interpreter or self.part.attacked[0])["joint_success"]
        return found

    def lead(self, interpreter: str | None) -> Interval | None:
        """Return the interval of joint success minus the control's, image by image; None if there is no control."""
        if interpreter is None and len(self.part.attacked) > 1:
            return self.all_at_once.get("lead")
        found = self.difference(interpreter or self.part.attacked[0])
        return None if found is None else found["joint_success"]

    def p_value(self, interpreter: str) -> float | None:
        """Return the p-value of the lead in joint success, corrected by Holm's method; None without a control.

        It is corrected for all comparisons of the run, or of all accounts that ``correct_together`` was given.
        """
        if self._corrected is not None:
            return self._corrected.get(interpreter)
        found = self.run.p_values.get((self.part.cell.label, interpreter), {})
        return found.get("joint_success", {}).get("p_holm")

    @cached_property
    def all_at_once(self) -> dict[str, Interval]:
        """Joint success of all attacked interpreters at once, by role. ``lead`` is the attack's minus the control's."""
        roles = [role for role in ("attack", "control") if self.part.has(role)]
        found: dict[str, Interval] = {role: joint(self.part, role, self.part.attacked) for role in roles}
        if "control" in roles:
            found["lead"] = gap(self.part, self.part.attacked)
        return found

    def chance(self, interpreter: str) -> dict[str, Interval]:
        """Return how often maps pass that have nothing to do with the image: ``other_map`` and ``average_map``."""
        if interpreter not in self._chance:
            held = self._chances.get(interpreter, {})
            whole = {"other_map", "average_map"} <= held.keys()
            self._chance[interpreter] = held if whole else chance(self.part, interpreter)
        return self._chance[interpreter]

    @property
    def headlines(self) -> list[tuple[str, str | None]]:
        """The headline numbers, as pairs: the text, and the interpreter to give to ``joint`` (None for all at once).

        All attacked interpreters at once come first, interpreters that were not attacked come last.
        """
        names = self.part.attacked
        several = [(f"{' and '.join(map(plain, names))} at once", None)] if len(names) > 1 else []
        readers = [(f"{plain(name)}, not attacked", name) for name in self.part.readers]
        return [*several, *((plain(name), name) for name in names), *readers]

    @cached_property
    def largest_change(self) -> int:
        """The largest change of a pixel value under the attack, in levels of 255."""
        changes = np.asarray(self.part.column("attack", self.part.interpreters[0], "linf"), dtype=np.float64)
        return round(float(np.nanmax(changes, initial=0.0)) * 255)

    @property
    def noise_size(self) -> float | None:
        """The size of the noise control, for pixels in [0, 1]: the attack's eps, or ``noise_eps`` if it has no ball.

        None for runs of an earlier version without a ball, whose noise was as large as each attack's change.
        """
        return self.part.files.cells[self.part.labels["noise"]].noise_size

    def setting(self, name: str, default: Any = None) -> Any:
        """Return a setting of the run; ``default`` if the run does not have it. Former names are found, too."""
        held = self.run.configuration
        return held.get(name, held.get(FORMER_NAMES.get(name, name), default))

    def chosen(self, count: int) -> list[int]:
        """Choose at most ``count`` images, evenly over the map distances of the first interpreter, ends included.

        Returns:
            Their indices among the attacked images, the smallest distance first.
        """
        return spread(self.part.distances(self.part.interpreters[0]).tolist(), count)


def accounts_of(run: Run) -> list[Account]:
    """Make the accounts of all comparisons of a run.

    Intervals are taken from ``summary.json`` if a run with cells wrote it, and if it cannot mix up two comparisons:
    the interpreter belongs to one comparison only, and the attack and its controls have different names.
    """
    held = read_summary(run.path) if run.format > 1 and (run.path / "summary.json").exists() else {}
    # Without a chance control, an earlier version wrote the summary, by another limit.
    current = held.get("format", 1) > 1 and not is_outdated(held)
    results = results_in(held) if current else []
    return [_account(run, part, [each for each in results if _is_about(each, part)]) for part in run.comparisons]


def _is_about(results: Mapping[str, Any], part: Comparison) -> bool:
    """Return True if results of ``summary.json`` are about this comparison: of its cell, of its eps, or of all."""
    if "cell" in results:
        return bool(results["cell"] == part.cell.label)
    return "eps" not in results or results["eps"] == part.cell.eps


def _account(run: Run, part: Comparison, results: Sequence[Mapping[str, Any]]) -> Account:
    if len(results) != 1 or len(set(part.names.values())) < len(part.names):
        return Account(run, part, {})
    beside = [other for other in run.comparisons if _is_about(results[0], other)]
    names = [name for other in beside for name in other.interpreters]
    stored = {name: groups for name, groups in results[0]["interpreters"].items() if names.count(name) == 1}
    return Account(run, part, stored, results[0]["chance"])


def open_accounts(runs: Sequence[Source]) -> list[Account]:
    """Make the accounts of all comparisons of runs.

    Raises:
        InputError: ``runs`` is empty.
        StoreError: a folder holds no finished run.
    """
    if not runs:
        raise InputError("runs is empty; expected at least one folder that 'underfire attack' wrote.")
    return [account for run in runs for account in accounts_of(run if isinstance(run, Run) else Run(run))]


def labels_of(accounts: Sequence[Account]) -> list[str]:
    """Name each account by its title. If several have the same title, the name of the run's folder follows it."""
    titles = [account.part.title for account in accounts]
    return [
        title if titles.count(title) == 1 else f"{title} ({plain(account.run.name)})"
        for title, account in zip(titles, accounts, strict=True)
    ]


def spread(values: Sequence[float], count: int) -> list[int]:
    """Choose at most ``count`` values, evenly spaced in their sorted order, the smallest and the largest included.

    Returns:
        Their indices, the smallest value first. Equal values keep their order, and NaN counts as the largest value. If
        ``count`` is 1, the middle one.
    """
    order = sorted(range(len(values)), key=lambda i: (math.isnan(values[i]), values[i], i))
    if count < 1 or len(order) <= count:
        return order if count >= 1 else []
    if count == 1:
        return [order[len(order) // 2]]
    return [order[round(step * (len(order) - 1) / (count - 1))] for step in range(count)]


def correct_together(accounts: Sequence[Account]) -> dict[tuple[int, str], tuple[float, float]]:
    """Correct the p-values of all differences in joint success together, by Holm's method, and let accounts show these.

    Returns:
        The p-value and the corrected one, by the number of the account and the interpreter that reads. Attacks without
        a prediction-only control are left out.
    """
    found = {
        (number, name): account.run.p_values[account.part.cell.label, name]["joint_success"]["p"]
        for number, account in enumerate(accounts)
        if account.part.has("control")
        for name in account.part.interpreters
    }
    known = {key: p for key, p in found.items() if p is not None}
    corrected = dict(zip(known, metrics.holm(list(known.values())), strict=True))
    for number, account in enumerate(accounts):
        account._corrected = {name: held for (place, name), held in corrected.items() if place == number}
    return {key: (p, corrected[key]) for key, p in known.items()}
