"""Precisions: their names, dtypes and conversions; and batch sizes by device."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from underfire import numerics
from underfire.errors import InputError
from underfire.memory import suited_size
from underfire.numerics import (
    PRECISIONS,
    dtype_of,
    full_precision,
    math_attention,
    of_class,
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


def test_a_value_by_a_mask_is_the_value_by_an_index_bit_for_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    values, classes = torch.randn(64, 10, generator=generator), torch.arange(64) % 10
    values[5, 5], values[6, 7] = -torch.inf, torch.inf
    results = []
    for pick in (of_class, numerics._of_class_by_mask):
        given = values.clone().requires_grad_()
        picked = pick(given, classes)
        (gradient,) = torch.autograd.grad(picked.square().nan_to_num(0, 1, 1).sum(), given, create_graph=True)
        (second,) = torch.autograd.grad(gradient[7:].square().sum(), given)
        results.append((picked.detach(), gradient.detach()[7:], second[7:]))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
