"""Measure speed and memory on one CUDA device in under 8 minutes: one table, and one JSON file.

    python -m benchmarks.gpu [--quick] [--rows a,d-foolbox] [--out runs/gpu] [--again]
    python -m benchmarks.gpu --device cpu --tiny        # does every row still run? The numbers mean nothing

(a) A step of PGD, of ADV2 on CAM and of ADV2 on Grad over the bare passes through the same prepared network, recorded
    as a CUDA graph: forward and input gradient; for Grad forward, gradient with a graph, and the gradient of that.
(b) Forward and input gradient: the prepared copy over the original network, float32, both recorded.
(c) Seconds for 1,000 images, scaled from fewer steps on one batch.
(d) The PGD of other libraries over ours. They run the original network in float32.
(e) Peak memory of a joint step on SmoothGrad over that on Grad.
(f) How often steps wait for the GPU.

Times are those of events in the GPU's queue. Contestants take turns; the median of the ratios counts, and the range is
given. Every row is written down when it is done: a second call measures the rows that are missing. Without a CUDA
device the table says "not measured".
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_rows import FULL, QUICK, TINY, Bench, Measure, rows
from benchmarks.gpu_table import Line, Results, Values, table
from underfire.errors import UnderfireWarning


def chosen(wanted: str | None) -> dict[Line, Measure]:
    """Choose the rows whose names begin with one of the words in ``wanted``, with commas; all if None."""
    every = rows()
    if wanted is None:
        return every
    words = tuple(word.strip() for word in wanted.split(","))
    found = {line: measure for line, measure in every.items() if line.key.startswith(words)}
    if not found:
        raise SystemExit(f"--rows is {wanted!r}; expected beginnings of: {', '.join(line.key for line in every)}")
    return found


def run(bench: Bench, asked: Mapping[Line, Measure], results: Results, minutes: float) -> bool:
    """Measure the rows that ``results`` lacks. Returns False if one of them failed.

    Args:
        minutes: no row begins after so many minutes.
    """
    started, fine = time.monotonic(), True
    for line, measure in asked.items():
        if line.key in results.rows:
            continue
        if time.monotonic() - started > 60 * minutes:
            print("out of time: call again for the other rows", file=sys.stderr)
            break
        begun = time.monotonic()
        try:
            values = measure(bench)
        except ImportError as error:
            values = {"error": f"not installed: {error}"}
        except Exception as error:  # a row that fails must not keep the others from being measured
            traceback.print_exc()
            values, fine = {"error": f"{type(error).__name__}: {error}".partition("\n")[0][:160]}, False
        results.keep(line.key, values)
        print(f"{line.markdown(values)} ({time.monotonic() - begun:.0f} s)", file=sys.stderr, flush=True)
        if bench.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()
    return fine


def about(device: torch.device, effort: str) -> Values:
    """Describe what all numbers depend on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {"device": name, "torch": torch.__version__, "effort": effort}


def arguments(given: list[str] | None) -> Any:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__, formatter_class=as_written)
    parser.add_argument("--rows", help="beginnings of the names of rows, with commas")
    parser.add_argument("--quick", action="store_true", help="few steps and turns, small batches of ResNet-50")
    parser.add_argument("--tiny", action="store_true", help="does every row run? The numbers mean nothing")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu with --tiny")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), metavar="FOLDER", help="for rows.json, table.md")
    parser.add_argument("--again", action="store_true", help="measure all rows again")
    parser.add_argument("--minutes", type=float, default=8, help="no row begins later than that")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Measure, print the table, and return the exit status: 1 if a row failed."""
    asked = arguments(given)
    device = torch.device(asked.device)
    wanted = chosen(asked.rows)
    if device.type == "cuda" and not torch.cuda.is_available():
        print(f"There is no CUDA device.\n\n{table(wanted, {})}")
        return 0
    warnings.simplefilter("default", UnderfireWarning)
    effort = "tiny" if asked.tiny else "quick" if asked.quick else "full"
    file = asked.out / "rows.json"
    if asked.again:
        file.unlink(missing_ok=True)
    results = Results(file, about(device, effort))
    fine = run(Bench(device, {"tiny": TINY, "quick": QUICK, "full": FULL}[effort]), wanted, results, asked.minutes)
    text = f"{results.about['device']}, torch {torch.__version__}, {effort}\n\n{table(wanted, results.rows)}\n"
    (asked.out / "table.md").write_text(text)
    print(text)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
