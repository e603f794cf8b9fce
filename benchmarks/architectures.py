"""Which networks of torchvision and timm a joint attack runs on, under each interpreter.

    python -m benchmarks.architectures [--only timm:vit] [--threads 1] [--minutes 60]
    python -m benchmarks.architectures --print

One small network of each family, with random weights: no weights can be had without a download, and what an
interpreter needs is a matter of the architecture. Batch norms take the statistics of smooth random images, and last
layers of zeros are drawn anew, so that signals neither vanish nor stand still. ``auto`` makes two steps on two images.
A cell says if that worked; the rows say what the error was, if not.

The rows go to ``docs/results/architectures.csv`` after each network, so that the script may be stopped and started at
any time.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

import underfire as uf
from benchmarks.grid_tables import markdown
from underfire.errors import UnderfireError

ROWS = Path(__file__).parent.parent / "docs" / "results" / "architectures.csv"
COLUMNS = ("network", "parameters", "height", "interpreter", "outcome", "said")
INTERPRETERS = ("grad", "gradcam", "cam", "lrp", "attnlrp", "rollout")
SIDE = 96
"""Height and width of the images, where a network takes them; its own size otherwise."""
LONGEST = 4.0
"""Networks whose first pass of two images takes more seconds are left out."""

NAMES = (Path(__file__).parent / "architectures.txt").read_text().split()
"""The smallest network of each family, of torchvision and of timm."""


def read() -> list[dict[str, str]]:
    """Read the rows that are there."""
    if not ROWS.exists():
        return []
    with ROWS.open(newline="") as file:
        return list(csv.DictReader(file))


def images(classifier: uf.Classifier, count: int) -> Tensor:
    """Draw smooth random images with 8 bits for a classifier."""
    coarse = torch.rand(count, classifier.channels, 4, 4, generator=torch.Generator().manual_seed(0))
    drawn = torch.nn.functional.interpolate(coarse, classifier.image_size, mode="bilinear")
    return (drawn * 255).round() / 255


def opened(name: str) -> uf.Classifier:
    """Load a network with random weights, and give it a signal that arrives at its logits."""
    torch.manual_seed(0)
    try:
        classifier = uf.classifiers.load(f"{name}:random", image_size=SIDE)
        classifier.logits(images(classifier, 2))
    except UnderfireError:  # transformers and others take one size
        classifier = uf.classifiers.load(f"{name}:random")
    network = classifier.module
    for part in network.modules():
        if isinstance(part, nn.Linear) and not part.weight.any():
            nn.init.normal_(part.weight, std=0.05)
    norms = [part for part in network.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    for part in norms:
        part.momentum = None  # the mean of all batches
        part.train()
    with torch.no_grad():
        network(classifier.prepare().normalise(images(classifier, 8)))
    for part in norms:
        part.eval()
    return classifier


def tried(name: str) -> Iterator[tuple[object, ...]]:
    """Attack a network under each interpreter. Yields rows without the name."""
    try:
        classifier = opened(name)
        given = images(classifier, 2)
        begun = time.monotonic()
        labels = classifier.logits(given).argmax(1)
        seconds = time.monotonic() - begun
    except UnderfireError as error:
        yield "", "", "", "not loaded", str(error)
        return
    size = sum(part.numel() for part in classifier.module.parameters()), classifier.image_size[0]
    if seconds > LONGEST:
        yield *size, "", "slow", f"a pass of two images takes {seconds:.0f} s"
        return
    for interpreter in INTERPRETERS:
        try:
            result = uf.attack(classifier, given, labels, "auto", [interpreter], budget=2, control=False, noise_draws=1)
            spread = float(result.maps[interpreter].std())
            yield *size, interpreter, "yes" if spread > 0 else "constant", ""
        except UnderfireError as error:
            yield *size, interpreter, "no", str(error)
        except Exception as error:  # what is looked for: an error that should have been said in words
            yield *size, interpreter, "error", f"{type(error).__name__}: {error}"


def tables() -> str:
    """One row per network."""
    found: dict[str, dict[str, str]] = {}
    for row in read():
        own = found.setdefault(row["network"], {"size": row["height"], "parameters": row["parameters"]})
        own[row["interpreter"]] = row["outcome"]

    def lines() -> Iterator[tuple[object, ...]]:
        for name, row in found.items():
            if "" in row:  # no interpreter was tried
                yield name, "", "", *(row[""] for _ in INTERPRETERS)
                continue
            millions = f"{int(row['parameters']) / 1e6:.1f}"
            yield name, millions, row["size"], *(row.get(each, "") for each in INTERPRETERS)

    return markdown(("network", "million weights", "pixels", *INTERPRETERS), lines())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[""], help="beginnings of names, such as timm:vit")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no network after so many minutes")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--print", action="store_true", dest="show")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    started, known = time.monotonic(), {row["network"] for row in read()}
    for name in () if arguments.show else NAMES:
        if name in known or not name.startswith(tuple(arguments.only)):
            continue
        if time.monotonic() - started > 60 * arguments.minutes:
            break
        begun = time.monotonic()
        made = [(name, *row) for row in tried(name)]
        fresh = not ROWS.exists()
        with ROWS.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([COLUMNS] if fresh else [])
            writer.writerows(made)
        print(name, *(row[4] for row in made), f"{time.monotonic() - begun:.0f} s", flush=True)
    print(tables())


if __name__ == "__main__":
    main()
