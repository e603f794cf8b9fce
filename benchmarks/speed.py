"""What an attack costs, as ratios of times in one process whose contestants take turns.

    python -m benchmarks.speed [--quick] [--json FILE] [--only a,b,c,d,e] [--networks cifar,resnet50]

(a) A step of PGD and of ADV2 on CAM, and (c) of ADV2 on Grad, against the bare passes through the same
    prepared network: forward and input gradient; for Grad forward, gradient with a graph, and the gradient
    of that. What comes before the first step and after the last is left out.
(b) Our whole PGD call, preparation of the network included and judging left out, against the same attack
    (targets, steps, eps 8/255, step size 1/255, no random start) of other libraries, which run the original
    network. "Frozen": with ``requires_grad_(False)`` on its weights; as networks are loaded, Foolbox and ART
    compute their gradients too. ART's call includes an evaluation of its own, which cannot be turned off.
    Success is the original classifier's verdict on the images rounded to 8 bits; with random weights it says
    nothing about attacks. We return the best iterate, the others the last.

(d) A step of ADV2 on RTS against one of ADV2 on CAM, on the same images: what the masker costs where its encoder is the
    classifier. Whole calls of so many steps, for networks that a masker ships for.

(e) A step of ADV2 on CAM by C&W and by StAdv, as in (a).

A ratio is the first contestant's time over the second's: the median over pairs, and the range. The other
libraries are optional: ``make setup`` installs them.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks import EPS, Normalised, Subject, bare_double, bare_gradient, load_subject, run_on
from benchmarks.timing import Row, table, take_turns, take_turns_in_steps
from underfire.attacks.benign import read_benign
from underfire.attacks.rows import ALPHA
from underfire.errors import UnderfireError, UnderfireWarning

Call = Callable[[], Tensor]


@dataclass(frozen=True)
class Effort:
    """Steps in (a) and (c), each a pair of times but for the first two; steps and pairs in (b)."""

    steps: int
    peer_steps: int
    pairs: int
    bf16_steps: int = 2


FULL = {"cifar": Effort(60, 40, 5), "resnet50": Effort(14, 6, 2, 1)}
QUICK = {"cifar": Effort(10, 5, 2), "resnet50": Effort(5, 2, 1, 1)}


def step_row(
    subject: Subject, effort: Effort, name: str, interpreter: str, bound: float, perturbation: str | None = None
) -> Row:
    """One step of an attack over the bare passes that it consists of."""
    attack = subject.attack(name, (0, effort.steps), interpreter, perturbation)
    view, benign = subject.start(interpreter)
    bare = bare_double if interpreter == "grad" else bare_gradient
    pairs = take_turns_in_steps(
        lambda progress: run_on(attack, view, benign, progress),
        lambda: bare(subject, view),
    )
    built_on = "" if perturbation is None else f" by {perturbation}"
    title = "PGD" if name == "bim" else f"ADV2 on {interpreter}{built_on}"
    return Row(subject.about, f"{title}: a step / bare", pairs, at_most=bound)


def rts_row(subject: Subject, effort: Effort, bound: float) -> Row:
    """As many joint steps on RTS as on CAM, from views that are made beforehand."""
    title, calls = "ADV2 on rts / ADV2 on cam: a step", []
    try:
        for name in ("rts", "cam"):
            attack, (view, benign) = subject.attack("adv2", (0, effort.peer_steps), name), subject.start(name)
            calls.append(functools.partial(run_on, attack, view, benign))
    except UnderfireError:
        return Row(subject.about, title, note="no masker ships for it")
    return Row(subject.about, title, take_turns(*calls, effort.pairs), at_most=bound)


class Ours:
    """Our PGD; ``preparing`` collects the seconds that each call spent on preparing the network."""

    def __init__(self, subject: Subject, steps: int, precision: str = "float32") -> None:
        self.system, self.attack, self.precision = (
            subject.system(),
            subject.attack("bim", (0, steps)),
            precision,
        )
        self.benign = read_benign(self.system, subject.images, subject.labels)
        self.preparing: list[float] = []

    def __call__(self) -> Tensor:
        started = time.perf_counter()
        view = self.system.view(self.precision)
        self.preparing.append(time.perf_counter() - started)
        return run_on(self.attack, view, self.benign).images


def with_torchattacks(subject: Subject, steps: int, frozen: bool) -> Call:
    import torchattacks

    network = Normalised(subject.classifier, frozen).to(subject.images.device)
    attack = torchattacks.PGD(network, eps=EPS, alpha=ALPHA, steps=steps, random_start=False)
    attack.set_mode_targeted_by_label(quiet=True)
    return lambda: attack(subject.images, subject.targets)


def with_foolbox(subject: Subject, steps: int, frozen: bool) -> Call:
    import foolbox

    device = subject.images.device
    model = foolbox.PyTorchModel(Normalised(subject.classifier, frozen).to(device), bounds=(0, 1), device=device)
    attack = foolbox.attacks.LinfPGD(abs_stepsize=ALPHA, steps=steps, random_start=False)
    criterion = foolbox.criteria.TargetedMisclassification(subject.targets)
    return lambda: attack.run(model, subject.images, criterion, epsilon=EPS)


def with_art(subject: Subject, steps: int, frozen: bool) -> Call:
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    network, loss, count = Normalised(subject.classifier, frozen), nn.CrossEntropyLoss(), len(subject.images)
    classes = subject.classifier.logits(subject.images[:1]).shape[1]
    shape = tuple(subject.images.shape[1:])
    where = "gpu" if subject.images.is_cuda else "cpu"
    estimator = PyTorchClassifier(network, loss, shape, classes, clip_values=(0.0, 1.0), device_type=where)
    options = {"eps": EPS, "eps_step": ALPHA, "max_iter": steps, "batch_size": count}
    attack = ProjectedGradientDescentPyTorch(estimator, **options, targeted=True, verbose=False)
    images, targets = subject.images.cpu().numpy(), subject.targets.cpu().numpy()
    return lambda: torch.from_numpy(attack.generate(images, targets))


PEERS = {"torchattacks": with_torchattacks, "Foolbox": with_foolbox, "ART": with_art}


def contest(subject: Subject, name: str, build: Callable[[], Call], own: Ours, pairs: int, bound: float | None) -> Row:
    """Another's call over our own, with the success of each; a row of words where it cannot run."""
    try:
        other, images = build(), {}
        measured = take_turns(lambda: images.update(other=other()), lambda: images.update(ours=own()), pairs)
    except (ImportError, UnderfireError) as error:
        note = "not installed" if isinstance(error, ImportError) else "refused"
        return Row(subject.about, name, note=f"{note}: {error}")
    reached = {who: subject.success(found) for who, found in images.items()}
    preparing, times = statistics.median(own.preparing), measured.summary()
    rest = times["first_seconds"] / (times["second_seconds"] - preparing)
    note = f"ours spends {preparing:.2f} s on preparing; {rest:.2f} without" if bound else ""
    return Row(subject.about, name, measured, at_least=bound, success=reached, note=note)


