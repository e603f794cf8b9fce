"""Which smoothing of rectifiers makes the strongest joint attack on Grad: ADV2 with each, on the same images.

    python -m benchmarks.smoothings --data path/to/cifar10/test.parquet --out runs/smoothings.json [--threads 1]

Each smoothing is one line of the file, and is not measured again. Differences are paired per image, against the one of
the papers' experiments; the verdict is always the exact network's.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

import underfire as uf
from underfire.interpreters import Smoothing
from underfire.runs.selection import select

SMOOTHINGS = {
    "published, width 1e-4": Smoothing(),
    "published, width 1e-3": Smoothing("published", 1e-3),
    "published, width 1e-2": Smoothing("published", 1e-2),
    **{f"sigmoid, width {width}": Smoothing("sigmoid", width) for width in (0.01, 0.03, 0.1, 0.3)},
    **{f"softplus, width {width}": Smoothing("softplus", width) for width in (0.01, 0.03, 0.1, 0.3)},
}


def measure(name: str, arguments: argparse.Namespace) -> dict[str, list[float]]:
    classifier = uf.classifiers.load(arguments.classifier)
    data = uf.data.open_data(arguments.data)
    chosen = select(data, classifier, arguments.count)
    indices = [place for place, attacked in zip(chosen.considered, chosen.attacked, strict=True) if attacked]
    batch = data.load(classifier.image_size, classifier.channels, indices)
    system = uf.System(classifier, uf.interpreters.Grad(smoothing=SMOOTHINGS[name]))
    attack = uf.attacks.preset("adv2", eps=8 / 255, steps=(40, 160))
    result = attack(system, batch.images, batch.labels, ids=batch.ids, seed=0, control=False)
    return {"success": result.success.float().tolist(), "map_l1": result.map_l1["grad"].tolist()}


def table(found: dict[str, dict[str, list[float]]]) -> str:
    first = next(iter(SMOOTHINGS))
    lines = ["| smoothing | n | success | map L1 | map L1 less the first's, paired |", "|---|---|---|---|---|"]
    for name, values in found.items():
        distance = np.array(values["map_l1"])
        mean, gap = (
            uf.metrics.bootstrap_mean(distance),
            uf.metrics.paired_difference(distance, np.array(found[first]["map_l1"])),
        )
        lines.append(
            f"| {name} | {len(distance)} | {np.mean(values['success']):.3f} | {mean.mean:.4f} [{mean.low:.4f}, "
            f"{mean.high:.4f}] | {gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}] |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="test.parquet")
    parser.add_argument("--classifier", default="cifar10-resnet20")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    found = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    for name in SMOOTHINGS:
        if name not in found:
            found[name] = measure(name, arguments)
            arguments.out.write_text(json.dumps(found, indent=1))
    print(table(found))


if __name__ == "__main__":
    main()
