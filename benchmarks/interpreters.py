"""Are the interpreters good ones? Keeping and deleting what a map finds important, and where maps point.

    python -m benchmarks.interpreters --data path/to/cifar10/test.parquet [--classifier cifar10-resnet20] [--count 500]
    python -m benchmarks.interpreters --data scenes:test --classifier scenes-resnet [--json FILE]

On the first images that the classifier gets right, with their own class's maps, brought to the image's size
bilinearly: the share of images that keep their class where only the most important half of the pixels is left
("kept"), and where that half is taken away ("deleted"). Beside each stands the difference, image by image, to a
random half of the same make: a random map of the interpreter's own resolution, brought to size likewise (pixels drawn
one by one would be noise, which no network was made for). What is taken away becomes the image's mean colour, or with
``--fill blur`` the blurred image. Where the data knows the object's true mask: the share of maps whose maximum lies
inside it (the pointing game), the share of their mass there, and the mask's share of the image, which is what chance
gives; and once more the pointing game with the tolerance of its authors, 15 pixels of 500. Intervals are 95 %
intervals over images: Wilson's for shares, the bootstrap for the rest.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import underfire as uf
from underfire import metrics, randomness
from underfire.errors import InterpreterError
from underfire.interpreters.rts.replacing import BLUR, blurred
from underfire.metrics import Interval
from underfire.runs.selection import select

FILLS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda images: images.mean((2, 3), keepdim=True).expand_as(images),
    "blur": lambda images: blurred(images, BLUR * min(images.shape[2:])),
}
TOLERANCE = 15 / 500
"""Of the pointing game (Zhang et al. 2018), as a share of the image's side."""


@dataclass(frozen=True)
class Found:
    """One interpreter's measures; ``why`` where it cannot be used. Differences are to the random half."""

    interpreter: str
    kept: Interval | None = None
    kept_gain: Interval | None = None
    deleted: Interval | None = None
    deleted_gain: Interval | None = None
    peak: Interval | None = None
    near: Interval | None = None
    mass: Interval | None = None
    area: float | None = None
    why: str = ""

    def markdown(self) -> str:
        if self.why:
            return f"| {self.interpreter} | {self.why} |" + " |" * 7
        values = (self.kept, self.kept_gain, self.deleted, self.deleted_gain, self.peak, self.near, self.mass)
        cells = [shown(value) for value in values]
        return f"| {' | '.join([self.interpreter, *cells, '' if self.area is None else f'{self.area:.3f}'])} |"


def shown(value: Interval | None) -> str:
    return "" if value is None else f"{value.mean:.3f} [{value.low:.3f}, {value.high:.3f}]"


class Images:
    """The images that are looked at, with what the classifier says about parts of them."""

    def __init__(self, classifier: uf.Classifier, data: uf.data.ImageData, count: int, fill: str) -> None:
        self.classifier = classifier
        selection = select(data, classifier, count)
        chosen = [i for i, right in zip(selection.considered, selection.correct, strict=True) if right]
        batch = data.load(classifier.image_size, classifier.channels, chosen, classifier.resizing)
        self.images, self.labels, self.ids = batch.images, batch.labels, randomness.identify(batch.images, batch.ids)
        self.size = (batch.images.shape[2], batch.images.shape[3])
        self.fill = FILLS[fill](batch.images)
        self.masks = data.masks(self.size, chosen, classifier.resizing)

    def right(self, inside: Tensor) -> Tensor:
        """bool N: is the class still seen where the pixels outside of ``inside``, bool N x H x W, are taken away?"""
        composed = torch.where(inside.unsqueeze(1), self.images, self.fill)
        return self.classifier.logits(composed).argmax(1) == self.labels

    def half(self, maps: Tensor, share: float) -> Tensor:
        large = F.interpolate(maps.unsqueeze(1), self.size, mode="bilinear", align_corners=False).squeeze(1)
        return metrics.most_important(large, share)


def measure(images: Images, name: str, share: float) -> Found:
    try:
        maps = uf.interpreters.create(name).maps(images.classifier, images.images, images.labels, ids=images.ids)
    except InterpreterError as error:
        return Found(name, why=str(error).split(":")[0])
    drawn = randomness.uniform(0, images.ids, "random maps", 0, maps.shape[1:])
    inside, random = images.half(maps, share), images.half(drawn, share)
    kept, random_kept = images.right(inside), images.right(random)
    deleted, random_deleted = images.right(~inside), images.right(~random)
    found = Found(
        name,
        metrics.rate(kept),
        metrics.paired_difference(kept, random_kept),
        metrics.rate(deleted),
        metrics.paired_difference(deleted, random_deleted),
    )
    if images.masks is None:
        return found
    tolerance = TOLERANCE * min(images.size)
    return Found(
        **{field: getattr(found, field) for field in ("interpreter", "kept", "kept_gain", "deleted", "deleted_gain")},
        peak=metrics.rate(metrics.peak_inside(maps, images.masks)),
        near=metrics.rate(metrics.peak_inside(maps, images.masks, tolerance)),
        mass=metrics.bootstrap_mean(metrics.mass_inside(maps, images.masks)),
        area=float(images.masks.float().mean()),
    )


def measure_all(images: Images, names: list[str], share: float) -> Iterator[Found]:
    for name in names:
        yield measure(images, name, share)


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--data", required=True)
    parser.add_argument("--classifier", default="cifar10-resnet20")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--share", type=float, default=0.5, help="of the pixels that are kept, or deleted")
    parser.add_argument("--fill", choices=list(FILLS), default="mean")
    parser.add_argument("--only", nargs="*", default=list(uf.interpreters.REGISTRY), help="interpreters")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    classifier = uf.classifiers.load(arguments.classifier)
    images = Images(classifier, uf.data.open_data(arguments.data), arguments.count, arguments.fill)
    print(
        f"{arguments.classifier}, {len(images.images)} images, {arguments.share:.0%} of the pixels, {arguments.fill}\n"
    )
    print(
        "| interpreter | kept | - random | deleted | - random | peak on object | within 3 % | mass on object | object |"
    )
    print("|" + "---|" * 9, flush=True)
    found = []
    for row in measure_all(images, arguments.only, arguments.share):
        found.append(row)
        print(row.markdown(), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
