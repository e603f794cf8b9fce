"""Does an image get the same result whatever happens around it? Compared bit by bit, on real images.

    python -m benchmarks.invariance --data path/to/cifar10/test.parquet [--count 16] [--steps 40,160]

The same images alone, in batches of 7 and of 16, on a second run, and in a run that is killed and resumed. The exit
code is 1 where anything differs.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

VOLATILE = {"seconds"}


def command(data: str, interpreter: str, out: Path, count: int, steps: str, *more: str) -> list[str]:
    """The command line of one run."""
    run = [sys.executable, "-m", "underfire.cli", "attack", "--data", data, "--classifier", "cifar10-resnet20"]
    run += ["--interpreter", interpreter, "--eps", "8/255", "--steps", steps, "--count", str(count)]
    return [*run, "--out", str(out), "--no-page", "--json", *more]


def contents(folder: Path) -> tuple[list[dict[str, object]], dict[str, bytes]]:
    """Rows (without their times) in a fixed order, and the bytes of every image."""
    rows = pq.read_table(folder / "results.parquet").to_pylist()
    kept = [{key: value for key, value in row.items() if key not in VOLATILE} for row in rows]
    kept.sort(key=lambda row: (row["image_id"], row["attack"], row["interpreter"]))
    files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))}
    return kept, files


def killed_and_resumed(run: list[str], out: Path) -> None:
    """Kill a run with batches of 8 once its first shard is on disk, then resume it."""
    process = subprocess.Popen([*run, "--batch-size", "8"], stdout=subprocess.DEVNULL)
    while not list(out.glob("cells/*/*.parquet")) and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    print(f"  killed with {len(list(out.glob('cells/*/*.parquet')))} shards of cells on disk", flush=True)
    subprocess.run([*run, "--resume"], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--steps", default="40,160")
    parser.add_argument("--interpreters", nargs="*", default=["cam", "grad"])
    arguments, same = parser.parse_args(), True
    for interpreter in arguments.interpreters:
        with tempfile.TemporaryDirectory() as name:
            found = {}
            for label, size in (("batches of 16", 16), ("batches of 7", 7), ("alone", 1), ("again", 16)):
                out = Path(name) / label.replace(" ", "-")
                run = command(arguments.data, interpreter, out, arguments.count, arguments.steps)
                subprocess.run([*run, "--batch-size", str(size)], check=True, stdout=subprocess.DEVNULL)
                found[label] = contents(out)
            out = Path(name) / "killed"
            killed_and_resumed(command(arguments.data, interpreter, out, arguments.count, arguments.steps), out)
            found["killed and resumed"] = contents(out)
        expected = found.pop("batches of 16")
        for label, (rows, files) in found.items():
            equal = sum(ours == theirs for ours, theirs in zip(rows, expected[0], strict=True))
            images = sum(files[key] == value for key, value in expected[1].items())
            same = same and (equal, images) == (len(expected[0]), len(expected[1]))
            print(
                f"{interpreter:<8}{label:<20}{equal} of {len(expected[0])} rows equal in every column but seconds, "
                f"{images} of {len(expected[1])} images equal byte by byte",
                flush=True,
            )
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
