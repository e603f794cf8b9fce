"""Precisions: their names, dtypes and conversions; and batch sizes by device."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from underfire.errors import InputError
from underfire.memory import suited_size
from underfire.numerics import (
    PRECISIONS,
    dtype_of,
    full_precision,
    math_attention,
    precision_of,
    to_channels_last,
    tolerance,
    weights_dtype,
)


def test_names_and_dtypes_go_both_ways() -> None:
    assert {precision_of(dtype_of(name)) for name in PRECISIONS} == set(PRECISIONS) - {"tf32"}
    assert dtype_of("tf32") is torch.float32
    assert precision_of(torch.float16) == "float32"
    with pytest.raises(InputError, match="precision is 'half'; expected"):
        dtype_of("half")


def test_tolerances_grow_with_rounding() -> None:
    assert tolerance(torch.float64) == tolerance(None) == 1e-4 < tolerance(torch.float16) < tolerance(torch.bfloat16)


def test_half_precision_becomes_float32() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        assert full_precision(torch.ones(1, dtype=dtype)).dtype is torch.float32
    for dtype in (torch.float32, torch.float64):
        assert full_precision(torch.ones(1, dtype=dtype)).dtype is dtype


def test_a_network_is_converted_in_place() -> None:
    network = nn.Conv2d(3, 4, 3)
    assert to_channels_last(network, dtype=torch.float64) is network
    assert network.weight.is_contiguous(memory_format=torch.channels_last)
    assert weights_dtype(network) is torch.float64
    assert weights_dtype(nn.ReLU()) is None


def test_attention_has_a_second_derivative_in_the_context() -> None:
    query = torch.rand(1, 1, 3, 8, requires_grad=True)
    with math_attention():
        attended = F.scaled_dot_product_attention(query, query, query)
    (gradient,) = torch.autograd.grad(attended.square().sum(), query, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), query)
    assert bool(second.abs().sum() > 0)


@pytest.mark.parametrize(("side", "cpu", "gpu"), [(16, 256, 256), (32, 64, 256), (224, 8, 80)])
def test_batch_sizes(side: int, cpu: int, gpu: int) -> None:
    assert suited_size(side, side, torch.device("cpu")) == cpu
    assert suited_size(side, side, torch.device("cuda")) == gpu
