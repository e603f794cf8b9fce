"""What MASK costs: its solver by batch size, and its steps against the bare passes that they consist of.

    python -m benchmarks.mask [--networks cifar,resnet50] [--iterations 20] [--steps 6] [--json FILE]

(a) Honest maps with so many iterations: seconds per image at the automatic batch size over those at 1, 8 and 32. Each
    batch size is timed on one batch of that size. Batches are filled up to multiples of eight, so that a single image
    costs as much as eight, and where eight is the automatic size, the row beside it tells the noise.
(b) A step of the solver over a bare forward and backward pass of the same batch through the same network.
(c) A joint step of the attack over its count in bare passes: 5 forward and backward, 4 with a second-order backward, 10
    forward. Solutions before the first step and after the last are left out: (a) and (b) are about those.

A ratio is the first contestant's time over the second's, which take turns: the median over pairs, and the range.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

import underfire as uf
from benchmarks import Subject, bare_gradient, load_subject, run_on
from benchmarks.timing import Pairs, Row, table, take_turns, take_turns_in_steps
from underfire import randomness
from underfire.attacks.benign import read_benign
from underfire.interpreters import MASK
from underfire.interpreters.mask_solver import jitter, start, step
from underfire.interpreters.smoothing import TwiceDifferentiable
from underfire.memory import suited_size
from underfire.system import SystemView


def batch_rows(subject: Subject, interpreter: MASK, sizes: list[int], pairs: int) -> Iterator[Row]:
    """(a): the automatic batch size against each of ``sizes``, per image."""
    height, width = subject.images.shape[2:]
    automatic = suited_size(height, width, subject.classifier.device)

    def solving(count: int) -> Callable[[], Tensor]:
        chosen = torch.arange(count) % len(subject.images)
        images, labels = subject.images[chosen], subject.labels[chosen]
        return lambda: interpreter.maps(subject.classifier, images, labels, batch_size=count)

    for size in sizes:
        found = take_turns(solving(automatic), solving(size), pairs)
        each = Pairs([t / automatic for t in found.first], [t / size for t in found.second])
        what = f"maps, {interpreter.iterations} iterations, per image: batch of {automatic} (automatic) / {size}"
        yield Row(subject.about, what, each, at_most=1.05)


def solver_row(subject: Subject, interpreter: MASK, pairs: int) -> Row:
    """(b): the honest network, as maps and verdicts have it."""
    classifier, images, classes = subject.classifier, subject.images, subject.labels
    problem = interpreter.problem(images)
    layers = problem.layers(images)
    offsets = jitter(problem, 0, randomness.identify(images), "solve", 0, 1)[:, 0]
    state = start(problem, layers)

    def bare() -> Tensor:
        variable = images.clone().requires_grad_()
        chosen = classifier.run(variable).softmax(1).gather(1, classes.unsqueeze(1))
        return torch.autograd.grad(chosen.sum(), variable)[0]

    with classifier.evaluating():
        found = take_turns(lambda: step(problem, classifier.run, layers, classes, offsets, state), bare, pairs)
    return Row(subject.about, "a solver step / bare forward + backward", found, at_most=1.15)


def bare_second(subject: Subject, view: SystemView) -> Tensor:
    """Forward, the gradient of the target's probability with its graph, and the gradient of a function of that."""
    images = subject.images.clone().requires_grad_()
    with TwiceDifferentiable():
        chosen = view.prepared.run(images).softmax(1).gather(1, subject.targets.unsqueeze(1))
        (gradient,) = torch.autograd.grad(chosen.sum(), images, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), images)[0]


def attack_row(subject: Subject, interpreter: MASK, steps: int) -> Row:
    """(c): joint steps, each beside the bare passes that it counts."""
    system = uf.System(subject.classifier, interpreter)
    view, benign = system.view(), read_benign(system, subject.images, subject.labels)
    attack = replace(subject.attack("adv2", (0, steps), "mask"), early_stop=None)

    def bare() -> None:
        for _ in range(1 + interpreter.free_steps):
            bare_gradient(subject, view)
        for _ in range(interpreter.unrolled_steps):
            bare_second(subject, view)
        with torch.no_grad():
            for _ in range(10):
                view.logits(subject.images)

    found = take_turns_in_steps(lambda progress: run_on(attack, view, benign, progress), bare)
    return Row(subject.about, f"ADV2 on mask ({interpreter.view_memory}): a joint step / counted", found, at_most=1.15)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="cifar,resnet50")
    parser.add_argument("--only", default="a,b,c", help="which of a, b, c")
    parser.add_argument("--iterations", type=int, default=20, help="of the solver in (a)")
    parser.add_argument("--sizes", default="1,8,32", help="batch sizes in (a)")
    parser.add_argument("--pairs", type=int, default=3, help="in (a)")
    parser.add_argument("--steps", type=int, default=6, help="joint steps in (c), and pairs in (b)")
    parser.add_argument("--batch", type=int, help="images at once in (b) and (c)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    rows: list[Row] = []
    for name in arguments.networks.split(","):
        subject, only = load_subject(name, arguments.batch), arguments.only.split(",")
        if "a" in only:
            sizes = [int(size) for size in arguments.sizes.split(",")]
            rows += batch_rows(subject, MASK(iterations=arguments.iterations), sizes, arguments.pairs)
        if "b" in only:
            rows.append(solver_row(subject, MASK(), arguments.steps))
        if "c" in only:
            rows.append(attack_row(subject, MASK(iterations=2), arguments.steps))
        print(table(rows), file=sys.stderr, flush=True)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n\n{table(rows)}")
    if arguments.json:
        arguments.json.write_text(json.dumps([row.values() for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
