"""The output of ``underfire list presets``: attacks, perturbations, schedules, and differences of the variants."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from underfire.attacks import Perturbation, Row
    from underfire.attacks.schedule import Weight

LEGEND = {
    "steps": "number of steps in the warm-up (on the class alone) and in the joint stage (on class and map)",
    "map weight": "weight of the map loss in the joint stage: 5 -> 10 grows evenly; a list has one weight per phase",
    "map loss": "sum or mean of the squared differences over the map's cells",
    "class loss": "CE: cross entropy (grad under pgd, bim: label smoothing 0.05); margin: the largest other logit less "
    "the target's (under cw, stadv: at least -5); a number before it is its weight; rts adds its presence term",
    "cost": "weight of the squared L2 length of the change (cw), or of the roughness of the flow (stadv)",
    "step": "size of a signed step, or Adam's learning rate; two: each step moves by 0.05 on the class, and then by at "
    "most 0.08, or 0.04 at the end, on the map alone (L2 lengths at 224 x 224 pixels)",
}
"""The columns of a schedule after the family, with their meanings."""
AUTO = (
    "auto has one stage of --budget steps, and a weight on the class that follows how well each image meets the goal. "
    "Of these schedules it takes the cost alone, and under cw and stadv the first step. square has no schedule either: "
    "it tries --budget images, and takes no gradient."
)
CLASS_ALONE = (
    "Attacks on the class alone run as many steps as both stages together. All else is as in the row of cam, without "
    "the map loss; only cw takes the margin, at least 0, instead of CE."
)
ALONE = (
    "paper: our settings, which follow the text of the papers. published: the settings of the authors' code. only "
    "this: the way to change one of them and keep the rest; a field of Variant is set in Python:\n"
    '  preset("adv2", variant=replace(VARIANTS["paper"], keep_last=True))'
)


def known() -> dict[str, Any]:
    """Return the presets as JSON values."""
    from underfire.attacks import KINDS, PERTURBATIONS
    from underfire.attacks.variants import DEPARTURES, DIFFERENCES
    from underfire.interpreters import REGISTRY, Captum, create
    from underfire.registry import left_out

    families: dict[str, list[str]] = {}
    for name, _ in REGISTRY.items():
        with left_out(f"interpreter {name!r}"):
            families.setdefault(create(name).family, []).append(name)
    families.setdefault(Captum.family, []).append("captum:METHOD")
    return {
        "attacks": {name: {"about": kind.about, "joint": kind.joint} for name, kind in KINDS.items()},
        "perturbations": {name: part.about for name, part in PERTURBATIONS.items()},
        "families": families,
        "schedules": {
            name: {family: _schedule(row, part) for family, row in part.rows.items()}
            for name, part in PERTURBATIONS.items()
        },
        "variants": [asdict(difference) for difference in DIFFERENCES],
        "departures": [asdict(departure) for departure in DEPARTURES],
    }


def _schedule(row: Row, part: type[Perturbation] | Perturbation) -> dict[str, Any]:
    return {
        "warmup": row.warmup,
        "joint": row.joint,
        "map_weight": _words(row.weight),
        "map_loss": f"{row.reduction} of squares",
        "prediction_loss": row.loss.replace("_", " "),
        "prediction_weight": row.prediction,
        "label_smoothing": row.smoothing,
        "margin_at_least": None if math.isinf(row.kappa) else -row.kappa,
        "preferred_confidence": row.confidence,
        "penalty_weight": row.penalty,
        "presence_weight": row.presence,
        "step_unit": part.step_unit,
        **_moves(row),
    }


def _moves(row: Row) -> dict[str, Any]:
    if row.moves is None:
        return {"rule": type(row.rule).__name__.lower(), "step_size": row.size}
    whole = math.sqrt(3 * 224 * 224)  # from a root mean square to the L2 length of the published experiments
    sizes = (row.moves.prediction, *row.moves.interpretation.values)
    first, *others = (round(size * whole, 6) for size in sizes)
    return {"rule": "two moves", "step_size": {"prediction": first, "map_at_most": others, "in": "L2 at 224 x 224"}}


def schedules_by_content(schedules: dict[str, Any]) -> dict[str, Any]:
    """Group perturbations with the same schedules, such as pgd and bim, under one name."""
    found: list[tuple[list[str], Any]] = []
    for name, rows in schedules.items():
        same = next((names for names, other in found if other == rows), None)
        if same is None:
            found.append(([name], rows))
        else:
            same.append(name)
    return {", ".join(names): rows for names, rows in found}


def _words(weight: Weight) -> str:
    from underfire.attacks import Constant, Linear, Phases

    if isinstance(weight, Linear):
        return f"{weight.start:g} -> {weight.end:g}"
    if isinstance(weight, Phases):
        return ", ".join(f"{value:g}" for value in weight.values)
    return f"{weight.value:g}" if isinstance(weight, Constant) else repr(weight)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Return a schedule as short texts, one for each entry of ``LEGEND``."""
    loss = {"cross entropy": "CE"}.get(row["prediction_loss"], row["prediction_loss"])
    size = row["step_size"]
    return (
        f"{row['warmup']},{row['joint']}",
        row["map_weight"],
        row["map_loss"].split()[0],
        loss if row["prediction_weight"] == 1 else f"{row['prediction_weight']:g} {loss}",
        f"{row['penalty_weight']:g}" if row["penalty_weight"] else "-",
        "two" if isinstance(size, dict) else f"{size * 255:g}/255" if row["step_unit"] == "levels" else f"{size:g}",
    )


