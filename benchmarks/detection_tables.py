"""The files and tables of ``benchmarks.detection``."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.grid_tables import markdown, shown
from underfire import metrics
from underfire.detectors.squeezing import BEST_JOINT
from underfire.detectors.threshold import calibrated

ROWS = Path(__file__).parent.parent / "docs/results/detection"
SQUEEZERS = (
    *(f"bit-depth:{bits}" for bits in range(1, 8)),
    "median:2",
    "median:3",
    "non-local-means:11-3-4",
    "non-local-means:13-3-2",
)
EVADED = ("bit-depth:3", "median:2", "median:3")
"""The squeezers that the adaptive attacks know, each with its own threshold."""
RATE = 0.05

Row = dict[str, str]


def name_of(network: str, interpreters: str, kind: str) -> str:
    """The name of the file of a network, the attacked interpreters, and an attack or a kind of clean images."""
    return "-".join(filter(None, (network, interpreters, kind)))


def read(name: str) -> list[Row]:
    """Read the rows of a file; none if it is not there."""
    path = ROWS / f"{name}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def blocks_of(name: str) -> set[int]:
    """The blocks that are finished."""
    return {int(row["block"]) for row in read(name)}


def append(name: str, block: int, rows: Sequence[dict[str, Any]]) -> None:
    """Add the rows of a block to a file, with four digits."""
    ROWS.mkdir(parents=True, exist_ok=True)
    path = ROWS / f"{name}.csv"
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(("block", *rows[0]))
        for row in rows:
            writer.writerow((block, *(f"{v:.4g}" if isinstance(v, float) else v for v in row.values())))


def scores(rows: Sequence[Row], squeezers: Sequence[str]) -> torch.Tensor:
    """The largest distance of some squeezers, for each image that was squeezed by all of them."""
    known = having(rows, squeezers)
    return torch.tensor([max(float(row[name]) for name in squeezers) for row in known], dtype=torch.float64)


def having(rows: Sequence[Row], squeezers: Sequence[str]) -> list[Row]:
    """The rows of images that were squeezed by all of some squeezers."""
    return [row for row in rows if all(row[name] for name in squeezers)]


def threshold_of(network: str, *squeezers: str) -> float:
    """The threshold of squeezers together, from the calibration images."""
    return calibrated(scores(read(name_of(network, "", "calibration")), squeezers), RATE)


def tables() -> str:
    """All tables, in Markdown."""
    from benchmarks import detection_map_tables

    parts = [part for network in NETWORKS if attacks_of(network) for part in squeezing(network)]
    return "\n\n".join([*parts, *detection_map_tables.tables()])


BEGIN, END = "<!-- tables of benchmarks.detection -->", "<!-- end of the tables -->"
PAGE = ROWS.parent.parent / "detection.md"


def write_page(text: str) -> None:
    """Put tables into the page, between their marks."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


NETWORKS = {"resnet20": "CIFAR ResNet-20", "densenet": "CIFAR DenseNet", "lite0": "EfficientNet-Lite0, photographs"}
KINDS = ("pgd", "pgd-short", "adv2", "auto", "adaptive", "adaptive-auto", "adaptive-tenfold")
SAID = {"pgd": "PGD", "pgd-short": "PGD, 5 steps", "adv2": "ADV2", "adaptive-tenfold": "adaptive-auto, 2,000 steps"}
MAPS = ("cam", "grad", "rts", "mask")
TITLES = {"cam": "CAM", "grad": "Grad", "rts": "RTS", "mask": "MASK"}
PUBLISHED = {
    ("bit-depth:2", "pgd"): "0.92",
    ("bit-depth:3", "pgd"): "0.73",
    ("median:3", "pgd"): "0.97",
    ("non-local-means:11-3-4", "pgd"): "0.52",
    ("bit-depth:2", "rts-adv2"): "0.94",
    ("bit-depth:3", "rts-adv2"): "0.88",
    ("median:3", "rts-adv2"): "0.99",
    ("non-local-means:11-3-4", "rts-adv2"): "0.75",
    ("bit-depth:2", "rts-adaptive"): "0.29",
    ("bit-depth:3", "rts-adaptive"): "0.14",
    ("median:3", "rts-adaptive"): "0.03",
    ("non-local-means:11-3-4", "rts-adaptive"): "0.29",
}
"""[ADV2] table 4: ImageNet, ResNet-50; PGD, and attacks on RTS."""


def detectors() -> list[tuple[str, ...]]:
    """The squeezing detectors: each squeezer, and some together."""
    return [*((each,) for each in SQUEEZERS), EVADED, BEST_JOINT]


def attacks_of(network: str) -> list[tuple[str, str]]:
    """The attacked interpreters and the attacks that have rows. Attacks on several interpreters are left out."""
    found = [(interpreter, kind) for kind in KINDS for interpreter in MAPS]
    return [each for each in found if read(name_of(network, *each))]


