"""Map metrics on constant maps and on unusable arguments."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from underfire import metrics
from underfire.errors import InputError

Metric = Callable[[Tensor, Tensor], Tensor]


def random_maps(seed: int, shape: tuple[int, ...] = (5, 7, 6)) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


ZERO, LOW, HIGH, TEXTURE = (
    torch.zeros(1, 6, 6),
    torch.full((1, 6, 6), 0.2),
    torch.full((1, 6, 6), 0.8),
    random_maps(9, (1, 6, 6)),
)


@pytest.mark.parametrize("metric", [metrics.map_spearman, metrics.map_kendall])
def test_rank_correlations_of_constant_maps(metric: Metric) -> None:
    for first, second in itertools.product((ZERO, LOW, HIGH), repeat=2):
        assert metric(first, second).item() == 1
    for constant in (ZERO, LOW, HIGH):
        assert metric(constant, TEXTURE).item() == 0
        assert metric(TEXTURE, constant).item() == 0


def test_other_metrics_of_constant_maps() -> None:
    assert metrics.map_cosine(ZERO, ZERO).item() == 1
    assert metrics.map_cosine(ZERO, TEXTURE).item() == metrics.map_cosine(LOW, ZERO).item() == 0
    assert metrics.map_cosine(LOW, HIGH).item() == pytest.approx(1)
    assert metrics.map_iou(ZERO, LOW).item() == metrics.map_iou_nonzero(ZERO, ZERO).item() == 1
    assert metrics.map_iou(LOW, HIGH).item() == metrics.map_iou_nonzero(ZERO, LOW).item() == 0
    assert metrics.map_ssim(ZERO, ZERO).item() == 1
    expected = (2 * 0.2 * 0.8 + 1e-4) / (0.2**2 + 0.8**2 + 1e-4)
    assert metrics.map_ssim(LOW, HIGH).item() == pytest.approx(expected, abs=1e-6)
    assert metrics.top_k_intersection(ZERO, HIGH).item() == pytest.approx(1)
    assert metrics.centre_of_mass_shift(ZERO, HIGH).item() == pytest.approx(0, abs=1e-7)
    corner = ZERO.clone()
    corner[0, 0, 0] = 1
    middle_to_corner = math.hypot(5 / 12, 5 / 12)
    assert metrics.centre_of_mass_shift(ZERO, corner).item() == pytest.approx(middle_to_corner)


ALL = [getattr(metrics, name) for name in metrics.__all__ if name.startswith(("map_", "top_", "centre_"))]


@pytest.mark.parametrize("metric", ALL)
def test_arguments_that_cannot_be_used(metric: Metric) -> None:
    good = random_maps(10)
    with pytest.raises(InputError, match=r"a has shape \(5, 7, 6\) and b has shape \(4, 7, 6\)"):
        metric(good, good[:4])
    with pytest.raises(InputError, match=r"b has shape \(7, 6\).*N x h x w"):
        metric(good, good[0])
    with pytest.raises(InputError, match=r"a has shape \(5, 0, 6\)"):
        metric(good[:, :0], good[:, :0])
    with pytest.raises(InputError, match=r"b is torch.uint8.*255"):
        metric(good, (good * 255).to(torch.uint8))
    with pytest.raises(InputError, match=r"a ranges over .*\[0, 1\]"):
        metric(good * 2 - 0.5, good)
    broken = good.clone()
    broken[3, 2, 1] = torch.nan
    with pytest.raises(InputError, match="nan"):
        metric(good, broken)


def test_options_that_cannot_be_used() -> None:
    for fraction in (0.0, -0.1, 1.1, math.nan):
        with pytest.raises(InputError, match="fraction"):
            metrics.top_k_intersection(TEXTURE, TEXTURE, fraction)
    for threshold in (-0.1, 1.5, math.nan):
        with pytest.raises(InputError, match="threshold"):
            metrics.map_iou(TEXTURE, TEXTURE, threshold)
    with pytest.raises(InputError, match="at least one"):
        metrics.map_iou_curve(TEXTURE, TEXTURE, ())


@pytest.mark.parametrize("metric", ALL)
def test_dtype_graph_empty_batch_and_inputs_left_alone(metric: Metric) -> None:
    a, b = random_maps(11).requires_grad_(), random_maps(12)
    before = a.detach().clone(), b.clone()
    result = metric(a, b)
    assert result.dtype == torch.float32
    assert not result.requires_grad
    assert metric(a.double(), b).dtype == torch.float64
    assert metric(a.half(), b.half()).dtype == torch.float32
    assert torch.equal(a.detach(), before[0])
    assert torch.equal(b, before[1])
    assert metric(a[:0], b[:0]).shape == (0, *result.shape[1:])
    transposed = metric(a.detach().mT.contiguous().mT, b)  # another memory layout, same values
    assert torch.allclose(transposed, result, atol=1e-7)
    assert torch.equal(metric(b + 9e-7 * (b > 0.9), b), metric((b + 9e-7 * (b > 0.9)).clamp(max=1), b))
