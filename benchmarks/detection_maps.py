"""Scores of the map detectors on the images of ``benchmarks.detection``.

The learned detectors ([EDGE] tables V and VI) are fitted five times, each time on four fifths of the source images: an
image is scored by the fit that has seen neither it nor any attacked form of it. They learn from clean images and from
ADV2 on each of the detector's own interpreters in turn (one attacked form per source image; MASK is too slow to attack
so many). The detectors without attacked images in their fit learn from 200 other images, and are calibrated on 200
further ones.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import underfire as uf
from underfire import randomness
from underfire.detectors import ClassMap, Detector, MapAgreement, Maps, MapStability, Split, fit
from underfire.system import System

NAMES = ("grad", "cam", "mask", "rts")
READ = ("grad", "cam", "rts")
FOLDS = 5
PAIRS = tuple(combinations(NAMES, 2))
TRIPLES = tuple(combinations(NAMES, 3))


def learned() -> Iterator[tuple[str, tuple[str, ...], Maps]]:
    """Yield the names, interpreters and settings of the learned detectors."""
    for names in PAIRS:
        yield "+".join(names), names, Maps()
        yield "+".join(names) + "+product", names, Maps(product=True)
    for names in TRIPLES:
        yield "+".join(names), names, Maps()


def unlearned() -> Iterator[tuple[str, tuple[str, ...], Detector]]:
    """Yield the names, interpreters and settings of the detectors that need no attacked images."""
    for names in (*combinations(READ, 2), READ):
        yield "agreement " + "+".join(names), names, MapAgreement()
    for name in READ:
        yield f"stability {name}", (name,), MapStability()
        yield f"class-map {name}", (name,), ClassMap()


@dataclass
class Held:
    """The images of one attack, or clean ones, with their maps.

    Args:
        images: by id.
        success: the ids of images that count.
        maps: by interpreter and id.
    """

    images: dict[str, Tensor] = field(default_factory=dict)
    success: set[str] = field(default_factory=set)
    maps: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def ids(self, names: Iterable[str]) -> list[str]:
        """The ids of the images that count and are read by all of some interpreters."""
        return [each for each in self.images if each in self.success and all(each in self.maps[n] for n in names)]

    def tensor(self, ids: Sequence[str]) -> Tensor:
        return torch.stack([self.images[each] for each in ids]).float() / 255


def held(out: Path, name: str) -> Held:
    """Read the blocks of an attack."""
    found = Held(maps={each: {} for each in NAMES})
    for path in sorted(out.glob(f"{name}-[0-9]*.pt")):
        content = torch.load(path)
        ids = content["ids"]
        found.images |= dict(zip(ids, content["images"], strict=True))
        success = content.get("success", torch.ones(len(ids), dtype=torch.bool))
        found.success |= {each for each, reached in zip(ids, success.tolist(), strict=True) if reached}
        for interpreter, maps in content["maps"].items():
            found.maps[interpreter] |= dict(zip(ids, maps, strict=True))
    return found


class Known(System):
    """A system that has the maps of some images at hand, all for the predicted class; others are read as usual."""

    def __init__(self, system: System, every: Iterable[Held]) -> None:
        vars(self).update(vars(system))
        self.places: dict[int, tuple[Held, str]] = {}
        for each in every:
            ids = each.ids(self.interpreters)
            if ids:
                numbers = randomness.identify(each.tensor(ids)).tolist()
                self.places |= {number: (each, name) for number, name in zip(numbers, ids, strict=True)}

    def maps(self, images: Tensor, classes: Tensor, ids: Tensor | None = None) -> dict[str, Tensor]:
        found = [self.places.get(number) for number in randomness.identify(images).tolist()]
        if None in found:
            return super().maps(images, classes, ids)
        return {
            name: torch.stack([place[0].maps[name][place[1]] for place in found if place is not None])
            for name in self.interpreters
        }


def score(out: Path, rows: Path, network: str = "resnet20") -> None:
    """Score the stored images of a network with all map detectors, and write a file for each attack."""
    clean = held(out, f"{network}-clean")
    if not clean.images:
        return
    calibration = held(out, f"{network}-calibration")
    names = sorted({path.stem.rpartition("-")[0] for path in out.glob(f"{network}-*.pt")})
    attacks = {name: held(out, name) for name in names if not name.endswith(("-clean", "-calibration"))}
    groups = {f"{network}-clean": clean, f"{network}-calibration": calibration, **attacks}
    order = list(clean.images)
    table: dict[str, dict[tuple[str, int], dict[str, float]]] = {name: {} for name in groups}
    classifier = uf.classifiers.load(f"cifar10-{network}")
    for title, interpreters, detector in learned():
        own = {each: attacks[f"{network}-{each}-adv2"] for each in interpreters if each != "mask"}
        system = Known(System(classifier, list(interpreters)), groups.values())
        fits = folds(detector, system, order, clean, list(own.values()))
        for name, each in groups.items():
            add(table[name], title, order, each, fits, detector, system)
    for title, interpreters, detector in unlearned():
        system = Known(System(classifier, list(interpreters)), groups.values())
        ids = calibration.ids(interpreters)
        half = len(ids) // 2
        parts = [calibration.tensor(some) for some in (ids[half:], ids[:half])]
        fitted = fit(detector, system, *parts)
        for name, each in groups.items():
            some = each.ids(interpreters) if each is not calibration else ids[half:]
            for image, value in zip(some, fitted.scores(each.tensor(some)).tolist() if some else (), strict=True):
                table[name].setdefault((image, -1), {})[title] = value
    titles = [title for title, *_ in (*learned(), *unlearned())]
    for name, found in table.items():
        write(rows / f"maps-{name}.csv", titles, found)


def folds(
    detector: Maps, system: System, order: Sequence[str], clean: Held, attacked: Sequence[Held]
) -> list[dict[str, Tensor]]:
    """Fit a learned detector on four fifths of the source images, five times."""
    names = list(system.interpreters)
    benign = set(clean.ids(names))
    usable = [set(each.ids(names)) for each in attacked]
    found = []
    for fold in range(FOLDS):
        train = [(place, each) for place, each in enumerate(order) if place % FOLDS != fold and each in benign]
        turns = [(place % len(attacked), each) for place, each in train]
        turns = [(turn, each) for turn, each in turns if each in usable[turn]]
        if len(turns) < 2 * FOLDS:
            return []
        good, ids = [each for _, each in train], [each for _, each in turns]
        images = torch.stack([attacked[turn].images[each] for turn, each in turns]).float() / 255
        splits = (
            Split.of(clean.tensor(good), system.classifier, good),
            Split.of(images, system.classifier, ids, clean=False),
        )
        found.append(detector.learn(system, *splits))
    return found


def add(
    table: dict[tuple[str, int], dict[str, float]],
    title: str,
    order: Sequence[str],
    group: Held,
    fits: Sequence[dict[str, Tensor]],
    detector: Maps,
    system: System,
) -> None:
    """Add the scores of a learned detector: those of the fit that has not seen the image; of all fits if none has."""
    ids = group.ids(system.interpreters)
    for fold, state in enumerate(fits):
        some = [each for each in ids if each not in order or order.index(each) % FOLDS == fold]
        if not some:
            continue
        values = detector.measure(system, state, group.tensor(some)).tolist()
        for image, value in zip(some, values, strict=True):
            table.setdefault((image, fold), {})[title] = value


def write(path: Path, titles: Sequence[str], found: dict[tuple[str, int], dict[str, float]]) -> None:
    """Write the scores of one group of images: a row for each image and fit; -1 for the detectors that have one."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "fold", *titles))
        for (image, fold), values in sorted(found.items()):
            shown: list[Any] = [f"{values[each]:.4g}" if each in values else "" for each in titles]
            writer.writerow((image, fold, *shown))