def _schedules(schedules: dict[str, Any]) -> str:
    """Lay out all schedules as one table, with a line above the rows of each perturbation."""
    header = ("family", *LEGEND)
    groups = {
        names: [(family, *_cells(row)) for family, row in rows.items()]
        for names, rows in schedules_by_content(schedules).items()
    }
    every = [header, *(row for rows in groups.values() for row in rows)]
    widths = [max(len(row[place]) for row in every) for place in range(len(header))]

    def line(row: Sequence[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()

    lines = [line(header)]
    for names, rows in groups.items():
        lines += ["", f"{names}:", *map(line, rows)]
    return "\n".join(lines)


def shown(known: dict[str, Any]) -> RenderableType:
    """Lay out the presets, as ``known`` returns them, for a terminal of 80 columns."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    def table(rows: Mapping[str, str]) -> Table:
        made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
        made.add_column(no_wrap=True)
        for name, text in rows.items():
            made.add_row(Text(f"  {name}"), Text(text))
        return made

    def title(text: str) -> Text:
        return Text(f"\n{text}", style="bold")

    differences: list[RenderableType] = []
    for each in known["variants"]:
        rows = {"paper": each["paper"], "published": each["published"], "only this": each["alone"]}
        differences += [Text(f"\n{each['topic']}"), table(rows)]
    departures: list[RenderableType] = []
    for each in known["departures"]:
        rows = {"authors' code": each["theirs"], "published": each["ours"]}
        departures += [Text(f"\n{each['topic']}"), table(rows)]
    return Group(
        Text("Attacks (--attack)", style="bold"),
        table({name: kind["about"] for name, kind in known["attacks"].items()}),
        title("Perturbations of a joint attack (--perturbation)"),
        table(known["perturbations"]),
        title("Families of interpreters: all members have the same schedule"),
        table({family: ", ".join(names) for family, names in known["families"].items()}),
        title("Schedules of joint attacks (other steps: --steps 40,160)"),
        Text(_schedules(known["schedules"])),
        Text(),
        table(LEGEND),
        Text(f"\n{CLASS_ALONE}\n\n{AUTO}"),
        title("Differences between --variant paper and --variant published"),
        Text(ALONE),
        *differences,
        title("Where --variant published is still not what the authors' code does"),
        *departures,
    )
