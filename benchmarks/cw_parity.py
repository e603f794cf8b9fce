"""Carlini & Wagner's L2 attack beside Foolbox's: success and size of the change, on the same images and targets.

    python -m benchmarks.cw_parity --data path/to/cifar10/test.parquet [--count 32] [--steps 200] [--rounds 9]

Both search for each image's constant from 1e-3 on, with Adam at 0.01 and no early end of a round. Ours once as it is
used, on the 8-bit grid, and once without, as Foolbox's moves. Needs Foolbox.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

import torch
from torch import Tensor

import underfire as uf
from underfire import attacks, metrics
from underfire.attacks import CW, ForeignAttack
from underfire.attacks.perturbations import Perturbation


@dataclass(frozen=True)
class Continuous(CW):
    """Without 8 bits anywhere."""

    rounded: bool = False

    def levels(self, images: Tensor, adversarial: Tensor) -> Tensor:
        return adversarial


@dataclass(frozen=True)
class Theirs(ForeignAttack):
    """Foolbox's, its images as they came."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "perturbation", Continuous())


def sizes(found: Tensor, images: Tensor, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    return logits.argmax(1) == target, (found - images).flatten(1).norm(dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    classifier = uf.classifiers.load("cifar10-resnet20")
    batch = uf.data.open_data(arguments.data).load(indices=range(arguments.count))
    right = classifier.logits(batch.images).argmax(1) == batch.labels
    images, labels = batch.images[right], batch.labels[right]
    system = uf.System(classifier, "cam")
    ours = attacks.preset("cw", steps=(0, arguments.steps)).build(system)
    ours = replace(ours, search=attacks.ConstantSearch(arguments.rounds, initial=1e-3))
    options = {"binary_search_steps": arguments.rounds, "steps": arguments.steps, "abort_early": False}
    theirs = Theirs("foolbox:L2CarliniWagnerAttack", options, eps=None)
    found: dict[str, tuple[Tensor, Tensor]] = {}
    runs: dict[str, tuple[attacks.BaseAttack, Perturbation]] = {
        "foolbox": (theirs, theirs.perturbation),
        "ours, continuous": (replace(ours, perturbation=Continuous()), Continuous()),
        "ours, at 8 bits": (ours, ours.perturbation),
    }
    benign = attacks.benign.read_benign(system, images, labels)
    view = system.view()
    for name, (attack, _) in runs.items():
        aim = attack.aim(view, benign, 0)
        outcome = attack.run(view, benign, aim, seed=0, batch_size=len(images))
        found[name] = sizes(outcome.images, images, classifier.logits(outcome.images), aim.classes)
        success, length = found[name]
        rate = metrics.rate(success)
        middle = float(length[success].median())
        print(f"{name}: success {rate.mean:.3f} [{rate.low:.3f}, {rate.high:.3f}]; median L2 {middle:.4f};",
              f"{outcome.seconds:.0f} s", flush=True)  # fmt: skip
    success, length = found["foolbox"]
    for name in list(found)[1:]:
        both = success & found[name][0]
        ratio = found[name][1][both] / length[both]
        interval = metrics.bootstrap_mean(ratio)
        print(f"{name}: L2 / Foolbox's, image by image: {interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}] "
              f"on {interval.n}")  # fmt: skip


if __name__ == "__main__":
    main()
