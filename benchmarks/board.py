"""The board: audits of the networks that ship, as files from which the tables of ``docs/board.md`` are made.

    python -m benchmarks.board --cifar cifar10/test.parquet --photographs FOLDER --out runs/board [--only resnet20]
    python -m benchmarks.board --add audits/mine
    python -m benchmarks.board --page

The first form audits one network after the other; an audit that was stopped goes on, and one that is on the board is
not made again. ``--seed 1`` makes the same audits with other random numbers, and ``--tenfold`` attacks the images that
an audit calls robust with ten times its budget. The second form adds the audit of any network, which
``underfire audit --out audits/mine`` made. ``--page`` writes the tables.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

import underfire as uf
from benchmarks import board_tables
from benchmarks.board_tables import ROWS
from underfire.attacks.benign import read_benign
from underfire.attacks.limits import Limit
from underfire.attacks.perturbations import parse_eps
from underfire.audits import ENSEMBLES, Audit, Member
from underfire.audits.ensemble import PREDICTION, distinct
from underfire.audits.running import Progress, Runner
from underfire.audits.writing import record
from underfire.cli.lines import Lines
from underfire.data.sampling import evenly_spaced
from underfire.runs.inputs import InputSettings

EPS = ("2/255", "4/255", "8/255")


@dataclass(frozen=True)
class Entry:
    """One audit of the board: a classifier on some images, with some interpreters."""

    name: str
    classifier: str
    data: str
    interpreters: tuple[str, ...] = ("cam", "grad")
    count: int = 64
    eps: tuple[str, ...] = EPS


ENTRIES = (
    Entry("resnet20", "cifar10-resnet20", "cifar"),
    Entry("robust", "cifar10-resnet20-robust", "cifar", ("cam",)),
    Entry("adversarial", "cifar10-resnet20-adversarial", "cifar", ("cam",)),
    Entry("grad-robust", "cifar10-resnet20-robust", "cifar", ("grad",)),
    Entry("grad-adversarial", "cifar10-resnet20-adversarial", "cifar", ("grad",)),
    Entry("lite0", "imagenet-lite0", "photographs", ("cam",)),
    Entry("grad-lite0", "imagenet-lite0", "photographs", ("grad",)),
    Entry("densenet", "cifar10-densenet", "cifar"),
    Entry("scenes-resnet", "scenes-resnet", "scenes:test", count=32),
    Entry("scenes-vit", "scenes-vit", "scenes:test", ("grad", "rollout", "chefer"), count=32),
)


def images_of(entry: Entry, sources: dict[str, str]) -> tuple[uf.Classifier, Any, Any]:
    """Open the classifier, its images and, if they are known, the masks of their objects."""
    settings = InputSettings.create(data=sources.get(entry.data, entry.data), classifier=entry.classifier)
    inputs = settings.open(torch.device("cpu"))
    classifier, data = inputs.classifier, inputs.data
    chosen = evenly_spaced(len(data), entry.count)
    batch = data.load(classifier.image_size, classifier.channels, chosen, classifier.resizing)
    size = classifier.image_size
    return classifier, batch, None if size is None else data.masks(size, chosen, classifier.resizing)


def make(entry: Entry, sources: dict[str, str], out: Path, seed: int, tenfold: bool) -> None:
    """Make one audit, and put it on the board."""
    name = entry.name + (f"-seed-{seed}" if seed else "")
    file = ROWS / f"{name}.json"
    if file.exists() and not tenfold:
        return
    folder = out / name
    started = time.monotonic()
    classifier, batch, masks = images_of(entry, sources)
    system = uf.System(classifier, list(entry.interpreters))
    found = uf.audit(
        system,
        batch.images,
        batch.labels,
        eps=entry.eps,
        ids=batch.ids,
        seed=seed,
        masks=masks,
        folder=folder,
        progress=telling(),
    )
    if not file.exists():
        add(record(found) | {"data": entry.data, "seconds": round(time.monotonic() - started)}, name)
    if tenfold:
        rows: list[dict[str, Any]] = []
        for eps in reversed(entry.eps):
            for each in entry.interpreters:
                rows += try_again(system, found, each, parse_eps(eps), folder)
                write(ROWS / "tenfold" / f"{name}.json", rows)


def telling() -> Progress:
    """Return what prints a line now and then: an audit tells of each step."""
    lines = Lines(Console())
    return lambda words, share: lines.say(f"  {share:4.0%} {words}")


def longer() -> tuple[Member, ...]:
    """Make the joint attacks and the search of ``audit-1`` with ten times their steps, and one from random starts."""
    members = [
        Member(f"{each.name}-tenfold", each.kind, 10 * each.steps, each.rank, each.goes_on)
        for each in ENSEMBLES["audit-1"]
        if each.kind not in PREDICTION
    ]
    return (*members, Member("auto-restart-tenfold", "auto", 2000, random_start=True))


@dataclass
class Longer(Runner):
    """Attacks on the images that an audit calls robust. Images leave at the audit's limit, not at that of these images.

    Args:
        limit: the audit's limit of a kept map.
    """

    limit: float = 0.0

    def leaves(self, limit: Limit) -> float:
        return self.limit

    def _limit(self, name: str, eps: float) -> Limit:
        own = super()._limit(name, eps)
        return replace(own, values=np.full(len(own.values), self.limit))


def try_again(system: uf.System, found: Audit, interpreter: str, eps: float, folder: Path) -> list[dict[str, Any]]:
    """Attack the right images on which the audit found no kept map, and say how many fall to ten times its budget."""
    result = found.of(interpreter, eps)
    places = np.flatnonzero(result.correct & ~result.fooled)
    row = {"interpreter": interpreter, "eps": eps, "images": int(result.correct.sum()), "robust": len(places)}
    if not len(places):
        return [row | {"fallen": 0, "by": []}]
    part, keep = system.only((interpreter,)), torch.from_numpy(places)
    labels = torch.tensor(found.labels)[keep]
    benign = read_benign(part, found.clean[keep], labels, [found.ids[place] for place in places])
    more = folder / f"tenfold-{interpreter}-{eps:.4f}"
    more.mkdir(parents=True, exist_ok=True)
    again = Longer(
        part,
        benign,
        distinct(longer(), benign.logits.shape[1]),
        found.seed + 100,
        None,
        None,
        more,
        telling(),
        result.limit.mean,
    )
    (longest,) = again.run([eps])
    fallen = longest.wrong & (longest.nearest < result.limit.mean)
    by = [name for name, fell in zip(longest.kept_by, fallen.tolist(), strict=True) if fell]
    return [row | {"fallen": int(fallen.sum()), "by": sorted(by)}]


def add(found: dict[str, Any], name: str) -> None:
    """Put the record of an audit on the board. A row that is there stays."""
    if (ROWS / f"{name}.json").exists():
        raise SystemExit(f"{ROWS / name}.json is there already: rename the folder, or remove the row")
    write(ROWS / f"{name}.json", found)
    print(f"{ROWS / name}.json written", flush=True)


def write(path: Path, content: Any) -> None:
    """Write values as JSON, one image in each line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, allow_nan=False)
    path.write_text(board_tables.in_lines(text) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar", default="test.parquet", help="CIFAR-10's test images")
    parser.add_argument("--photographs", default="photographs", help="a folder with one subfolder for each class")
    parser.add_argument("--out", type=Path, default=Path("runs/board"))
    parser.add_argument("--only", nargs="*", default=[""], help="beginnings of names, such as resnet20")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tenfold", action="store_true")
    parser.add_argument("--add", type=Path, help="the folder of an audit")
    parser.add_argument("--page", action="store_true", help="write the tables into docs/board.md")
    parser.add_argument("--print", action="store_true", dest="show")
    arguments = parser.parse_args()
    if arguments.add is not None:
        add(json.loads((arguments.add / "audit.json").read_text(encoding="utf-8")), arguments.add.resolve().name)
    elif not (arguments.page or arguments.show):
        torch.set_num_threads(1)
        sources = {"cifar": arguments.cifar, "photographs": arguments.photographs}
        for entry in ENTRIES:
            if entry.name.startswith(tuple(arguments.only)):
                print(entry.name, flush=True)
                make(entry, sources, arguments.out, arguments.seed, arguments.tenfold)
    if arguments.page:
        board_tables.write_page()
    print(board_tables.tables())


if __name__ == "__main__":
    main()
