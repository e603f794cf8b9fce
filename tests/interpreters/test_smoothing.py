"""The smoothed slope: an exact forward pass, the published derivative, and all spellings of rectifiers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from underfire.errors import InputError
from underfire.interpreters import Smoothing, SmoothRectifiers
from underfire.interpreters.smoothing import TwiceDifferentiable, rectify

EDGE = torch.tensor([-2.0, -0.3, -1e-3, -1e-9, 0.0, 1e-9, 1e-3, 0.3, 2.0], dtype=torch.float64)


def test_the_published_slope_is_the_formula() -> None:
    def slope(v: float) -> float:
        root = v / (v * v + 1e-4) ** 0.5
        return root if v >= 0 else 1 + root

    expected = torch.tensor([slope(v) for v in EDGE.tolist()], dtype=torch.float64)
    assert torch.allclose(Smoothing().slope(EDGE), expected, atol=1e-12)


@pytest.mark.parametrize("smoothing", [Smoothing(), Smoothing("sigmoid", 0.05), Smoothing("softplus", 0.05)])
def test_the_curvature_is_the_slope_of_the_slope(smoothing: Smoothing) -> None:
    v, step = EDGE[EDGE.abs() > 1e-4], 1e-7
    numeric = (smoothing.slope(v + step) - smoothing.slope(v - step)) / (2 * step)
    assert torch.allclose(smoothing.curvature(v), numeric, rtol=1e-5, atol=1e-5)


def test_a_network_against_the_chain_rule_by_hand() -> None:
    """f(x) = c . relu(B relu(A x)): input gradient, and its derivative along u, written out."""
    torch.manual_seed(0)
    a, b, c = (torch.randn(*shape, dtype=torch.float64) for shape in ((5, 4), (6, 5), (6,)))
    x, u = torch.randn(4, dtype=torch.float64, requires_grad=True), torch.randn(4, dtype=torch.float64)
    smoothing = Smoothing(width=0.3)
    inner = a @ x
    outer = b @ rectify(inner, smoothing)
    (gradient,) = torch.autograd.grad(c @ rectify(outer, smoothing), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient @ u, x)

    p, q = (a @ x).detach(), (b @ torch.relu(a @ x)).detach()
    h1, h2 = smoothing.slope(p.clone()), smoothing.slope(q.clone())
    k1, k2 = smoothing.curvature(p.clone()), smoothing.curvature(q.clone())
    assert torch.allclose(gradient, a.T @ (h1 * (b.T @ (h2 * c))), atol=1e-12)
    # gradient . u = sum_i c_i h2_i (B (h1 * (A u)))_i; q's own derivative passes the smoothed slope as well
    along = b @ (h1 * (a @ u))
    through_q = a.T @ (h1 * (b.T @ (k2 * c * along)))
    through_p = a.T @ (k1 * (a @ u) * (b.T @ (h2 * c)))
    assert torch.allclose(second, through_q + through_p, atol=1e-10)


@pytest.mark.parametrize("kind", ["published", "sigmoid"])
def test_the_forward_pass_stays_exact(kind: Any) -> None:
    v = torch.randn(1000)
    assert torch.equal(rectify(v, Smoothing(kind, 0.1)), v.clamp_min(0))


def test_softplus_passes_second_order_finite_differences() -> None:
    smoothing = Smoothing("softplus", 0.2)
    v = torch.randn(7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda value: rectify(value, smoothing), v)
    assert torch.autograd.gradgradcheck(lambda value: rectify(value, smoothing), v)


def in_place(function: Callable[[Tensor], object]) -> Callable[[Tensor], Tensor]:
    """Call an in-place function, and return its changed argument."""

    def run(v: Tensor) -> Tensor:
        v = v * 1
        function(v)
        return v

    return run


SPELLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "F.relu": F.relu,
    "F.relu(inplace)": in_place(lambda v: F.relu(v, inplace=True)),
    "F.relu(input=)": lambda v: F.relu(input=v),
    "torch.relu": torch.relu,
    "torch.relu_": in_place(torch.relu_),
    "Tensor.relu": lambda v: v.relu(),
    "Tensor.relu_": in_place(lambda v: v.relu_()),
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU(inplace)": in_place(nn.ReLU(inplace=True)),
    "F.relu6": F.relu6,
    "F.relu(v, True)": in_place(lambda v: F.relu(v, True)),
    "nn.ReLU6": nn.ReLU6(),
    "F.hardtanh(0, 3)": lambda v: F.hardtanh(v, 0.0, 3.0),
    "nn.ReLU6(inplace)": in_place(nn.ReLU6(inplace=True)),
    "F.leaky_relu": lambda v: F.leaky_relu(v, 0.2),
    "nn.LeakyReLU(inplace)": in_place(nn.LeakyReLU(0.2, inplace=True)),
    "F.leaky_relu_": in_place(lambda v: F.leaky_relu_(v, 0.2)),
    "F.hardsigmoid": lambda v: 6 * F.hardsigmoid(6 * v - 3),
    "nn.Hardsigmoid(inplace)": lambda v: 6 * in_place(nn.Hardsigmoid(inplace=True))(6 * v - 3),
    "F.hardswish": lambda v: F.hardswish(3 * v - 3),
    "nn.Hardswish(inplace)": lambda v: in_place(nn.Hardswish(inplace=True))(3 * v - 3),
    "nn.PReLU": nn.PReLU(init=0.3),
    "torch.prelu": lambda v: torch.prelu(v, torch.tensor([0.3])),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_is_reached(name: str) -> None:
    function = SPELLINGS[name]
    v = torch.tensor([-3.0, -0.02, 0.01, 0.5, 5.99, 7.0])
    exact = function(v.clone()).detach()
    x = v.clone().requires_grad_()
    with SmoothRectifiers(Smoothing()):
        smooth = function(x)
    assert torch.allclose(smooth, exact, atol=1e-6)
    (gradient,) = torch.autograd.grad(smooth.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), x)
    assert float(second[1].abs()) > 1
    with torch.no_grad():
        assert torch.equal(function(v.clone()), exact), "outside the context nothing is smoothed"


def test_relu6_is_smoothed_at_both_ends() -> None:
    x = torch.tensor([0.01, 5.99], requires_grad=True)
    with SmoothRectifiers(Smoothing()):
        value = F.relu6(x)
    (gradient,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), x)
    slope, curvature = Smoothing().slope, Smoothing().curvature
    assert torch.allclose(gradient, slope(x.detach()) - slope(x.detach() - 6), atol=1e-6)
    assert torch.allclose(second, curvature(x.detach()) - curvature(x.detach() - 6), atol=1e-3)


def test_a_hard_sigmoid_has_a_second_derivative_without_smoothing() -> None:
    """Regression: torch has none, so that MobileNetV3 was refused under every interpreter of gradients and MASK."""
    x = torch.tensor([-4.0, -1.0, 0.5, 2.0, 5.0], dtype=torch.float64, requires_grad=True)
    for mode in (TwiceDifferentiable(), SmoothRectifiers(None)):
        with mode:
            value = F.hardsigmoid(x)
        assert torch.equal(value, F.hardsigmoid(x.detach()))
        (gradient,) = torch.autograd.grad(value.pow(3).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(gradient.sum(), x)
        within = (x.abs() < 3).double()
        assert torch.allclose(second, within * 6 * value / 36)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "mode",
    [TwiceDifferentiable(), SmoothRectifiers(None), SmoothRectifiers(Smoothing())],
    ids=["twice", "exact", "smoothed"],
)
def test_values_stay_as_they_are_in_half_precision(dtype: torch.dtype, mode: TwiceDifferentiable) -> None:
    """Regression: they were lost by the difference of two rectifiers, all of them at 300 in bfloat16."""
    values = 1000 * torch.randn(1000, generator=torch.Generator().manual_seed(0)).to(dtype)
    for function in (F.hardsigmoid, F.hardswish, F.hardtanh, F.relu6):
        expected = function(values)
        with mode:
            found = function(values)
        assert torch.allclose(found, expected, atol=2 * torch.finfo(dtype).eps, rtol=2 * torch.finfo(dtype).eps)


def test_hard_sigmoid_and_hard_swish_are_smoothed_at_both_ends() -> None:
    """With a softplus as rectifier, finite differences find the derivatives."""
    x = torch.linspace(-5, 5, 41, dtype=torch.float64, requires_grad=True)
    for function in (F.hardsigmoid, F.hardswish):

        def smooth(v: Tensor, function: Callable[[Tensor], Tensor] = function) -> Tensor:
            with SmoothRectifiers(Smoothing("softplus", 0.3)):
                return function(v)

        assert torch.autograd.gradcheck(smooth, (x,))
        assert torch.autograd.gradgradcheck(smooth, (x,))
        assert torch.allclose(smooth(x), function(x), atol=0.1 * float(x.detach().abs().max()))
        assert not torch.allclose(smooth(x), function(x), atol=1e-3)


@pytest.mark.parametrize(("kind", "width"), [("relu", 1e-4), ("published", 0.0), ("sigmoid", -1.0)])
def test_wrong_smoothings_are_refused(kind: Any, width: float) -> None:
    with pytest.raises(InputError):
        Smoothing(kind, width)
