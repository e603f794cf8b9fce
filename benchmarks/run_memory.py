"""Measure that the memory of a run does not grow with its images, and the time of resuming a finished run.

    python -m benchmarks.run_memory [--counts 1000 10000] [--out runs/memory]

A tiny network attacks made-up images of 8 x 8 pixels in one warm-up and one joint step, in a process of its own for
each number of images. Prints peak memory and seconds of each run, of ``--resume`` on it when it is finished, and of
``--help`` for comparison.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

NETWORK = """
import torch
from torch import nn
import underfire as uf


def build():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                            nn.Linear(8, 2))
    return uf.Classifier(network.eval(), image_size=8)
"""


def write_data(folder: Path, count: int) -> Path:
    """Write ``count`` random images with the classes that the network gives them."""
    import io

    import torch

    space: dict[str, Any] = {}
    exec(compile(NETWORK, "network", "exec"), space)
    classifier = space["build"]()
    pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    labels = classifier.logits(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255).argmax(1).tolist()
    images = []
    for each in pixels:
        content = io.BytesIO()
        Image.fromarray(each).save(content, "PNG")
        images.append({"bytes": content.getvalue(), "path": None})
    file = folder / f"{count}.parquet"
    pq.write_table(pa.table({"img": images, "label": labels}), file)
    return file


def timed(*command: str) -> tuple[float, float]:
    """Run a command; return its seconds and its peak memory in MB."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {status}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="*", default=[1000, 10_000])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--page", action="store_true", help="write page and figure, too")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = asked.out or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "network.py").write_text(NETWORK)
        underfire = [sys.executable, "-m", "underfire.cli"]
        print(f"--help: {timed(*underfire, 'attack', '--help')[0]:.2f} s", flush=True)
        peaks = []
        for count in asked.counts:
            data = write_data(folder, count)
            run = [*underfire, "attack", "--data", str(data), "--classifier", f"{folder / 'network.py'}:build"]
            run += ["--steps", "1,1", "--eps", "8/255", "--out", str(folder / f"run-{count}"), "--json"]
            run += [] if asked.page else ["--no-page"]
            seconds, peak = timed(*run)
            peaks.append(peak)
            again, small = timed(*run, "--resume")
            print(
                f"{count} images: {seconds:.1f} s, peak {peak:.0f} MB ({peak / peaks[0]:.3f} of the first); --resume "
                f"when finished: {again:.2f} s, peak {small:.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
