"""The cost of joint steps on transformers' explanations: ratios of times in one process, whose contestants take turns.

    python -m benchmarks.attention [--steps 20] [--only scenes,deit]

(a) A step of ADV2 on rollout and on Chefer's maps over a bare double backward of the same prepared network: forward,
    the gradient of the class's log-odds in the image with its graph, and the gradient of a loss of both. At most 1.2
    and 1.3.
(b) A forward and backward pass that is differentiated once, with fused attention, over the same pass with the plain
    kernel, which has a second derivative; and the memory that autograd keeps for each.

The networks are ``scenes-vit``, and timm's ``deit_tiny_patch16_224`` with random weights, if timm is installed.
"""

from __future__ import annotations

import argparse
import functools

import torch
import torch.nn.functional as F
from torch import Tensor

import underfire as uf
from benchmarks import Subject, bare_double, run_on
from benchmarks.timing import Row, table, take_turns, take_turns_in_steps
from underfire.memory import counting, in_words
from underfire.system import SystemView

BOUNDS = {"rollout": 1.2, "chefer": 1.3, "chefer-lrp": None, "attnlrp": None, "gradcam": None, "grad": None}
# Attacks fill batches to multiples of eight: with fewer images, the bare passes would have less to do.
NETWORKS = {"scenes": ("scenes-vit", 32), "deit": ("timm:deit_tiny_patch16_224:random", 8)}


def subject(name: str) -> Subject:
    """Load a network, and smooth random images with the classes that it gives them."""
    source, count = NETWORKS[name]
    classifier = uf.classifiers.load(source)
    size = classifier.image_size
    assert size is not None
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    images = F.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
    logits = classifier.logits(images)
    labels = logits.argmax(1)
    about = f"{source}, {count} images of {size[0]} x {size[1]}"
    return Subject(name, about, classifier, images, labels, (labels + 1) % logits.shape[1])


def step_row(given: Subject, interpreter: str, steps: int) -> Row:
    """(a): one joint step over the bare double backward."""
    attack, (view, benign) = given.attack("adv2", (0, steps), interpreter), given.start(interpreter)
    pairs = take_turns_in_steps(
        lambda progress: run_on(attack, view, benign, progress), lambda: bare_double(given, view)
    )
    title = f"ADV2 on {interpreter}: a step / bare double backward"
    return Row(given.about, title, pairs, at_most=BOUNDS[interpreter])


def once(given: Subject, view: SystemView, twice: bool) -> Tensor:
    """A forward pass and the gradient of the cross-entropy in the images."""
    images = given.images.clone().requires_grad_()
    loss = F.cross_entropy(view.prepared.run(images, twice=twice), given.targets, reduction="sum")
    return torch.autograd.grad(loss, images)[0]


def kernel_row(given: Subject, pairs: int) -> Row:
    """(b): the fused kernel against the plain one."""
    view, _ = given.start("grad")
    kept = []
    for twice in (False, True):
        with counting(view.prepared.module.parameters()) as counted:
            once(given, view, twice)
        kept.append(in_words(counted.peak))
    calls = [functools.partial(once, given, view, twice) for twice in (False, True)]
    title = f"forward + backward: fused ({kept[0]}) / plain kernel ({kept[1]})"
    return Row(given.about, title, take_turns(calls[0], calls[1], pairs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--only", default=",".join(NETWORKS), help="networks, with commas")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in asked.only.split(","):
        given = subject(name)
        rows += [step_row(given, interpreter, asked.steps) for interpreter in BOUNDS]
        rows.append(kernel_row(given, asked.steps))
    print(table(rows))


if __name__ == "__main__":
    main()
