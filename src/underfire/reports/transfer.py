"""The results of a transfer as tables for an 80-column terminal, as [ADV2] table 9 and [EDGE] table IV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from underfire.attacks.perturbations import eps_text
from underfire.reports.columns import as_text
from underfire.runs.transferred import Transfer
from underfire.text import plain

_NUMBERS = len("0.000-0.000")
_NAMES = 20
"""The width of the first column; longer names are folded."""
_COLUMNS = (80 - _NAMES) // (_NUMBERS + 1)
"""The number of columns of numbers beside it; more interpreters get another table."""

Cells = Sequence[Mapping[str, Any] | None]


def transfer_tables(found: Transfer) -> Group:
    """Show a transfer: for each classifier that reads, the matrices of map distance and of joint success."""
    parts: list[Text | Table] = []
    for name in found.classifiers:
        parts += _of_classifier(found, name)
    parts.append(Text(_LEGEND, style="dim"))
    return Group(*parts)


_LEGEND = (
    "\nRows: the attack, and the interpreters that it attacked. Columns: the interpreter that reads. Bold: it reads "
    "the maps that were attacked. Means with 95 % intervals. noise: the clean images with random noise of the same "
    "size. reseeded: the clean images, read with other random numbers. other map: the share of other images' maps that "
    "would pass as kept. success: target class reached; any wrong: the image's own class left."
)


def _of_classifier(found: Transfer, name: str) -> list[Text | Table]:
    run = found.run(name)
    rows = [row for row in found.rows() if row["classifier"] == name]
    first = rows[0]
    title = Text(f"\n{plain(name)}", style="bold")
    if name != first["source_classifier"]:
        title.append(f" reads images that were made against {plain(first['source_classifier'])}", style="not bold")
    said = f"{first['n']} of {first['considered']} attacked images count: it gets these right when clean."
    parts: list[Text | Table] = [title, Text(_sizes(found, name) + said)]
    several = len({row["eps"] for row in rows if row["eps"] is not None}) > 1
    keeps = all(part.keeps for part in run.comparisons)
    measure = "map_l1" if keeps else "map_l1_target"
    names = run.interpreters
    for begin in range(0, len(names), _COLUMNS):
        parts += [Text(f"\nmap L1: mean absolute difference from the {'benign' if keeps else 'wanted'} map")]
        parts.append(_matrix(rows, names[begin : begin + _COLUMNS], measure, several))
    for begin in range(0, len(names), _COLUMNS - 2):
        parts.append(Text(f"\njoint success: class reached and map {'kept' if keeps else 'as wanted'}"))
        parts.append(_matrix(rows, names[begin : begin + _COLUMNS - 2], "joint_success", several))
    return parts


def _sizes(found: Transfer, name: str) -> str:
    """Say that images were resized, if they were."""
    wanted = found.run(name).record["preparation"]["image_size"]
    height, width = found.source_size
    if wanted is None or tuple(wanted) == (height, width):
        return ""
    return f"The saved images of {height} x {width} are resized to {wanted[0]} x {wanted[1]}. "


def _matrix(rows: Sequence[Mapping[str, Any]], names: Sequence[str], measure: str, several: bool) -> Table:
    table = Table(box=None, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="bold")
    table.add_column("attack / attacked", overflow="fold", max_width=_NAMES)
    on_class = ("success", "untargeted_success") if measure == "joint_success" else ()
    for heading in (*("success", "any wrong")[: len(on_class)], *map(plain, names)):
        table.add_column(Text(heading), justify="right", overflow="fold", min_width=_NUMBERS)
    for label in dict.fromkeys(row["cell"] for row in rows):
        own = {row["interpreter"]: row for row in rows if row["cell"] == label}
        any_row = next(iter(own.values()))
        if measure == "joint_success" and any_row["kind"] == "reseeded":
            continue
        attacked = any_row["attacked_interpreters"].split("+")
        cells = [_cell(any_row[each]) for each in on_class]
        for name in names:
            text = _cell(own[name][measure] if name in own else None)
            cells.append(Text(text.plain, style="bold") if name in attacked else text)
        control = any_row["kind"] in ("noise", "reseeded")
        table.add_row(Text(called(any_row, several)), *cells, style="dim" if control else "")
    if measure == "joint_success":
        chances = {row["interpreter"]: row["chance_other_map"] for row in rows if row["kind"] == "attack"}
        blank = [Text("-") for _ in on_class]
        table.add_row("other map", *blank, *(_cell(chances.get(name)) for name in names), style="dim")
    return table


def called(row: Mapping[str, Any], several: bool) -> str:
    """Name a row: the attack, its eps if there are several, and the interpreters that it attacked."""
    name = plain(row["attack"])
    if several and row["eps"] is not None:
        name += f" {eps_text(row['eps'])}"
    return f"{name} / {plain(row['attacked_interpreters'])}" if row["attacked_interpreters"] else name


def _cell(interval: Mapping[str, Any] | None) -> Text:
    found = as_text(interval, 3)
    return Text("-" if found is None else f"{found[0]}\n{found[1]}-{found[2]}")