def peer_rows(subject: Subject, effort: Effort) -> Iterator[Row]:
    """(b): every library, with weights as they are loaded and frozen; bfloat16 on the large network."""
    own, steps = Ours(subject, effort.peer_steps), effort.peer_steps
    for (name, build), frozen in itertools.product(PEERS.items(), (False, True)):
        title = f"PGD, {steps} steps: {name}{', frozen' if frozen else ''} / ours"
        peer = functools.partial(build, subject, steps, frozen)
        yield contest(subject, title, peer, own, effort.pairs, 1.2)
    if subject.name == "resnet50":
        yield from bf16_rows(subject, effort)


def bf16_rows(subject: Subject, effort: Effort) -> Iterator[Row]:
    """(b) in bfloat16: ours against every library, which have float32; where the processor has no such instructions,
    only against our own float32, since all else would take very long and say the same."""
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        own = Ours(subject, effort.peer_steps, "bf16")
        for name, build in PEERS.items():
            title = f"PGD, {effort.peer_steps} steps: {name} / ours in bf16"
            yield contest(subject, title, functools.partial(build, subject, effort.peer_steps, False), own, 1, 2.0)
        return
    steps = effort.bf16_steps
    title = f"PGD, {steps} steps: ours, bf16 / float32"
    found = contest(subject, title, functools.partial(Ours, subject, steps, "bf16"), Ours(subject, steps), 1, None)
    found.note += "this processor has no bfloat16 instructions"
    yield found


def measure(subject: Subject, effort: Effort, only: list[str]) -> Iterator[Row]:
    if "a" in only:
        yield step_row(subject, effort, "bim", "cam", 1.05)
        yield step_row(subject, effort, "adv2", "cam", 1.10)
    if "c" in only:
        yield step_row(subject, effort, "adv2", "grad", 1.10)
    if "e" in only:
        yield step_row(subject, effort, "adv2", "cam", 1.15, "cw")
        yield step_row(subject, effort, "adv2", "cam", 1.25, "stadv")
    if "d" in only:
        yield rts_row(subject, effort, 1.35)
    if "b" in only:
        yield from peer_rows(subject, effort)


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--quick", action="store_true", help="few steps and pairs: does it run, not how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    parser.add_argument("--only", default="a,b,c,d,e", help="which of a, b, c, d, e")
    parser.add_argument("--networks", default=",".join(FULL), help="which networks")
    parser.add_argument("--batch", type=int, help="images at once; 128 for cifar and 8 for resnet50 if left out")
    parser.add_argument("--data", help="images, as for `underfire attack`; random ones otherwise")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore", UnderfireWarning)
    rows = []
    for name in arguments.networks.split(","):
        subject = load_subject(name, arguments.batch, arguments.data)
        for row in measure(subject, (QUICK if arguments.quick else FULL)[name], arguments.only.split(",")):
            rows.append(row)
            print(row.markdown(), file=sys.stderr, flush=True)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n\n{table(rows)}")
    if arguments.json:
        arguments.json.write_text(json.dumps([row.values() for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
