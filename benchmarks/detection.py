"""Detectors at size: feature squeezing, and detectors that read maps, against attacks that know them or do not.

    python -m benchmarks.detection --data cifar10/test.parquet [--photographs FOLDER] --out runs/detection
    python -m benchmarks.detection --print [--page]

Attacks blocks of images, and writes the rows of each finished block to ``docs/results/detection/``: success, kept map,
map distance, and the change of the prediction under each squeezer. So the script may be stopped and started at any
time: it goes on with the blocks that are not in those files. The attacked images and their maps stay in ``--out``;
``benchmarks.detection_maps`` makes the scores of the map detectors of them. The tables are made of the files alone.

Test images, calibration images and the images that the map detectors learn from are all different.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import underfire as uf
from benchmarks import detection_evading, detection_maps, detection_tables
from benchmarks.detection_tables import EVADED, ROWS, SQUEEZERS, append, blocks_of, name_of, threshold_of
from underfire.detectors import Squeezing
from underfire.detectors.map_reading import predicted
from underfire.runs.inputs import InputSettings
from underfire.system import System

NETWORKS = {"resnet20": "cifar10-resnet20", "densenet": "cifar10-densenet", "lite0": "imagenet-lite0"}
SIZES = {"resnet20": 64, "densenet": 8, "lite0": 4}
"""Images of a block; half as many for slow attacks on the ResNet."""
CLEAN = {"resnet20": 64, "densenet": 64, "lite0": 24}
"""Images of a block of clean images."""
MASK_SIZE = 8
"""Images of a block that is attacked on MASK, which is far slower."""
CALIBRATION = {"resnet20": 400, "densenet": 200, "lite0": 40}
KINDS: dict[str, dict[str, Any]] = {
    "pgd": {"attack": "bim", "steps": (40, 160)},
    "pgd-short": {"attack": "bim", "steps": (1, 4)},
    "adv2": {"attack": "adv2", "steps": (40, 160)},
    "auto": {"attack": "auto", "budget": 200},
    "adaptive": {"attack": "adaptive", "steps": (40, 160)},
    "adaptive-auto": {"attack": "adaptive-auto", "budget": 200},
    "adaptive-tenfold": {"attack": "adaptive-auto", "budget": 2000},
    **{kind: {"attack": "auto", "budget": 200} for kind in detection_evading.DETECTORS},
}
READ = ("cam", "grad", "rts")
"""The interpreters whose maps are read on all images; MASK reads fewer of them."""


@dataclass(frozen=True)
class Part:
    """One block of images with one attack: clean images if ``kind`` is ``clean`` or ``calibration``."""

    network: str
    interpreters: str
    kind: str
    block: int
    by_mask: bool = False

    @property
    def name(self) -> str:
        return name_of(self.network, self.interpreters, self.kind)

    @property
    def size(self) -> int:
        if not self.interpreters:
            return CLEAN[self.network]
        if self.interpreters == "mask":
            return MASK_SIZE
        slow = self.kind.startswith(("adaptive", "evade")) or "+" in self.interpreters
        return SIZES[self.network] // (2 if slow and self.network == "resnet20" else 1)


def plan() -> Iterator[Part]:
    """Yield the parts, what is wanted first first."""

    def some(network: str, interpreters: str, kinds: str, blocks: range, by_mask: bool = False) -> Iterator[Part]:
        for block in blocks:
            for kind in kinds.split():
                yield Part(network, interpreters, kind, block, by_mask)

    def steady(blocks: range) -> Iterator[Part]:
        """ADV2 on three interpreters, for the map detectors."""
        for block in blocks:
            yield Part("resnet20", "", "clean", block)
            for interpreter in ("cam", "rts", "grad"):
                yield Part("resnet20", interpreter, "adv2", block)

    yield from some("resnet20", "", "calibration clean", range(2))
    yield from some("resnet20", "cam", "pgd adv2 auto adaptive adaptive-auto", range(1))
    yield from some("resnet20", "rts", "adv2", range(1))
    yield from some("resnet20", "grad", "adv2", range(1))
    yield from some("densenet", "", "calibration clean", range(1))
    yield from some("densenet", "cam", "pgd adv2 auto adaptive", range(1))
    yield from some("resnet20", "cam+grad", "adv2", range(1))
    yield from steady(range(1, 2))
    yield Part("resnet20", "cam", "pgd-short", 0)
    yield Part("resnet20", "cam", "evade-class-map", 0)
    yield Part("resnet20", "cam+grad", "evade-maps", 0)
    yield from some("lite0", "", "calibration clean", range(1))
    yield from some("lite0", "cam", "pgd adv2 adaptive", range(1))
    yield from steady(range(2, 4))
    yield Part("resnet20", "cam+grad", "evade-agreement", 0)
    yield from some("resnet20", "", "clean", range(1), by_mask=True)
    for interpreter in ("cam", "rts", "grad"):
        yield from some("resnet20", interpreter, "adv2", range(1), by_mask=True)
    yield from steady(range(4, 8))
    for several in ("cam+rts", "grad+rts", "cam+grad+rts"):
        yield from some("resnet20", several, "adv2", range(1))
    yield from some("resnet20", "cam", "adaptive adaptive-auto", range(1, 2))
    yield from some("densenet", "cam", "adaptive-auto", range(1))
    yield from some("resnet20", "rts", "adaptive adaptive-auto", range(1))
    yield from some("resnet20", "grad", "adaptive adaptive-auto", range(1))
    yield from some("resnet20", "mask", "adv2", range(1))
    yield from some("resnet20", "cam", "pgd auto", range(1, 2))
    yield from some("resnet20", "cam", "adaptive adaptive-auto", range(2, 4))
    yield from some("densenet", "cam", "pgd adv2 auto adaptive adaptive-auto", range(1, 4))
    yield from some("lite0", "cam", "pgd adv2 auto adaptive adaptive-auto", range(4))
    for block in range(1, 4):
        for interpreter in ("", "cam", "rts", "grad"):
            kind = "adv2" if interpreter else "clean"
            yield from some("resnet20", interpreter, kind, range(block, block + 1), by_mask=True)


@dataclass(frozen=True, eq=False)
class Subject:
    """A network with its calibration images and its test images, of which it gets all right."""

    classifier: uf.classifiers.Classifier
    calibration: Tensor
    images: Tensor
    labels: Tensor
    ids: list[str]

    def block(self, part: Part) -> tuple[Tensor, Tensor, list[str]]:
        """The images of a part, their labels and ids."""
        chosen = slice(part.block * part.size, (part.block + 1) * part.size)
        return self.images[chosen], self.labels[chosen], self.ids[chosen]


@cache
def subject(network: str, source: str) -> Subject:
    """Read images in a fixed random order, and divide those that the network gets right."""
    inputs = InputSettings.create(data=source, classifier=NETWORKS[network]).open(torch.device("cpu"))
    classifier, data = inputs.classifier, inputs.data
    order = np.random.default_rng(0).permutation(len(data)).tolist()
    wanted = CALIBRATION[network] + (8 if network == "resnet20" else 1) * CLEAN[network]
    images, labels, ids = [], [], []
    for start in range(0, len(order), 64):
        batch = data.load(classifier.image_size, classifier.channels, order[start : start + 64])
        right = (classifier.logits(batch.images).argmax(1) == batch.labels).nonzero()[:, 0].tolist()
        images.append(batch.images[right])
        labels.append(batch.labels[right])
        ids += [batch.ids[place] for place in right]
        if len(ids) >= wanted:
            break
    first = CALIBRATION[network]
    every = torch.cat(images)
    return Subject(classifier, every[:first], every[first:], torch.cat(labels)[first:], ids[first:])


def distances(part: Part, classifier: uf.classifiers.Classifier, images: Tensor) -> list[dict[str, float | str]]:
    """The change of the prediction under each squeezer, for each image; slow squeezers for the first two blocks."""
    quick = tuple(name for name in SQUEEZERS if part.block < 2 or not name.startswith("non-local"))
    found = Squeezing(quick).distances(System(classifier, "cam").only(()), images).tolist()
    return [dict.fromkeys(SQUEEZERS, "") | dict(zip(quick, row, strict=True)) for row in found]


def store(part: Part, held: Subject, images: Tensor, out: Path, **more: Any) -> None:
    """Keep images and their maps for the map detectors."""
    content: dict[str, Any] = {"images": (images * 255).round().to(torch.uint8), "maps": {}, **more}
    if part.network == "resnet20":
        classes = predicted(System(held.classifier, "cam"), images)
        content["maps"] = System(held.classifier, list(READ)).maps(images, classes)
    out.mkdir(parents=True, exist_ok=True)
    torch.save(content, out / f"{part.name}-{part.block}.pt")


def make_clean(part: Part, held: Subject, out: Path) -> None:
    """Measure clean images."""
    images, _, ids = held.block(part)
    if part.kind == "calibration":
        size = CALIBRATION[part.network] // 2 if part.network == "resnet20" else CALIBRATION[part.network]
        images = held.calibration[part.block * size : (part.block + 1) * size]
        ids = [f"{part.kind}/{part.block * size + place}" for place in range(len(images))]
    rows = [{"image": name, **found} for name, found in zip(ids, distances(part, held.classifier, images), strict=True)]
    store(part, held, images, out, ids=ids)
    append(part.name, part.block, rows)


def make_attack(part: Part, held: Subject, out: Path) -> None:
    """Attack a block, and measure its images."""
    images, labels, ids = held.block(part)
    settings = dict(KINDS[part.kind])
    if part.kind.startswith("adaptive"):
        settings["evade"] = ",".join(f"{name}<{threshold_of(part.network, name)!r}" for name in EVADED)
    if part.kind in detection_evading.DETECTORS:
        settings["evade"] = detection_evading.term(part.kind, held.classifier, out, set(ids))
    started = time.monotonic()
    system = System(held.classifier, part.interpreters.split("+"))
    result = uf.attack(
        system, images, labels, settings.pop("attack"), eps=8 / 255, control=False, noise_draws=1, **settings
    )
    seconds = (time.monotonic() - started) / len(images)
    away = torch.stack([result.map_l1[name] for name in system.interpreters]).mean(0)
    squeezed = distances(part, held.classifier, result.adversarial)
    rows = [
        {
            "image": name,
            "success": int(result.success[place]),
            "joint": int(result.joint_success_all[place]),
            "map_l1": float(away[place]),
            "seconds": seconds,
            **found,
        }
        for place, (name, found) in enumerate(zip(ids, squeezed, strict=True))
    ]
    store(part, held, result.adversarial, out, ids=ids, success=result.success, joint=result.joint_success_all)
    append(part.name, part.block, rows)


def read_by_mask(part: Part, held: Subject, out: Path) -> bool:
    """Read the maps of a finished block with MASK. Returns False if they are there."""
    path = out / f"{part.name}-{part.block}.pt"
    content = torch.load(path)
    if "mask" in content["maps"]:
        return False
    images, started = content["images"].float() / 255, time.monotonic()
    content["maps"] |= System(held.classifier, "mask").maps(images, predicted(System(held.classifier, "cam"), images))
    content["mask_seconds"] = (time.monotonic() - started) / len(images)
    torch.save(content, path)
    return True


def make(part: Part, source: str, out: Path) -> bool:
    """Make one part. Returns False if it is there."""
    finished = part.block in blocks_of(part.name)
    if finished and not part.by_mask:
        return False
    held = subject(part.network, source)
    if part.kind != "calibration" and not held.block(part)[2]:
        return False
    if part.by_mask:
        return finished and read_by_mask(part, held, out)
    if part.interpreters:
        make_attack(part, held, out)
    else:
        make_clean(part, held, out)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="test.parquet", help="CIFAR-10's test images")
    parser.add_argument("--photographs", help="a folder of photographs, for imagenet-lite0")
    parser.add_argument("--out", type=Path, default=Path("runs/detection"))
    parser.add_argument("--only", nargs="*", default=[""], help="beginnings of names, such as resnet20-cam")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no block after so many minutes")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--print", action="store_true", dest="show")
    parser.add_argument("--page", action="store_true", help="write the tables into docs/detection.md")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    started = time.monotonic()
    for part in () if arguments.show else plan():
        source = arguments.photographs if part.network == "lite0" else arguments.data
        if source is None or not part.name.startswith(tuple(arguments.only)):
            continue
        if time.monotonic() - started > 60 * arguments.minutes:
            break
        if make(part, source, arguments.out):
            minutes = (time.monotonic() - started) / 60
            print(part.name, part.block, "MASK" if part.by_mask else "", f"{minutes:.1f} minutes", flush=True)
    if not arguments.show:
        detection_maps.score(arguments.out, ROWS)
    text = detection_tables.tables()
    print(text)
    if arguments.page:
        detection_tables.write_page(text)


if __name__ == "__main__":
    main()
