"""What ``underfire list presets`` says: attacks, perturbations, schedules, and how the variants differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from underfire.attacks.schedule import Weight

PERTURBATIONS = {
    "pgd": "every value changes by at most eps (L-inf); signed steps of 1/255",
    "bim": "the same; as an attack on the class alone it starts at the image, pgd at random",
    "cw": "every pixel may change, at the cost of the squared L2 length (Carlini & Wagner); Adam",
    "stadv": "pixels move instead of changing, at the cost of the flow's roughness; Adam",
}


def known() -> dict[str, Any]:
    """The presets as JSON values."""
    from underfire.attacks import KINDS, ROWS
    from underfire.attacks.presets.variants import DIFFERENCES
    from underfire.interpreters import REGISTRY

    families: dict[str, list[str]] = {}
    for name, make in REGISTRY.items():
        families.setdefault(make().family, []).append(name)
    return {
        "attacks": {name: {"about": kind.about, "joint": kind.joint} for name, kind in KINDS.items()},
        "perturbations": PERTURBATIONS,
        "families": families,
        "schedules": {
            perturbation: {
                family: {
                    "warmup": row.warmup,
                    "joint": row.joint,
                    "map_weight": _words(row.weight),
                    "map_loss": f"{row.reduction} of squares",
                    "prediction_loss": row.loss.replace("_", " "),
                }
                for family, row in rows.items()
            }
            for perturbation, rows in ROWS.items()
        },
        "variants": [asdict(difference) for difference in DIFFERENCES],
    }


def schedules_by_content(schedules: dict[str, Any]) -> dict[str, Any]:
    """Perturbations with the same schedules, such as pgd and bim, under one name."""
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


def shown(known: dict[str, Any]) -> RenderableType:
    """The same for a terminal."""
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
        (perturbation, family, f"{row['warmup']},{row['joint']}", row["map_weight"], row["prediction_loss"])
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
        table(schedules, ("perturbation", "family", "steps", "weight of the map", "prediction loss")),
        title("Where the variants differ (--preset paper, --preset published)"),
        Text("'alone': how to set that one thing by itself."),
        *variants,
    )
