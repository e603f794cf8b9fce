"""The tables of ``benchmarks.defenses``, made of its files of results."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.grid_tables import markdown, shown
from underfire import metrics

ROWS = Path(__file__).parent.parent / "docs" / "results" / "defenses"
PAGE = ROWS.parent.parent / "defenses.md"
BEGIN, END = "<!-- tables of benchmarks.defenses -->", "<!-- end of the tables -->"

TITLES = {
    "plain-cam": "none: CAM",
    "plain-grad": "none: Grad",
    "ensemble-mean-one": "mean of CAM and Grad; CAM is attacked",
    "ensemble-mean-all": "mean of CAM and Grad; both",
    "ensemble-rank-one": "rank mean of CAM and Grad; CAM is attacked",
    "ensemble-rank-all": "rank mean of CAM and Grad; both",
    "ensemble-median-one": "median of CAM, Grad, RTS; CAM is attacked",
    "ensemble-median-two": "median of CAM, Grad, RTS; CAM and Grad",
    "ensemble-median-all": "median of CAM, Grad, RTS; all three",
    "smoothgrad-known": "SmoothGrad, 16 copies; the seed is known",
    "smoothgrad-secret": "SmoothGrad, 16 copies; secret seed",
    "sparsified-secret": "sparsified, 64 copies; secret seed, attacked with 16",
    "rts": "none: RTS",
    "rts-aid-unaware": "RTS by AID, weight 40; the plain masker is attacked",
    "rts-aid": "RTS by AID, weight 40; the attacker has it",
    "adversarial-cam": "adversarial training: CAM",
    "adversarial-grad": "adversarial training: Grad",
    "robust-cam": "robust training (int-adv): CAM",
    "robust-grad": "robust training (int-adv): Grad",
}
"""The rows in their order: the defense, and after the semicolon what the attacker knows."""
HEAD = (
    "defense; attacked",
    "n",
    "clean accuracy",
    "robust accuracy",
    "joint robust accuracy",
    "map L1: attacked",
    "noise",
    "limit",
    "kept - random",
    "deleted - random",
    "cost: map",
    "step",
)

Row = Mapping[str, str]


def write(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write a table, with five digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: f"{v:.5g}" if isinstance(v, float) else v for key, v in row.items()})
    part.replace(path)


def read(path: Path) -> list[dict[str, str]]:
    """Read the rows of a table; none if it is not there."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def fooled(row: Row, jointly: bool) -> bool:
    """Return True if one of the two attacks reached another class, and ``jointly`` kept the map as well."""
    return any(
        row[f"success{kind}"] == "1" and (not jointly or float(row[f"map_l1{kind}"]) < float(row["limit"]))
        for kind in ("", "_alone")
    )


def standing(rows: Sequence[Row], jointly: bool) -> list[bool]:
    """Return for each image if it is classified correctly, and is not fooled."""
    return [row["correct"] == "1" and not fooled(row, jointly) for row in rows]


def line(name: str, folder: Path) -> tuple[object, ...] | None:
    """Make the row of a defense; None if it was not attacked."""
    rows = read(folder / f"{name}-attack.csv")
    if not rows:
        return None
    right = [row for row in rows if row["correct"] == "1"]
    won = [float(row["map_l1"]) for row in right if row["success"] == "1"]
    noise = [float(row["map_l1_noise"]) for row in right]
    kept = [row for row in read(folder / f"{name}-quality.csv") if row["correct"] == "1"]
    costs = read(folder / f"{name}-cost.csv")
    gains = [
        shown(
            metrics.paired_difference(*([row[each] == "1" for row in kept] for each in (kind, f"{kind}_random"))), "+"
        )
        if kept
        else ""
        for kind in ("kept", "deleted")
    ]
    return (
        TITLES[name],
        len(rows),
        *(
            shown(metrics.rate(values))
            for values in ([row["correct"] == "1" for row in rows], standing(rows, False), standing(rows, True))
        ),
        f"{sum(won) / len(won):.3f}" if won else "",
        f"{sum(noise) / len(noise):.3f}",
        f"{float(right[0]['limit']):.3f}",
        *gains,
        *(f"{float(costs[0][each]):.1f}" if costs else "" for each in ("map", "step")),
    )


def tables(folder: Path = ROWS) -> str:
    """Make the board of the rows that are finished, in Markdown."""

    def lines() -> Iterator[tuple[object, ...]]:
        for name in TITLES:
            found = line(name, folder)
            if found is not None:
                yield found

    return markdown(HEAD, lines())


def put_between(begin: str, end: str, text: str) -> None:
    """Put a text into docs/defenses.md, between two marks."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    PAGE.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}", encoding="utf-8")