def published(names: tuple[str, ...], interpreter: str, kind: str) -> str:
    """The published share of detected images in brackets; empty if there is none."""
    key = (names[0], "pgd" if kind == "pgd" else f"{interpreter}-{kind}")
    return f" ({PUBLISHED[key]})" if len(names) == 1 and key in PUBLISHED else ""


def squeezing(network: str) -> list[str]:
    """The tables of squeezing on one network."""
    attacks = attacks_of(network)
    heads = [
        SAID[kind] if kind.startswith("pgd") else f"{SAID.get(kind, kind)} on {TITLES[one]}" for one, kind in attacks
    ]
    clean, known = read(f"{network}-clean"), read(f"{network}-calibration")
    rows = {each: read(name_of(network, *each)) for each in attacks}
    won = {each: [row for row in some if row["success"] == "1"] for each, some in rows.items()}

    def outcome() -> Iterator[tuple[object, ...]]:
        limit = threshold_of(network, *EVADED)
        for head, each in zip(heads, attacks, strict=True):
            some = rows[each]
            hidden = (scores(some, EVADED) <= limit).tolist()
            triple = [row["joint"] == "1" and unseen for row, unseen in zip(some, hidden, strict=True)]
            yield (
                head,
                len(some),
                shown(metrics.rate([row["success"] == "1" for row in some])),
                shown(metrics.interval([float(row["map_l1"]) for row in some])),
                shown(metrics.rate([row["joint"] == "1" for row in some])),
                shown(metrics.rate(triple)),
                f"{sum(float(row['seconds']) for row in some) / len(some):.1f}",
            )

    def detection() -> Iterator[tuple[object, ...]]:
        for names in detectors():
            limit = threshold_of(network, *names)
            alarms = shown(metrics.rate((scores(clean, names) > limit).tolist()))
            found = [
                shown(metrics.rate((scores(won[each], names) > limit).tolist())) + published(names, *each)
                for each in attacks
            ]
            yield (" + ".join(names), f"{limit:.3g}", alarms, *found)

    def areas() -> Iterator[tuple[object, ...]]:
        for names in detectors():
            good = scores(clean, names)
            ids = [row["image"] for row in having(clean, names)]
            found = [
                metrics.bootstrap_roc_area(
                    good, scores(won[each], names), ids, [row["image"] for row in having(won[each], names)]
                )
                for each in attacks
                if won[each]
            ]
            yield (" + ".join(names), *map(shown, found))

    name = NETWORKS[network]
    counts = f"{len(clean)} clean images, {len(known)} for the thresholds"
    heading = ("attack", "n", "success", "map L1", "joint success", "triple success", "s/image")
    return [
        f"**{name}: the attacks** ({counts}; triple success: not noticed by {' + '.join(EVADED)})",
        markdown(heading, outcome()),
        f"**{name}: detection by squeezing at {100 * RATE:.0f} % false alarms** ([ADV2] table 4 in brackets)",
        markdown(("squeezers", "threshold", "false alarms", *heads), detection()),
        f"**{name}: AUC of squeezing**",
        markdown(("squeezers", *heads), areas()),
        f"**{name}: the adaptive attack against ADV2 and auto, on the same images**",
        markdown(CLAIM, claims(network)),
    ]


CLAIM = ("attacks", "squeezers", "n", "detected", "of which left", "success", "map L1 ratio", "[ADV2] holds")


def claims(network: str) -> Iterator[tuple[object, ...]]:
    """Compare adaptive attacks with the ones that they are made of, image by image."""
    for interpreter in MAPS:
        for plain, adaptive in (("adv2", "adaptive"), ("auto", "adaptive-auto")):
            first, second = (read(name_of(network, interpreter, kind)) for kind in (plain, adaptive))
            both = {row["image"] for row in first} & {row["image"] for row in second}
            before, after = ([row for row in some if row["image"] in both] for some in (first, second))
            if not both:
                continue
            away = [sum(float(row["map_l1"]) for row in some) for some in (before, after)]
            reached = metrics.rate([row["success"] == "1" for row in after])
            for names in (*((each,) for each in EVADED), EVADED):
                limit = threshold_of(network, *names)
                seen = [
                    metrics.rate((scores([row for row in some if row["success"] == "1"], names) > limit).tolist())
                    for some in (before, after)
                ]
                shares = [each.mean or 0.0 for each in seen]
                holds = shares[1] <= shares[0] / 2 and (reached.mean or 0) >= 0.95 and away[1] <= 1.25 * away[0]
                yield (
                    f"{SAID.get(plain, plain)} and {adaptive} on {TITLES[interpreter]}",
                    " + ".join(names),
                    len(both),
                    f"{shown(seen[0])} and {shown(seen[1])}",
                    f"{shares[1] / shares[0]:.2f}" if shares[0] else "",
                    shown(reached),
                    f"{away[1] / away[0]:.2f}",
                    ("yes" if holds else "no") if shares[0] else "nothing to evade",
                )
