"""The page's charts of runs: joint success by limit and by step, success and map distance by step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from underfire import metrics
from underfire.attacks.limits import Flags, Numbers
from underfire.reports.account import Account, Interval
from underfire.reports.chart import Chart, Dot, Dots, Line, Mark
from underfire.reports.courses import Course, course
from underfire.reports.sentences import names_of
from underfire.reports.words import origin
from underfire.text import plain

RATE = (0.0, 1.03)
"""The ends of the axis of shares."""

Ends = tuple[float | None, ...]


def threshold_chart(accounts: Sequence[Account], interpreter: str) -> Chart:
    """Make the chart of joint success by limit: the map distance below which a map counts, from 0 to 0.5.

    Args:
        accounts: attacks on one interpreter, or read by it.
        interpreter: the interpreter.
    """
    lines, marks = [], {}
    for place, account, role, name in _compared(accounts, interpreter):
        part = account.part
        curve = account.group(role, interpreter)["joint_success_curve"]
        success = np.asarray(part.column(role, interpreter, "success"), dtype=bool)
        ends = _ends([success & (part.distances(interpreter, role) < limit) for limit in curve["thresholds"]])
        shown = ends if role == "attack" else ((), ())
        rates, attack = tuple(curve["rates"]), plain(part.attack)
        lines.append(Line(name, role, tuple(curve["thresholds"]), rates, *shown, attack=attack, place=place))
        marks[f"{part.mean_limit(interpreter):.4f}"] = account
    first = accounts[0]
    limits = sorted((float(limit), account.wording.mark) for limit, account in marks.items())
    where = (
        f"The dotted line at {limits[0][0]:.3f} is {first.wording.limit.format(why=origin(first, interpreter))}."
        if len(limits) == 1
        else "The dotted lines are the limits of the runs."
    )
    return Chart(
        title=_title(accounts, "Joint success by limit", interpreter),
        about="Share of images whose class was reached and whose map is nearer to the wanted one than the limit, with "
        f"its 95 % interval. {where} {_count(accounts)}",
        x_title="limit on map distance",
        y_title="joint success",
        lines=tuple(lines),
        marks=tuple(Mark(float(limit), account.wording.mark) for limit, account in marks.items()),
        y_range=RATE,
        percent=True,
        interpreter=plain(interpreter),
    )


def trade_off_chart(accounts: Sequence[Account]) -> Dots:
    """Make the chart of success by map distance: a point for each attack and control, as each interpreter reads it."""
    dots = []
    differ = names_of(accounts)
    several = len({name for account in accounts for name in account.part.interpreters}) > 1
    for account in accounts:
        for interpreter in account.part.interpreters:
            for role in ("attack", "control"):
                if not account.part.has(role):
                    continue
                found = account.group(role, interpreter)
                x: Interval = found["map_l1" if account.part.keeps else "map_l1_target"]
                y: Interval = found["success"]
                if x["mean"] is None or y["mean"] is None:
                    continue
                more = [account.part.classifier] if "classifier" in differ else []
                name = ", ".join([plain(account.part.names[role]), *([plain(interpreter)] if several else []), *more])
                at, low, high = ((x[key], y[key]) for key in ("mean", "low", "high"))
                dots.append(Dot(name, role, at, low, high, y["n"], plain(account.part.attack), plain(interpreter)))
    return Dots(
        title="Success by map distance",
        about="Each point is one attack, filled, or its control, the attack on the prediction alone, hollow; the bars "
        "are 95 % intervals. The stronger a joint attack, the nearer it is to the upper left corner: the class reached "
        "on every image, and no map moved.",
        x_title="mean map distance",
        y_title="class reached",
        dots=dots,
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
    for each in _traced(accounts, interpreter, courses):
        joint = each.course.joint.get(interpreter)
        if joint is None:
            continue
        rates = tuple(round(float(rate), 5) for rate in joint.mean(1))
        shown = _ends(list(joint)) if each.role == "attack" else ((), ())
        attack = plain(each.account.part.attack)
        lines.append(Line(each.name, each.role, each.course.steps, rates, *shown, attack=attack, place=each.place))
    return Chart(
        _title(accounts, "Joint success so far, by step", interpreter),
        "Share of images that at this step or at an earlier recorded one had the class reached and the map within the "
        f"run's limit, with its 95 % interval. These are readings of the attack while it ran. {_count(accounts)}",
        "step",
        "joint success so far",
        tuple(lines),
        _stages(accounts, courses),
        RATE,
        True,
        plain(interpreter),
    )


def _success_chart(accounts: Sequence[Account], courses: Courses) -> Chart:
    values = [(each, each.course.success) for each in _traced(accounts, None, courses)]
    return Chart(
        "Class reached, by step",
        f"Share of images with the class that the attack wants, at each step. {_OWN_READINGS}",
        "step",
        "success",
        _lines(values),
        _stages(accounts, courses),
        RATE,
        True,
    )


def _distance_chart(accounts: Sequence[Account], interpreter: str, courses: Courses) -> Chart:
    traced = _traced(accounts, interpreter, courses)
    values = [(each, each.course.map_l1[interpreter]) for each in traced if interpreter in each.course.map_l1]
    return Chart(
        _title(accounts, "Map distance, by step", interpreter),
        f"Mean distance between the attacked map and the wanted one. {_OWN_READINGS}",
        "step",
        "mean map distance",
        _lines(values),
        _stages(accounts, courses),
        interpreter=plain(interpreter),
    )


@dataclass(frozen=True)
class _Traced:
    """The course of an attack or control, with its name and place in a chart."""

    account: Account
    role: str
    name: str
    place: int
    course: Course


def _traced(accounts: Sequence[Account], interpreter: str | None, courses: Courses) -> list[_Traced]:
    return [
        _Traced(account, role, name, place, courses[id(account), role])
        for place, account, role, name in _compared(accounts, interpreter)
        if (id(account), role) in courses
    ]


def _reading(accounts: Sequence[Account], interpreter: str) -> list[Account]:
    return [account for account in accounts if interpreter in account.part.interpreters]


def _compared(accounts: Sequence[Account], interpreter: str | None) -> Iterator[tuple[int, Account, str, str]]:
    """List attacks and controls with a place for each pair and a name for each. A shared control comes once.

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
        more = {"classifier": part.classifier, "folder": plain(account.run.path.name)}
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
            yield (
                (place if len(sharing) == 1 else -1),
                account,
                role,
                ", ".join([name, *(on if role == "attack" else []), *ends]),
            )


def _title(accounts: Sequence[Account], text: str, interpreter: str) -> str:
    several = any(len(account.run.interpreters) > 1 for account in accounts)
    return f"{text}, {plain(interpreter)}" if several else text


def _count(accounts: Sequence[Account]) -> str:
    counts = sorted({account.attacked for account in accounts})
    return f"n = {counts[0]} images." if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]} images."


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


def _lines(values: Sequence[tuple[_Traced, Numbers]]) -> tuple[Line, ...]:
    """Make lines of values by step; values that are all NaN get no line."""
    lines = []
    for each, found in values:
        known = tuple(None if math.isnan(value) else round(value, 5) for value in found.tolist())
        if any(value is not None for value in known):
            attack = plain(each.account.part.attack)
            lines.append(Line(each.name, each.role, each.course.steps, known, attack=attack, place=each.place))
    return tuple(lines)
