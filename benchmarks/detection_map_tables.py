"""The tables of the map detectors of ``benchmarks.detection``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from benchmarks.detection_maps import NAMES, PAIRS, TRIPLES, unlearned
from benchmarks.detection_tables import RATE, ROWS, SAID, read
from benchmarks.grid_tables import markdown, shown
from underfire import metrics
from underfire.detectors.threshold import calibrated

PUBLISHED = {
    "grad+cam": (0.896, 0.890),
    "grad+mask": (0.869, 0.911),
    "grad+rts": (0.762, 0.744),
    "cam+mask": (0.866, 0.894),
    "cam+rts": (0.716, 0.712),
    "mask+rts": (0.701, 0.714),
    "grad+cam+mask": (0.975,),
    "grad+cam+rts": (0.861,),
    "grad+mask+rts": (0.838,),
    "cam+mask+rts": (0.848,),
}
"""Accuracy in [EDGE] tables V (2 channels, 3 channels) and VI."""
FIRST = "maps-resnet20-"


@dataclass(frozen=True)
class Scores:
    """The scores of one detector on clean images and on attacked ones, by image."""

    clean: dict[str, float]
    attacked: dict[str, float]

    def area(self) -> metrics.Interval:
        """AUC; images are resampled with their attacked form."""
        if not self.clean or not self.attacked:
            return metrics.Interval(None, None, None, 0)
        values = ([*each.values()] for each in (self.clean, self.attacked))
        return metrics.bootstrap_roc_area(*values, [*self.clean], [*self.attacked])

    def accuracy(self) -> metrics.Interval:
        """The share of images on the right side of even odds, with as many clean images as attacked ones."""
        both = [image for image in self.clean if image in self.attacked]
        return metrics.interval([((self.clean[i] <= 0) + (self.attacked[i] > 0)) / 2 for i in both], metrics.UNIT)


def of(attack: str, title: str) -> dict[str, float]:
    """The scores of a detector on one group of images."""
    return {row["image"]: float(row[title]) for row in read(FIRST + attack) if row.get(title)}


def own(title: str) -> Scores:
    """The scores of a learned detector on ADV2 against each of its interpreters in turn."""
    names = [each for each in title.split("+") if each in NAMES and each != "mask"]
    clean = of("clean", title)
    order = [row["image"] for row in read("resnet20-clean")]
    every = [of(f"{each}-adv2", title) for each in names]
    attacked = {
        image: every[place % len(every)][image]
        for place, image in enumerate(order)
        if image in every[place % len(every)]
    }
    return Scores(clean, attacked)


def tables() -> list[str]:
    """All tables of map detectors."""
    if not read(FIRST + "clean"):
        return []
    return [
        "**Pairs of interpreters ([EDGE] table V)**, CIFAR ResNet-20; product: a third channel",
        markdown(("interpreters", "n clean, attacked", "accuracy", "AUC", *WITH, "published accuracy"), pairs()),
        "**Three interpreters ([EDGE] table VI)**",
        markdown(("interpreters", "n clean, attacked", "accuracy", "AUC", "published accuracy"), triples()),
        "**Triples less their pairs**: AUC on the same images, ADV2 on one interpreter of the pair",
        markdown(("triple", "pair", "attacked", "n", "AUC of the triple less the pair's"), gains()),
        "**AUC against attackers who know more than the detector's training attack**",
        markdown(("detector", *map(said, attackers())), unseen()),
        f"**Detection at {100 * RATE:.0f} % false alarms by detectors that learn from clean images alone**",
        markdown(("detector", "false alarms", *map(said, attackers())), flagged()),
    ]


WITH = ("accuracy with product", "AUC with product")


def pairs() -> Iterator[tuple[object, ...]]:
    for names in PAIRS:
        title = "+".join(names)
        plain, product = own(title), own(title + "+product")
        if not plain.attacked:
            continue
        count = f"{len(plain.clean)}, {len(plain.attacked)}"
        values = (shown(value) for each in (plain, product) for value in (each.accuracy(), each.area()))
        yield (title, count, *values, "{:.2f}, {:.2f}".format(*PUBLISHED[title]))


def triples() -> Iterator[tuple[object, ...]]:
    for names in TRIPLES:
        title = "+".join(names)
        found = own(title)
        if found.attacked:
            count = f"{len(found.clean)}, {len(found.attacked)}"
            yield title, count, shown(found.accuracy()), shown(found.area()), f"{PUBLISHED[title][0]:.2f}"


def gains() -> Iterator[tuple[object, ...]]:
    """The gain of a third interpreter, with the attacks that a pair has learnt from, too."""
    for names in TRIPLES:
        for pair in combinations(names, 2):
            for attacked in (each for each in pair if each != "mask"):
                first, second = (
                    Scores(of("clean", each), of(f"{attacked}-adv2", each))
                    for each in ("+".join(names), "+".join(pair))
                )
                if first.attacked and second.attacked:
                    count, found = gain(first, second)
                    yield "+".join(names), "+".join(pair), attacked, count, shown(found, "+")


def gain(first: Scores, second: Scores, resamples: int = 1000) -> tuple[int, metrics.Interval]:
    """The difference of two AUCs on the same images, with a percentile bootstrap over source images."""
    images = [
        image for image in first.clean if all(image in some for some in (first.attacked, second.clean, second.attacked))
    ]
    arrays = [
        tuple(np.array([some[image] for image in images]) for some in (each.clean, each.attacked))
        for each in (first, second)
    ]
    generator = np.random.default_rng(0)

    def difference(places: np.ndarray) -> float:
        one, two = (metrics.roc_area(clean[places], attacked[places]) for clean, attacked in arrays)
        return one - two

    count = len(images)
    drawn = [difference(generator.integers(count, size=count)) for _ in range(resamples)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return count, metrics.Interval(difference(np.arange(count)), float(low), float(high), count)


ORDER = (
    *("cam-pgd", "cam-adv2", "grad-adv2", "rts-adv2", "mask-adv2", "cam-auto", "cam-adaptive", "cam-adaptive-auto"),
    "cam-evade-class-map",
)


def attackers() -> list[str]:
    """The attacks that have scores."""
    several = sorted(path.stem.removeprefix(FIRST) for path in ROWS.glob(f"{FIRST}*+*.csv"))
    return [each for each in (*ORDER, *several) if (ROWS / f"{FIRST}{each}.csv").exists()]


def said(attack: str) -> str:
    names, _, kind = attack.partition("-")
    shown_kind = SAID.get(kind, kind)
    return shown_kind if kind.startswith("pgd") else f"{shown_kind} on {names}"


def unseen() -> Iterator[tuple[object, ...]]:
    titles = [*("+".join(names) for names in (*PAIRS, *TRIPLES)), *(title for title, *_ in unlearned())]
    for title in titles:
        clean = of("clean", title)
        found = [Scores(clean, of(each, title)).area() for each in attackers()]
        if any(each.n for each in found):
            yield (title, *map(shown, found))


def flagged() -> Iterator[tuple[object, ...]]:
    for title, *_ in unlearned():
        limit = calibrated(values(of("calibration", title)), RATE)
        found = [of(each, title) for each in ("clean", *attackers())]
        yield (title, *(shown(metrics.rate((values(each) > limit).tolist())) for each in found))


def values(scores: dict[str, float]) -> Sequence[float]:
    import torch

    return torch.tensor([*scores.values()], dtype=torch.float64)
