"""The text of ``underfire list presets``: attacks, perturbations, schedules, and how the variants differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from underfire.attacks import Perturbation, Row
    from underfire.attacks.schedule import Weight

LEGEND = {
    "map": "weight of the map loss over the joint stage; the loss is the sum or the mean of squared differences over "
    "the map's cells",
    "class": "CE is the cross entropy (grad under pgd, bim: label smoothing 0.05), margin the largest other logit less "
    "the target's (under cw, stadv: -5 at least); before them their weight; rts adds its presence term",
    "cost": "weight of the squared L2 length (cw), of the flow's roughness (stadv)",
    "step": "size of signed steps, or Adam's rate; two: a move on the class, of 0.05, then one on the map alone, of at "
    "most 0.08, at last 0.04 (in L2, at 224 x 224 pixels)",
}
CLASS_ALONE = (
    "Attacks on the class alone take as many steps in all, and the rest from the row of cam, without the map; cw then "
    "takes the margin (0 at least) in place of CE."
)
ALONE = """'alone': how to set that one thing by itself. A field of Variant is set in Python:
  preset("adv2", variant=replace(VARIANTS["paper"], keep_last=True))"""


def known() -> dict[str, Any]:
    """Return the presets as JSON values."""
    from underfire.attacks import KINDS, PERTURBATIONS
    from underfire.attacks.variants import DIFFERENCES
    from underfire.interpreters import REGISTRY, Captum, create

    families: dict[str, list[str]] = {}
    for name in REGISTRY:
        if name != "captum":
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
    """Return a schedule's cells, short enough for a terminal: steps, map, class, cost, step."""
    loss = {"cross entropy": "CE"}.get(row["prediction_loss"], row["prediction_loss"])
    size = row["step_size"]
    return (
        f"{row['warmup']},{row['joint']}",
        f"{row['map_weight']} {row['map_loss'].split()[0]}",
        loss if row["prediction_weight"] == 1 else f"{row['prediction_weight']:g} {loss}",
        f"{row['penalty_weight']:g}" if row["penalty_weight"] else "-",
        "two" if isinstance(size, dict) else f"{size * 255:g}/255" if row["step_unit"] == "levels" else f"{size:g}",
    )


def shown(known: dict[str, Any]) -> RenderableType:
    """Show the presets in a terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    def table(rows: Sequence[tuple[str, ...]], header: tuple[str, ...] = ()) -> Table:
        made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=bool(header), header_style="dim")
        for place in range(len(rows[0])):
            made.add_column(header[place] if header else "", no_wrap=not place)
        for row in rows:
            made.add_row(*(Text(cell) for cell in row))
        return made

    def title(text: str) -> Text:
        return Text(f"\n{text}", style="bold")

    attacks = [(name, kind["about"]) for name, kind in known["attacks"].items()]
    schedules = [
        (perturbation, family, *_cells(row))
        for perturbation, rows in schedules_by_content(known["schedules"]).items()
        for family, row in rows.items()
    ]
    variants: list[RenderableType] = []
    for each in known["variants"]:
        variants += [
            Text(each["topic"]),
            table([(f"  {part}", each[part]) for part in ("paper", "published", "alone")]),
        ]
    return Group(
        Text("Attacks (--attack)", style="bold"),
        table(attacks),
        title("Perturbations of a joint attack (--perturbation)"),
        table(list(known["perturbations"].items())),
        title("Schedules, by family of interpreters (--steps)"),
        table([(family, ", ".join(names)) for family, names in known["families"].items()]),
        Text(),
        table(schedules, ("by", "family", "steps", "map", "class", "cost", "step")),
        Text(),
        table(list(LEGEND.items())),
        Text(CLASS_ALONE),
        title("Where the variants differ (--variant paper, --variant published)"),
        Text(ALONE),
        *variants,
    )
