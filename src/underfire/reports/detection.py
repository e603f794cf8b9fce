"""The evaluation of detectors as tables for an 80-column terminal, and as files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from underfire.attacks.perturbations import eps_text
from underfire.detectors.evaluation import NOT_ADAPTIVE, SCORE_COLUMNS, Evaluation, flat
from underfire.detectors.over_budget import Course, courses
from underfire.errors import StoreError
from underfire.reports.columns import as_text
from underfire.reports.words import FEW_IMAGES
from underfire.runs import disk
from underfire.text import counted, plain

CAUTION = "?"
"""The mark beside every number of an attack that does not know the detector."""

FILES = ("detection.csv", "scores.csv", "detection.json")
"""The files of an evaluation."""

_NAMES = 22
_LEGEND = (
    "AUC: the chance that a successful attacked image scores higher than a clean one; 0.5 is chance. detected: share "
    "of successful attacked images above the threshold, which was chosen on other images. joint: class reached and all "
    "attacked maps kept, of all images. triple: the same, and not detected. For clean and noise, detected is the "
    "share of false alarms. 95 % intervals."
)


def detection_tables(rows: Sequence[Mapping[str, Any]]) -> Group:
    """Show an evaluation: one table for each run and detector.

    Args:
        rows: ``Evaluation.rows()``.
    """
    parts: list[Text | Table] = []
    for run, detector in dict.fromkeys((row["run"], row["detector"]) for row in rows):
        own = [row for row in rows if (row["run"], row["detector"]) == (run, detector)]
        first = own[0]
        parts.append(Text(f"\n{plain(detector)}", style="bold"))
        share = f"{100 * first['false_positives']:g} % false alarms"
        parts.append(
            Text(f"{plain(run)}: {counted(first['n'], 'image')}; threshold {first['threshold']:.4g} for {share}")
        )
        parts.append(_table(own))
        parts += [
            Text(f"! {row['caution']}", style="yellow") for row in own if row["kind"] == "clean" and row["caution"]
        ]
        parts += [Text(f"! {said}", style="yellow") for said in _too_few(own)]
    over_budget = courses(rows)
    for course in over_budget:
        parts += _over_budget(course, over_budget)
    parts.append(Text(f"\n{_LEGEND}", style="dim"))
    if any(row["caution"] for row in rows if row["kind"] != "clean"):
        parts.append(Text.assemble((CAUTION, "bold yellow"), f" {NOT_ADAPTIVE}.", style="yellow"))
    return Group(*parts)


def _too_few(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say that there are too few images, or too few successful attacks, to know what a detector finds."""
    images, said = rows[0]["n"], []
    if images < FEW_IMAGES:
        said.append(f"Only {counted(images, 'image')}: intervals are very wide.")
    attacks = [row["successes"] for row in rows if row["kind"] == "attack"]
    reached = max(attacks, default=images)
    if not reached:
        said.append("No attack reached its class, so that nothing is known of what the detector finds.")
    elif reached < FEW_IMAGES <= images:
        said.append(
            f"At most {counted(reached, 'image')} reached the class of an attack: intervals of AUC and detected are "
            "very wide."
        )
    return said


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="bold")
    table.add_column("attack", overflow="fold", max_width=_NAMES)
    for heading in ("successes", "AUC", "detected", "joint", "triple"):
        table.add_column(heading, justify="right", no_wrap=True)
    several = len({row["eps"] for row in rows if row["eps"] is not None}) > 1
    for row in rows:
        name = plain(row["cell"])
        if several and row["eps"] is not None and eps_text(row["eps"]) not in name:
            name += f" {eps_text(row['eps'])}"
        attacked = row["kind"] in ("attack", "control")
        doubted = attacked and bool(row["caution"])
        area, share, triple = (_cell(row[each], doubted) for each in ("auc", "detection", "triple_success"))
        joint = _cell(row["joint_success"], False)  # no number about the detector
        style = "" if row["kind"] == "attack" else "dim"
        table.add_row(Text(name), str(row["successes"]) if attacked else "-", area, share, joint, triple, style=style)
    return table


def _over_budget(course: Course, courses: Sequence[Course]) -> list[Text | Table]:
    """Show what is left of a detector when one attack has more steps, the smallest number first.

    Args:
        course: the attack.
        courses: all that are shown, from which it must be told.
    """
    table = Table(box=None, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="bold")
    for heading in ("steps", "n", "detected", "joint", "triple"):
        table.add_column(heading, justify="right", no_wrap=True)
    for point in course.points:
        shares = (_cell(point[name], False) for name in ("detection", "joint_success", "triple_success"))
        table.add_row(f"{point['steps']:g}", str(point["n"]), *shares)
    about = f"{plain(course.attack)} on {plain(course.attacked_interpreters)}" if course.attacked_interpreters else ""
    knows = "knows the detector" if course.adaptive else "does not know the detector"
    heading = f"\n{plain(course.detector)} against {about or plain(course.attack)} with more steps"
    told = "".join(f" {name}: {plain(value)}." for name, value in course.told_by(courses).items())
    return [Text(heading, style="bold"), Text(f"The attack {knows}.{told}"), table]


def _cell(interval: Mapping[str, Any], doubted: bool) -> Text:
    found = as_text(interval, 3) if interval["low"] is not None else None
    if found is None:
        return Text("-")
    mark = CAUTION if doubted else ""
    return Text.assemble(f"{found[0]}", (mark, "yellow"), f"\n{found[1]}-{found[2]}")


def write_detection(found: Evaluation, folder: Path) -> list[Path]:
    """Write ``detection.csv`` (one row per attack), ``scores.csv`` (one per image) and ``detection.json``.

    Raises:
        StoreError: a file cannot be written.
    """
    rows = [flat(row) for row in found.rows()]
    paths = [folder / name for name in FILES]
    texts = (
        _csv(rows, list(rows[0])),
        _csv(found.scores(), SCORE_COLUMNS),
        json.dumps(found.to_dict(), indent=1, allow_nan=False) + "\n",
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip(paths, texts, strict=True):
            disk.replace(path, partial(_write, text))
    except OSError as error:
        raise StoreError(f"{error.filename or folder} cannot be written: {error.strerror or error}.") from error
    return paths


def _csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Write rows as CSV."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, columns)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _write(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8", newline="")
