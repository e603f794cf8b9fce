"""The cost of smoothed rectifiers: ratios of times in one process, whose contestants take turns.

    python -m benchmarks.smooth_gradients [--pairs 5] [--only imagenet-lite0]

A contestant is what a step on a gradient map computes: forward with smoothed rectifiers, the gradient with its graph,
and the gradient of a loss of both.

(a) With slopes and curvatures computed block by block, over the same on whole tensors. The results are compared, and
    must be equal bit for bit.
(b) On networks with ReLU6: as one rectifier with two bounds, over the difference of two rectifiers.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import Subject, bare_double
from benchmarks.timing import Row, table, take_turns
from underfire import classifiers
from underfire.interpreters import Smoothing, blocks, smoothing
from underfire.interpreters.smoothing import rectify

NETWORKS = {"imagenet-lite0": 8, "cifar10-densenet": 32, "cifar10-resnet20": 128}
"""Classifiers, and how many images at once."""


def subject(name: str) -> Subject:
    """Load a network, and smooth random images with the classes that it gives them."""
    classifier = classifiers.load(name)
    assert classifier.image_size is not None
    height, width = classifier.image_size
    coarse = torch.rand(NETWORKS[name], 3, 8, 8, generator=torch.Generator().manual_seed(0))
    images = F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    logits = classifier.logits(images)
    labels = logits.argmax(1)
    about = f"{name}, {NETWORKS[name]} images of {height} x {width}"
    return Subject(name, about, classifier, images, labels, (labels + 1) % logits.shape[1])


def whole(call: Callable[[], Tensor]) -> Tensor:
    """Call with no tensor cut into blocks."""
    with mock.patch.object(blocks, "LENGTH", 2**62):
        return call()


def _of_two(input: Tensor, smoothing: Smoothing, min_val: float = 0.0, max_val: float = 6.0) -> Tensor:
    return rectify(input - min_val, smoothing) - rectify(input - max_val, smoothing) + min_val


def as_two(call: Callable[[], Tensor]) -> Tensor:
    """Call with each rectifier of two bounds as the difference of two."""
    entries = {F.relu6: (_of_two, ("input", "inplace"), False)}
    entries[F.hardtanh] = (_of_two, ("input", "min_val", "max_val", "inplace"), False)
    with mock.patch.dict(smoothing._RECTIFIERS, entries):
        return call()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", default="", help="beginning of a network's name")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    rows = []
    for name in NETWORKS:
        if not name.startswith(arguments.only):
            continue
        given = subject(name)
        view, _ = given.start("grad")

        now = functools.partial(bare_double, given, view)
        assert torch.equal(now(), whole(now)), "blocks must not change a bit"
        pairs = take_turns(now, functools.partial(whole, now), arguments.pairs)
        rows.append(Row(given.about, "slopes by block / on whole tensors", pairs))
        if name.startswith("imagenet"):
            pairs = take_turns(now, functools.partial(as_two, now), arguments.pairs)
            rows.append(Row(given.about, "ReLU6 as one rectifier / as two", pairs))
    print(table(rows))


if __name__ == "__main__":
    main()
