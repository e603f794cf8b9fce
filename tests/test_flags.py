"""Torch's global flags: what is in force inside, and that everything is as it was afterwards.

Each case runs in a process of its own, because some settings cannot be taken back, and only one interface may be used.
The processes are copies of one that has imported torch, which takes longer than all else here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import torch

STARTS = {
    "untouched": "",
    "matmul allowed": "b.cuda.matmul.allow_tf32 = True",
    "matmul forbidden": "b.cuda.matmul.allow_tf32 = False",
    "convolutions forbidden": "b.cudnn.allow_tf32 = False",
    "convolutions allowed": "b.cudnn.allow_tf32 = True",
    "high": "torch.set_float32_matmul_precision('high')",
    "medium": "torch.set_float32_matmul_precision('medium')",
    "highest": "torch.set_float32_matmul_precision('highest')",
}
NEWER = {
    "all tf32": "b.fp32_precision = 'tf32'",
    "all ieee": "b.fp32_precision = 'ieee'",
    "newer matmul tf32": "b.cuda.matmul.fp32_precision = 'tf32'",
    "newer convolutions ieee": "b.cudnn.conv.fp32_precision = 'ieee'",
    "cuda tf32": "b.cudnn.fp32_precision = 'tf32'",
    "cuda ieee": "b.cudnn.fp32_precision = 'ieee'",
    "both interfaces": "torch.set_float32_matmul_precision('high'); b.cuda.matmul.fp32_precision = 'ieee'",
}
HAS_NEWER = hasattr(torch._C, "_get_fp32_precision_getter")
SCRIPT = """
import json, os, sys, torch, warnings
warnings.simplefilter("ignore")
from underfire.flags import float32_arithmetic, deterministic_kernels
b = torch.backends

def read(get):
    try:
        return get()
    except RuntimeError:
        return "refused"

def seen():
    found = {"matmul": read(lambda: b.cuda.matmul.allow_tf32), "conv": read(lambda: b.cudnn.allow_tf32),
             "precision": read(torch.get_float32_matmul_precision)}
    if hasattr(torch._C, "_get_fp32_precision_getter"):
        for backend in ("generic", "cuda", "mkldnn"):
            for part in ("all",) if backend == "generic" else ("all", "matmul", "conv", "rnn"):
                found[backend + "." + part] = torch._C._get_fp32_precision_getter(backend, part)
    found["kernels"] = [b.cudnn.deterministic, b.cudnn.benchmark, torch.are_deterministic_algorithms_enabled(),
                        torch.utils.deterministic.fill_uninitialized_memory]
    return found

def case(start):
    exec(start, {"b": b, "torch": torch})
    result = {"before": seen()}
    for arithmetic in ("ieee", "tf32"):
        try:
            with float32_arithmetic(arithmetic), deterministic_kernels(torch.device("cuda")):
                result[arithmetic] = seen()
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        result["after " + arithmetic] = seen()
    return result

torch.use_deterministic_algorithms(False)  # as it is; imports much that each copy would import else
for name, start in json.loads(sys.argv[1]).items():
    if os.fork() == 0:
        print(json.dumps({name: case(start)}), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0, name
"""
CASES = STARTS | (NEWER if HAS_NEWER else {})


@pytest.fixture(scope="module")
def cases() -> dict[str, Any]:
    """The flags that each case has seen, by the name of the case."""
    command = [sys.executable, "-c", SCRIPT, json.dumps(CASES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name: found for line in done.stdout.splitlines() for name, found in json.loads(line).items()}


@pytest.mark.parametrize("start", list(CASES))
def test_inside_and_afterwards(start: str, cases: dict[str, Any]) -> None:
    found = cases[start]
    assert found["after ieee"] == found["after tf32"] == found["before"]
    if HAS_NEWER:
        for part in ("matmul", "conv", "rnn"):
            assert found["ieee"][f"cuda.{part}"] in ("ieee", "none")
            assert found["ieee"][f"mkldnn.{part}"] in ("ieee", "none")
            assert found["tf32"][f"cuda.{part}"] == "tf32"
            assert found["tf32"][f"mkldnn.{part}"] in ("ieee", "none")
    if start in STARTS:  # the older interface is in force: it can be read inside, and says the same
        assert [found["ieee"][name] for name in ("matmul", "conv", "precision")] == [False, False, "highest"]
        assert [found["tf32"][name] for name in ("matmul", "conv", "precision")] == [True, True, "high"]
    assert found["ieee"]["kernels"] == [True, False, True, False]
    assert found["before"]["kernels"] == [False, False, False, True]
