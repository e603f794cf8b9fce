"""Show that a change of the code changed no attacked image: hash every judged image of many small runs, and compare.

    python -m benchmarks.same_images --data path/to/cifar10/test.parquet --out runs/before     # with the old code
    python -m benchmarks.same_images --data path/to/cifar10/test.parquet --out runs/after      # with the new code
    python -m benchmarks.same_images --compare runs/before runs/after

Each cell is one ``underfire attack`` on 16 images (4 with MASK on CIFAR-10) with one thread. It is skipped if its
hashes are there already, so the script can be stopped and started again. The commands use only options that both
versions know. Bits depend on the machine and on the build of torch: run both sides on the same ones.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

STEPS = "20,80"


def cells(data: str) -> Iterator[tuple[str, list[str]]]:
    """Name and options of each run."""
    networks = {"cifar10-resnet20": data, "cifar10-densenet": data, "scenes-resnet": "scenes:test"}
    for network, source in networks.items():
        on = ["--data", source, "--classifier", network, "--steps", STEPS]
        for interpreter in ("cam", "grad", "gradcam", "rts"):
            eps = "16/255" if source == "scenes:test" else "8/255"
            yield f"{network}-{interpreter}", [*on, "--interpreter", interpreter, "--eps", eps, "--count", "16"]
    resnet = ["--data", data, "--classifier", "cifar10-resnet20", "--count", "16"]
    short = [*resnet, "--steps", STEPS, "--eps", "8/255"]
    yield "cifar10-resnet20-cam-full", [*resnet, "--interpreter", "cam", "--eps", "8/255"]
    yield "cifar10-resnet20-grad-full", [*resnet, "--interpreter", "grad", "--eps", "8/255"]
    few = ["--data", data, "--classifier", "cifar10-resnet20", "--eps", "8/255", "--interpreter", "mask"]
    yield "cifar10-resnet20-mask", [*few, "--count", "4", "--steps", "10,30"]
    yield (
        "scenes-resnet-mask-quick",
        [
            *("--data", "scenes:test", "--classifier", "scenes-resnet", "--interpreter", "mask:quick"),
            *("--count", "16", "--steps", "10,30", "--eps", "16/255"),
        ],
    )
    for interpreter in ("smoothgrad", "ig", "gradcam++", "layercam", "lrp", "lrp:z+"):
        yield f"cifar10-resnet20-{interpreter}", [*short, "--interpreter", interpreter]
    yield "cifar10-resnet20-cam+grad+rts", [*short, "--interpreter", "cam,grad,rts"]
    for attack in ("advedge", "advedge+", "pgd", "bim"):
        yield f"cifar10-resnet20-cam-{attack}", [*short, "--attack", attack]
    free = [*resnet, "--steps", STEPS]
    for perturbation in ("cw", "stadv"):
        for interpreter in ("cam", "grad", "rts"):
            options = [*free, "--interpreter", interpreter, "--perturbation", perturbation]
            yield f"cifar10-resnet20-{interpreter}-by-{perturbation}", options
        yield f"cifar10-resnet20-cam-{perturbation}", [*free, "--attack", perturbation]
        yield (
            f"cifar10-resnet20-cam-advedge+-by-{perturbation}",
            [*free, "--attack", "advedge+", "--perturbation", perturbation, "--noise-eps", "8/255"],
        )
    yield "cifar10-resnet20-cam-by-cw-search", [*free, "--perturbation", "cw", "--search", "2"]
    for rule in ("patch", "class"):
        yield f"cifar10-resnet20-cam-{rule}", [*short, "--target-map", rule]
    yield "cifar10-resnet20-cam-untargeted", [*short, "--untargeted"]
    yield "cifar10-resnet20-cam-least-likely", [*short, "--target", "least-likely"]
    for interpreter in ("cam", "grad", "rts"):
        yield (
            f"cifar10-resnet20-{interpreter}-published",
            [*short, "--interpreter", interpreter, "--preset", "published"],
        )
    yield (
        "cifar10-resnet20-cam-published-advedge",
        [*short, "--attack", "advedge", "--preset", "published"],
    )


def hashes(folder: Path) -> dict[str, dict[str, str]]:
    """SHA-256 of every judged image of a run, by attack or control and by file name."""
    found: dict[str, dict[str, str]] = {}
    for file in sorted((folder / "images").rglob("*.png")):
        found.setdefault(file.parent.name, {})[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def make(data: str, out: Path, only: str | None) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name, options in cells(data):
        note = out / f"{name}.json"
        if note.exists() or (only is not None and only not in name):
            continue
        folder = out / "run"
        shutil.rmtree(folder, ignore_errors=True)
        command = [
            sys.executable,
            "-m",
            "underfire.cli",
            "attack",
            *options,
            "--out",
            str(folder),
            "--no-page",
            "--json",
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        note.write_text(json.dumps(hashes(folder), indent=1) + "\n")
        shutil.rmtree(folder)
        print(name, flush=True)


def compare(before: Path, after: Path) -> int:
    """Print a line per cell; return how many differ. The prediction-only control may have another name."""
    differing = 0
    for file in sorted(before.glob("*.json")):
        if not (after / file.name).exists():
            print(f"{file.stem}: not made again")
            differing += 1
            continue
        one, other = (json.loads((side / file.name).read_text()) for side in (before, after))
        sets = [sorted(json.dumps(images, sort_keys=True) for images in side.values()) for side in (one, other)]
        count = sum(map(len, one.values()))
        same = sets[0] == sets[1]
        differing += not same
        print(f"{file.stem}: {count} images, {'equal' if same else 'DIFFERENT'}")
    print(f"{differing} cells differ")
    return differing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", help="cells whose name contains this")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("BEFORE", "AFTER"))
    asked = parser.parse_args()
    if asked.compare:
        sys.exit(1 if compare(*asked.compare) else 0)
    make(asked.data, asked.out, asked.only)


if __name__ == "__main__":
    main()
