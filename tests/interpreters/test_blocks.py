"""Functions computed block by block: the same bits as on whole tensors, whatever lies in memory."""

from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from underfire.interpreters import Smoothing, SmoothRectifiers, blocks
from underfire.interpreters.blocks import by_block
from underfire.interpreters.smoothing import rectify


@pytest.fixture(autouse=True)
def _short_blocks() -> Iterator[None]:
    """A multiple of what a processor computes at once: sigmoids in the rest have other last bits, in any tensor."""
    with mock.patch.object(blocks, "LENGTH", 64):
        yield


class Counted:
    """v, w -> v * w + 1, and how many elements each call had."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def __call__(self, v: Tensor, w: Tensor) -> Tensor:
        self.lengths.append(v.numel())
        return v * w + 1


def layouts() -> list[tuple[Tensor, Tensor]]:
    v, w = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    last = torch.channels_last
    return [
        (v, w),
        (v.contiguous(memory_format=last), w.contiguous(memory_format=last)),
        (v, w.contiguous(memory_format=last)),
        (v.transpose(0, 1), w.transpose(0, 1)),
        (torch.randn(4, 3, 8, 8)[1:3], w),
        (torch.randn(2, 3, 8, 16)[..., ::2], w),
        (torch.randn(1, 3, 8, 8).expand(2, -1, -1, -1), w),
    ]


@pytest.mark.parametrize("which", range(7))
def test_the_result_is_that_of_whole_tensors_in_any_layout(which: int) -> None:
    v, w = layouts()[which]
    assert torch.equal(by_block(Counted(), v, w), v * w + 1)


def test_dense_tensors_are_cut_and_others_are_not() -> None:
    cut = []
    for v, w in layouts():
        counted = Counted()
        by_block(counted, v, w)
        assert sum(counted.lengths) == v.numel()
        cut.append(len(counted.lengths) > 1)
    assert cut == [True, True, False, False, True, False, False]


def test_results_that_are_differentiated_keep_their_graph() -> None:
    v = torch.randn(400, requires_grad=True)
    assert torch.equal(torch.autograd.grad(by_block(Counted(), v, v).sum(), v)[0], 2 * v.detach())


@given(
    kind=st.sampled_from(["published", "sigmoid", "softplus"]),
    low=st.sampled_from([0.0, -1.0]),
    high=st.sampled_from([float("inf"), 1.0, 6.0]),
    last=st.booleans(),
)
def test_two_derivatives_have_the_same_bits_by_block(kind: str, low: float, high: float, last: bool) -> None:
    smoothing = Smoothing(kind, 0.1)  # type: ignore[arg-type]  # a kind that Hypothesis chose
    start = torch.randn(2, 3, 8, 8).mul(4)
    start = start.contiguous(memory_format=torch.channels_last) if last else start

    def derivatives() -> tuple[Tensor, Tensor]:
        v = start.clone().requires_grad_()
        (first,) = torch.autograd.grad(rectify(v, smoothing, low, high).pow(2).sum(), v, create_graph=True)
        return first.detach(), torch.autograd.grad(first.pow(2).sum(), v)[0]

    by_blocks = derivatives()
    with mock.patch.object(blocks, "LENGTH", 2**62):
        assert all(map(torch.equal, by_blocks, derivatives()))


@pytest.mark.parametrize("kind", ["published", "sigmoid", "softplus"])
def test_a_rectifier_with_two_bounds_is_the_difference_of_two(kind: str) -> None:
    smoothing = Smoothing(kind, 0.1)  # type: ignore[arg-type]  # a kind that the test chose
    start = torch.linspace(-3, 9, 97, dtype=torch.float64)
    found = []
    for form in (
        lambda v: rectify(v, smoothing, -1.0, 6.0),
        lambda v: rectify(v + 1, smoothing) - rectify(v - 6, smoothing) - 1,
    ):
        v = start.clone().requires_grad_()
        value = form(v)
        (first,) = torch.autograd.grad(value.pow(2).sum(), v, create_graph=True)
        (second,) = torch.autograd.grad((first * torch.arange(97)).sum(), v)
        found.append((value.detach(), first.detach(), second))
    for one, two in zip(*found, strict=True):
        assert torch.allclose(one, two, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_relu6_has_the_exact_value(dtype: torch.dtype) -> None:
    """Regression: the difference of two rectifiers lost the last bits of small values."""
    v = torch.randn(1000).mul(5).to(dtype)
    with SmoothRectifiers(Smoothing()):
        value = F.relu6(v)
    assert torch.equal(value, v.clamp(0, 6))
