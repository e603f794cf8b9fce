"""The first and last step of ``auto`` under PGD, on images that no table uses.

    python -m benchmarks.auto_steps --data path/to/cifar10/train.parquet [--photographs FOLDER] [--threads 1]

Attacks the first correctly classified images of the training set with 200 gradients, and with 100 the photographs that
come after those of ``benchmarks.auto``, with every pair of step sizes. Prints the mean map L1, and its paired
difference to today's sizes with the standard error. docs/auto.md holds the table.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path

import torch

import underfire as uf
from benchmarks.auto import NETWORKS, spread
from underfire.attacks.schedule import Cosine
from underfire.runs.inputs import InputSettings

SIZES = ((0.375, 0.004), (0.375, 0.01), (0.375, 0.03), (0.19, 0.03), (0.19, 0.015), (0.19, 0.004), (0.1, 0.015))
"""First and last step in units of eps; today's first."""
CELLS = (
    "resnet20-cam-4",
    "resnet20-cam-8",
    "resnet20-grad-4",
    "resnet20-grad-8",
    "resnet20-rts-4",
    "resnet20-rts-8",
    "lite0-cam-4",
    "lite0-cam-8",
    "lite0-grad-8",
)
PHOTOGRAPHS, FIRST = 8, 60
"""Photographs, and how many before them are left to ``benchmarks.auto``."""


def chosen(network: str, data: str, count: int, first: int) -> tuple[uf.Classifier, torch.Tensor, torch.Tensor]:
    """Open the classifier, and the first ``count`` images from the ``first`` one that it gets right."""
    inputs = InputSettings.create(data=data, classifier=NETWORKS[network]).open(torch.device("cpu"))
    classifier, places = inputs.classifier, list(range(first, first + 2 * count))
    batch = inputs.data.load(classifier.image_size, classifier.channels, places, classifier.resizing)
    rows = (classifier.logits(batch.images).argmax(1) == batch.labels).nonzero().flatten()[:count]
    return classifier, batch.images[rows], batch.labels[rows]


def distances(system: uf.System, images: torch.Tensor, labels: torch.Tensor, eps: float, budget: int) -> dict[str, str]:
    """Attack with every pair of sizes, and describe the distances of the maps."""
    found: dict[tuple[float, float], torch.Tensor] = {}
    said = {}
    for first, last in SIZES:
        attack = uf.attacks.preset("auto", eps=eps, budget=budget).build(system)
        (stage,) = attack.stages
        (move,) = stage.moves
        stage = replace(stage, moves=(replace(move, size=Cosine(first * eps, last * eps)),))
        result = replace(attack, stages=(stage,))(system, images, labels, control=False, noise_draws=1, seed=0)
        found[first, last] = result.map_l1[next(iter(system.interpreters))]
        less = found[first, last] - found[SIZES[0]]
        error = float(less.std()) / math.sqrt(len(less))
        text = f"success {float(result.success.float().mean()):.3f}, map L1 {float(found[first, last].mean()):.4f}"
        said[f"{first:g}, {last:g}"] = f"{text}, {float(less.mean()):+.4f} ± {error:.4f}"
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="the CIFAR-10 training set, for resnet20")
    parser.add_argument("--photographs", type=Path, help="a folder of photographs, for lite0")
    parser.add_argument("--out", type=Path, default=Path("runs/auto"), help="where the list of photographs is written")
    parser.add_argument("--only", nargs="*", default=[""], help="beginnings of names, such as resnet20-cam")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    for cell in CELLS:
        network, interpreter, eps = cell.split("-")
        photographs = network == "lite0"
        if not cell.startswith(tuple(arguments.only)) or not (arguments.photographs if photographs else arguments.data):
            continue
        data = str(spread(arguments.photographs, arguments.out)) if photographs else arguments.data
        count = PHOTOGRAPHS if photographs else 16 if interpreter == "grad" else 32
        classifier, images, labels = chosen(network, data, count, FIRST if photographs else 0)
        system = uf.System(classifier, interpreter)
        for sizes, text in distances(system, images, labels, int(eps) / 255, 100 if photographs else 200).items():
            print(f"{cell:16} {sizes:12} {text}", flush=True)


if __name__ == "__main__":
    main()
