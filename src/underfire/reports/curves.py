"""The page's charts of curves: joint success by limit and by step, success and map distance by step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from underfire import metrics
from underfire.attacks.limits import Flags, Numbers
from underfire.reports.account import Account
from underfire.reports.chart import Chart, Line
from underfire.reports.courses import Course, course
from underfire.reports.layout import Mark
from underfire.reports.points import legend_groups
from underfire.reports.sentences import names_of
from underfire.reports.words import origin
from underfire.text import counted, plain

RATE = (0.0, 1.03)
"""The ends of the axis of shares."""

MARKS = 3
"""With more limits, a dot on each curve takes the place of vertical lines."""

Ends = tuple[float | None, ...]


def threshold_chart(accounts: Sequence[Account], interpreter: str) -> Chart:
    """Make the chart of joint success by limit: the map distance below which a map counts, from 0 to 0.5.

    Args:
        accounts: attacks on one interpreter, or read by it.
        interpreter: the interpreter.
    """
    lines, marks = [], {}
    legend, groups = legend_groups(accounts)
    few = len({f"{account.part.mean_limit(interpreter):.4f}" for account in accounts}) <= MARKS
    for place, account, role, name, about in _compared(accounts, interpreter):
        part = account.part
        curve = account.group(role, interpreter)["joint_success_curve"]
        success = np.asarray(part.column(role, interpreter, "success"), dtype=bool)
        ends = _ends([success & (part.distances(interpreter, role) < limit) for limit in curve["thresholds"]])
        shown = ends if role == "attack" else ((), ())
        line = Line(name, role, tuple(curve["thresholds"]), tuple(curve["rates"]), *shown, about=about, place=place)
        if role == "attack":
            share = account.group(role, interpreter)["joint_success"]["mean"]
            limit = (part.mean_limit(interpreter), share) if share is not None and not few else None
            line = replace(line, group=groups[id(account)], limit=limit)
        lines.append(line)
        marks[f"{part.mean_limit(interpreter):.4f}"] = account
    first = accounts[0]
    limits = sorted((float(limit), account.wording.mark) for limit, account in marks.items())
    where = (
        f"The dotted line at {limits[0][0]:.3f} is {first.wording.limit.format(why=origin(first, interpreter))}."
        if len(limits) == 1
        else "The dotted lines are the limits of the runs."
        if few
        else "The dot on a curve is the limit of its run."
    )
    return Chart(
        title=f"Joint success by limit, {plain(interpreter)}",
        about="Share of images whose class was reached and whose map is nearer to the wanted one than the limit, with "
        f"its 95 % interval. {where} {_count(accounts)}",
        x_title="limit on map distance",
        y_title="joint success",
        lines=tuple(lines),
        marks=tuple(Mark(float(limit), account.wording.mark) for limit, account in marks.items()) if few else (),
        y_range=RATE,
        percent=True,
        interpreter=plain(interpreter),
        legend=legend,
    )


def step_charts(accounts: Sequence[Account]) -> list[Chart]:
    """Make the charts by step; none without a trace.

    They are, for each interpreter, joint success so far, then the share of images whose class was reached, then for
    each interpreter the mean map distance. The trace of an earlier version has one mean distance over all attacked
    interpreters, which gets a chart of its own.

    Args:
        accounts: the attacks. Those that are read by one interpreter share its charts.
    """
    found = {(id(account), role): course(account.part, role) for account in accounts for role in ("attack", "control")}
    courses = {key: value for key, value in found.items() if value is not None}
    names = dict.fromkeys(name for account in accounts for name in account.part.interpreters)
    means = dict.fromkeys(name for value in courses.values() for name in value.map_l1)
    joint = [_joint_chart(_reading(accounts, name), name, courses) for name in names]
    distances = [_distance_chart(_reading(accounts, name) or accounts, name, courses) for name in {**names, **means}]
    return [chart for chart in (*joint, _success_chart(accounts, courses), *distances) if chart.lines]


Courses = dict[tuple[int, str], Course]

_OWN_READINGS = (
    "An image that left the attack early counts with its last value. These are readings of the attack while it ran; "
    "the numbers of this page are judged on the saved images."
)


def _joint_chart(accounts: Sequence[Account], interpreter: str, courses: Courses) -> Chart:
    lines = []
    legend, groups = legend_groups(accounts)
    for each in _traced(accounts, interpreter, courses):
        joint = each.course.joint.get(interpreter)
        if joint is None:
            continue
        rates = tuple(round(float(rate), 5) for rate in joint.mean(1))
        shown = _ends(list(joint)) if each.role == "attack" else ((), ())
        lines.append(each.line(rates, groups, *shown))
    return Chart(
        f"Joint success so far, by step, {plain(interpreter)}",
        "Share of images that at this step or at an earlier recorded one had the class reached and the map within the "
        f"run's limit, with its 95 % interval. These are readings of the attack while it ran. {_count(accounts)}",
        "step",
        "joint success so far",
        tuple(lines),
        _stages(accounts, courses),
        RATE,
        True,
        plain(interpreter),
        legend,
    )


def _success_chart(accounts: Sequence[Account], courses: Courses) -> Chart:
    values = [(each, each.course.success) for each in _traced(accounts, None, courses)]
    legend, groups = legend_groups(accounts)
    return Chart(
        "Class reached, by step",
        f"Share of images with the class that the attack wants, at each step. {_OWN_READINGS}",
        "step",
        "success",
        _lines(values, groups),
        _stages(accounts, courses),
        RATE,
        True,
        legend=legend,
    )


def _distance_chart(accounts: Sequence[Account], interpreter: str, courses: Courses) -> Chart:
    traced = _traced(accounts, interpreter, courses)
    values = [(each, each.course.map_l1[interpreter]) for each in traced if interpreter in each.course.map_l1]
    legend, groups = legend_groups(accounts)
    return Chart(
        f"Map distance, by step, {plain(interpreter)}",
        f"Mean distance between the attacked map and the wanted one. {_OWN_READINGS}",
        "step",
        "mean map distance",
        _lines(values, groups),
        _stages(accounts, courses),
        interpreter=plain(interpreter),
        legend=legend,
    )


@dataclass(frozen=True)
class _Traced:
    """The course of an attack or control, with its name and place in a chart."""

    account: Account
    role: str
    name: str
    place: int
    about: dict[str, str]
    course: Course

    def line(self, values: Ends, groups: Mapping[int, str], low: Ends = (), high: Ends = ()) -> Line:
        """Make the curve of values by step."""
        group = groups[id(self.account)] if self.role == "attack" else ""
        return Line(self.name, self.role, self.course.steps, values, low, high, self.about, self.place, group)


def _traced(accounts: Sequence[Account], interpreter: str | None, courses: Courses) -> list[_Traced]:
    return [
        _Traced(account, role, name, place, about, courses[id(account), role])
        for place, account, role, name, about in _compared(accounts, interpreter)
        if (id(account), role) in courses
    ]


def _reading(accounts: Sequence[Account], interpreter: str) -> list[Account]:
    return [account for account in accounts if interpreter in account.part.interpreters]


_Compared = tuple[int, Account, str, str, dict[str, str]]


def _compared(accounts: Sequence[Account], interpreter: str | None) -> Iterator[_Compared]:
    """List attacks and controls with a place for each pair, a name and what it is about. A shared control comes once.

    Args:
        accounts: the attacks.
        interpreter: the interpreter that the chart is about; None if it is about several.
    """
    differ = names_of(accounts)
    aims = {tuple(account.part.attacked) for account in accounts}
    known = set()
    for place, account in enumerate(accounts):
        part = account.part
        # In a chart of several interpreters, the attacks on each of them have names of their own.
        on = [" + ".join(map(plain, part.attacked))] if len(aims) > 1 else []
        more = {"classifier": part.classifier, "folder": plain(account.run.name)}
        ends = [more[name] for name in differ if name in more]
        for role in ("attack", "control"):
            if not part.has(role) or (id(account.run), part.labels[role]) in known:
                continue
            known.add((id(account.run), part.labels[role]))
            sharing = [
                other
                for other in accounts
                if other.run is account.run and other.part.labels.get(role) == part.labels[role]
            ]
            name = plain(part.names[role])
            name = f"{name} (prediction only)" if role == "control" else name
            about = account.about()
            if len(sharing) > 1:
                del about["attack"]  # it stands beside several attacks, and is shown with each of them
            name = ", ".join([name, *(on if role == "attack" else []), *ends])
            yield (place if len(sharing) == 1 else -1), account, role, name, about


def _count(accounts: Sequence[Account]) -> str:
    counts = sorted({account.attacked for account in accounts})
    return f"n = {counted(counts[0], 'image')}." if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]} images."


def _stages(accounts: Sequence[Account], courses: Courses) -> tuple[Mark, ...]:
    """Return the beginnings of the stages of the first attack; none if the attacks have different ones."""
    found = {courses[id(account), "attack"].stages for account in accounts if (id(account), "attack") in courses}
    return found.pop() if len(found) == 1 else ()


def _ends(flags: Sequence[Flags]) -> tuple[Ends, Ends]:
    """Return the lower and the upper ends of the 95 % intervals of the shares of True."""
    found = [metrics.interval(values) for values in flags]
    return tuple(_short(each.low) for each in found), tuple(_short(each.high) for each in found)


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def _lines(values: Sequence[tuple[_Traced, Numbers]], groups: Mapping[int, str]) -> tuple[Line, ...]:
    """Make lines of values by step; values that are all NaN get no line."""
    lines = []
    for each, found in values:
        known = tuple(None if math.isnan(value) else round(value, 5) for value in found.tolist())
        if any(value is not None for value in known):
            lines.append(each.line(known, groups))
    return tuple(lines)
