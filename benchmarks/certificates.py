"""Does the certificate of sparsified maps hold under an attack on it?

    python -m benchmarks.certificates [--count 200] [--threads 1] [--minutes 30]
    python -m benchmarks.certificates --network cifar10-resnet20 --data path/to/cifar10/test.parquet
    python -m benchmarks.certificates --print
    python -m benchmarks.certificates --page

Each image's map is read with 1,024 noisy copies. For each radius in L2, the image is attacked by ``undermine``, and the
map is read again with fresh noise. The certificate holds if at least as many of the top K cells stay as it says. Beside
it stands the same for the clean image read with fresh noise. The rows of each block of images go to
``docs/results/defenses/certificates-NETWORK.csv``, so that the script may be stopped and started at any time; the
table is made of these files alone.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

import underfire as uf
from benchmarks.defense_tables import ROWS, put_between, read
from benchmarks.grid_tables import markdown, shown
from underfire import metrics
from underfire.interpreters.certified import SparsifiedSmoothGrad, certify, common, undermine

INTERPRETERS = {
    "digits-resnet": SparsifiedSmoothGrad(samples=1024, noise=0.25, share=0.25, pool=2),
    "cifar10-resnet20": SparsifiedSmoothGrad(samples=1024, noise=0.25, share=0.25, pool=4),
}
"""The interpreter by network. All maps have 8 x 8 cells."""
RADII = {"digits-resnet": (0.05, 0.2), "cifar10-resnet20": (0.02,)}
BLOCK = {"digits-resnet": 20, "cifar10-resnet20": 5}
"""Images that are attacked at once."""
MARKS = ("<!-- table of benchmarks.certificates -->", "<!-- end of the table -->")


def block_of(classifier: uf.Classifier, images: Tensor, labels: Tensor, ids: list[str]) -> Iterator[dict[str, object]]:
    """Certify and attack some images, and yield one row per image and radius."""
    interpreter = INTERPRETERS[classifier.name]
    maps = interpreter.maps(classifier, images, labels)
    top, fresh = interpreter.cells(maps), replace(interpreter, seed=2)
    again = common(maps, fresh.maps(classifier, images, labels), top)
    for radius in RADII[classifier.name]:
        found = certify(maps, interpreter, radius=radius)
        attacked = undermine(classifier, interpreter, images, labels, maps, radius=radius)
        seen = common(maps, fresh.maps(classifier, attacked, labels), top)
        length = (attacked - images).flatten(1).norm(dim=1)
        for place, image in enumerate(ids):
            yield {
                "image": image,
                "radius": radius,
                "top": top,
                "certified": int(found.kept[place]),
                "attacked": int(seen[place]),
                "clean": int(again[place]),
                "l2": f"{float(length[place]):.4f}",
            }


def table() -> str:
    """Make the table, in Markdown."""

    def lines() -> Iterator[tuple[object, ...]]:
        for network, radii in RADII.items():
            rows = read(result_of(network))
            for radius in radii:
                some = [row for row in rows if float(row["radius"]) == radius]
                if not some:
                    continue
                shares = [
                    shown(metrics.interval([int(row[name]) / int(row["top"]) for row in some]))
                    for name in ("certified", "attacked", "clean")
                ]
                # A certificate of no cell holds whatever happens: such images say nothing.
                sure = [row for row in some if int(row["certified"]) > 0]
                held = metrics.rate([int(row["attacked"]) >= int(row["certified"]) for row in sure])
                yield (network, radius, len(some), len(sure), *shares, shown(held))

    head = ("network", "L2 radius", "n", "with a certificate", "certified share of the top", "left under attack")
    return markdown((*head, "left by fresh noise alone", "certificate holds, of these"), lines())


def result_of(network: str) -> Path:
    """Return the file of a network's results."""
    return ROWS / f"certificates-{network}.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="digits-resnet", choices=list(INTERPRETERS))
    parser.add_argument("--data", default="digits:test")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no block after so many minutes")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--print", action="store_true", dest="show")
    parser.add_argument("--page", action="store_true", help="write the table into docs/defenses.md")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    started = time.monotonic()
    classifier, out, size = uf.classifiers.load(asked.network), result_of(asked.network), BLOCK[asked.network]
    done = len(read(out)) // len(RADII[asked.network])
    for first in () if asked.show or asked.page else range(done, asked.count, size):
        if time.monotonic() - started > 60 * asked.minutes:
            break
        places = range(first, min(first + size, asked.count))
        batch = uf.data.open_data(asked.data).load(classifier.image_size, classifier.channels, places)
        rows = list(block_of(classifier, batch.images, batch.labels, list(batch.ids)))
        out.parent.mkdir(parents=True, exist_ok=True)
        new = not out.exists()
        with out.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerows(rows)
        print(f"{places.stop} images, {(time.monotonic() - started) / 60:.1f} minutes", flush=True)
    text = table()
    print(text)
    if asked.page:
        put_between(*MARKS, text)


if __name__ == "__main__":
    main()
