"""Memory: sizes in words, what is free, and the count of what backward passes keep."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from underfire.errors import InputError
from underfire.memory import bytes_of, counting, free_bytes, in_words, parse_bytes, room, used_bytes

CPU = torch.device("cpu")
MB = 2**20


@pytest.mark.parametrize(
    ("text", "size"),
    [("8GB", 8 * 10**9), ("1.5 gb", 1.5e9), ("500MB", 5e8), ("2GiB", 2**31), ("64 Ki", 2**16), ("123", 123), ("7B", 7)],
)
def test_sizes(text: str, size: float) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "8 XB", "-1GB", "0", "1e9", "8GB please", "0.1"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"memory is .*such as 8GB"):
        parse_bytes(text)


def test_numbers_of_bytes() -> None:
    assert [bytes_of(size) for size in (None, 8e9, 10**6, "1GB")] == [None, 8 * 10**9, 10**6, 10**9]
    assert bytes_of(math.inf) == bytes_of("9" * 400) == sys.maxsize
    for wrong in (0, -1, math.nan, [1], np.array([8e9])):
        with pytest.raises(InputError, match=r"memory is .*; expected (at least 1 byte|a number of bytes)"):
            bytes_of(wrong)  # type: ignore[arg-type]  # a wrong type is the point


def test_words() -> None:
    assert [in_words(size) for size in (1.5e9, 24.6e9, 3.2e6, 450e6)] == ["1.5 GB", "25 GB", "3.2 MB", "450 MB"]


def test_what_a_square_keeps() -> None:
    x = torch.rand(MB // 4, requires_grad=True)  # 1 MiB of float32
    with counting() as kept:
        y = x.square()
        assert kept.now == MB  # the square keeps x
        z = y.exp()
        assert kept.now == 2 * MB  # the exponential keeps its result
        w = z * z
        assert kept.now == 2 * MB  # which the product keeps, too: it counts once
        torch.autograd.grad(w.sum(), x)
        del w, z, y
    assert (kept.now, kept.peak) == (0, 2 * MB)


def test_weights_do_not_count_and_views_count_once() -> None:
    layer = torch.nn.Linear(256, 1024, bias=False)
    layer.requires_grad_(False)
    x = torch.rand(4, 256, requires_grad=True)
    with counting(layer.parameters()) as kept:
        output = layer(x)
        assert kept.peak == 0
        parts = output.square() + output.view(-1).square().view(4, 1024) + output[:2].square().sum()
        assert kept.peak == output.nbytes
        torch.autograd.grad(parts.sum(), x)


def test_a_graph_of_a_graph_counts() -> None:
    x = torch.rand(MB // 4, requires_grad=True)
    with counting() as kept:
        (gradient,) = torch.autograd.grad(x.exp().sum(), x, create_graph=True)
        assert kept.now >= MB
        torch.autograd.grad(gradient.square().sum(), x)


def test_what_is_free_and_used() -> None:
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < used_bytes(CPU) < physical
    assert 0 < free_bytes(CPU) <= physical
    assert room(CPU) == pytest.approx(free_bytes(CPU), rel=0.2)
    assert room(CPU, 1) == 0
    more = used_bytes(CPU) + 10**8
    assert 0 < room(CPU, more) <= 10**8 + MB  # the process may give pages back between the two readings


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not say what a process uses")
def test_used_memory_grows_with_what_is_allocated() -> None:
    code = (
        "import torch; from underfire.memory import used_bytes; d = torch.device('cpu');"
        "before = used_bytes(d); x = torch.ones(50_000_000); print(used_bytes(d) - before)"
    )
    grown = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert grown == pytest.approx(200e6, rel=0.1)
