"""Map metrics against hand-worked values, slow replicas, and the libraries that define them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.ndimage
import scipy.spatial.distance
import scipy.stats
import torch
from skimage.metrics import structural_similarity
from sklearn.metrics import jaccard_score
from torch import Tensor

from underfire import metrics

Metric = Callable[[Tensor, Tensor], Tensor]


def one(rows: list[list[float]]) -> Tensor:
    return torch.tensor([rows], dtype=torch.float32)


def random_maps(seed: int, shape: tuple[int, ...] = (5, 7, 6), levels: int | None = None) -> Tensor:
    maps = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return maps if levels is None else (maps * levels).floor() / levels


A = one([[1.0, 0.0], [0.5, 0.0]])
B = one([[0.0, 0.0], [1.0, 0.5]])

# Worked by hand. Differences 1, 0, 0.5, 0.5. Cells at 0.5: {0, 2} and {2, 3}. Ranks 4, 1.5, 3, 1.5 and
# 1.5, 1.5, 4, 3. Centres (row, column): (5/12, 1/4) and (3/4, 5/12).
BY_HAND: list[tuple[str, Metric, float]] = [
    ("l1", metrics.map_l1, 2 / 4),
    ("l2", metrics.map_l2, math.sqrt((1 + 0.25 + 0.25) / 4)),
    ("iou", metrics.map_iou, 1 / 3),
    ("iou above 0.75", lambda a, b: metrics.map_iou(a, b, 0.75), 0.0),
    ("iou above 0.25", lambda a, b: metrics.map_iou(a, b, 0.25), 1 / 3),
    ("iou nonzero", metrics.map_iou_nonzero, 1 / 3),
    ("cosine", metrics.map_cosine, 0.5 / 1.25),
    ("spearman", metrics.map_spearman, -0.25 / 4.5),
    ("kendall", metrics.map_kendall, 0.0),  # 2 concordant, 2 discordant, a tie in each
    ("top quarter", lambda a, b: metrics.top_k_intersection(a, b, 0.25), 0.0),
    ("top half", lambda a, b: metrics.top_k_intersection(a, b, 0.5), 0.5),
    ("centre", metrics.centre_of_mass_shift, math.hypot(1 / 3, 1 / 6)),
]


@pytest.mark.parametrize(("name", "metric", "expected"), BY_HAND, ids=[row[0] for row in BY_HAND])
def test_values_by_hand(name: str, metric: Metric, expected: float) -> None:
    assert metric(A, B).item() == pytest.approx(expected, abs=1e-7)
    assert metric(B, A).item() == pytest.approx(expected, abs=1e-7)


def test_kendall_tau_b_by_hand() -> None:
    # Pairs: 5 concordant, none discordant, one tie in the second map: 5 / sqrt(6 * 5).
    a, b = one([[0.1, 0.2], [0.3, 0.4]]), one([[0.1, 0.5], [0.5, 0.9]])
    assert metrics.map_kendall(a, b).item() == pytest.approx(5 / math.sqrt(30), abs=1e-7)


def test_rank_correlations_of_two_cells() -> None:
    a, b = one([[0.0, 1.0]]), one([[0.6, 0.2]])
    for metric in (metrics.map_spearman, metrics.map_kendall):
        assert metric(a, a).item() == pytest.approx(1)
        assert metric(a, b).item() == pytest.approx(-1)


def test_iou_curve_by_hand_and_its_thresholds() -> None:
    assert list(metrics.IOU_THRESHOLDS) == pytest.approx([0.05 * step for step in range(1, 20)])
    a, b = one([[0.2, 0.6, 0.9]]), one([[0.0, 0.7, 0.3]])
    curve = metrics.map_iou_curve(a, b)
    # {0,1,2} and {1,2} to 0.2; {1,2} and {1,2} to 0.3; {1,2} and {1} to 0.6; {2} and {1} to 0.7; {2} and {}
    # to 0.9; both empty at 0.95.
    expected = [2 / 3] * 4 + [1.0] * 2 + [0.5] * 6 + [0.0] * 2 + [0.0] * 4 + [1.0]
    assert curve.shape == (1, 19)
    assert curve[0].tolist() == pytest.approx(expected)


def test_iou_threshold_is_met_by_the_same_number_in_the_maps_own_dtype() -> None:
    for value in metrics.IOU_THRESHOLDS:
        for dtype in (torch.float16, torch.float32, torch.float64):
            a = torch.full((1, 1, 1), value, dtype=dtype)
            assert metrics.map_iou(a, torch.ones_like(a), value).item() == 1


def test_centre_of_mass_counts_each_axis_in_its_own_side() -> None:
    a, b = torch.zeros(1, 2, 10), torch.zeros(1, 2, 10)
    a[0, 0, 0], b[0, 1, 5] = 1, 1
    assert metrics.centre_of_mass_shift(a, b).item() == pytest.approx(math.hypot(1 / 2, 5 / 10))


def test_top_k_shares_ties_and_ignores_the_order_of_cells() -> None:
    tied, clear = one([[0.5, 0.5], [0.5, 0.0]]), one([[0.0, 0.1], [0.2, 0.9]])
    # Two places for three tied cells: 2/3 each. The other's top two are cells 3 and 2: min is 0 and 2/3.
    assert metrics.top_k_intersection(tied, clear, 0.5).item() == pytest.approx((2 / 3) / 2)
    assert metrics.top_k_intersection(tied.flip(2), clear.flip(2), 0.5).item() == pytest.approx(1 / 3)
    flat = torch.full((1, 2, 2), 0.3)
    assert metrics.top_k_intersection(flat, clear, 0.5).item() == pytest.approx(0.5)  # k / cells: chance


def test_top_k_takes_at_least_one_cell_and_a_tenth_by_default() -> None:
    a = torch.arange(30.0).reshape(1, 5, 6) / 30
    b = a.clone()
    b[0, 4, 5] = 0  # of the top three cells, one leaves
    assert metrics.top_k_intersection(a, b).item() == pytest.approx(2 / 3)
    assert metrics.top_k_intersection(a, b, 1e-6).item() == 0


@pytest.mark.parametrize("levels", [None, 4])
def test_ranks_equal_definitions_and_scipy(levels: int | None) -> None:
    a, b = random_maps(1, levels=levels), random_maps(2, levels=levels)
    for index, (x, y) in enumerate(zip(a.flatten(1).tolist(), b.flatten(1).tolist(), strict=True)):
        spearman = metrics.map_spearman(a, b)[index].item()
        kendall = metrics.map_kendall(a, b)[index].item()
        assert spearman == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-6)
        assert kendall == pytest.approx(scipy.stats.kendalltau(x, y).statistic, abs=1e-6)
        ranks = [[sum(v < u for v in row) + (sum(v == u for v in row) + 1) / 2 for u in row] for row in (x, y)]
        assert spearman == pytest.approx(np.corrcoef(ranks)[0, 1], abs=1e-6)
        assert kendall == pytest.approx(slow_tau_b(x, y), abs=1e-6)


def slow_tau_b(x: list[float], y: list[float]) -> float:
    def sign(value: float) -> int:
        return (value > 0) - (value < 0)

    pairs = [(sign(x[i] - x[j]), sign(y[i] - y[j])) for i, j in itertools.combinations(range(len(x)), 2)]
    untied = math.sqrt(sum(p != 0 for p, _ in pairs) * sum(q != 0 for _, q in pairs))
    return sum(p * q for p, q in pairs) / untied


def test_other_metrics_equal_scipy_and_sklearn() -> None:
    a, b = random_maps(3), random_maps(4)
    for index, (x, y) in enumerate(zip(a.double().numpy(), b.double().numpy(), strict=True)):
        assert metrics.map_l1(a, b)[index].item() == pytest.approx(np.abs(x - y).mean(), abs=1e-7)
        assert metrics.map_l2(a, b)[index].item() == pytest.approx(math.sqrt(((x - y) ** 2).mean()), abs=1e-7)
        cosine = 1 - scipy.spatial.distance.cosine(x.ravel(), y.ravel())
        assert metrics.map_cosine(a, b)[index].item() == pytest.approx(cosine, abs=1e-6)
        for position, threshold in enumerate(metrics.IOU_THRESHOLDS):
            iou = jaccard_score(x.ravel() >= threshold, y.ravel() >= threshold, zero_division=1.0)
            assert metrics.map_iou_curve(a, b)[index, position].item() == pytest.approx(iou, abs=1e-7)
        centres = [np.array(scipy.ndimage.center_of_mass(z)) / z.shape for z in (x, y)]
        shift = np.linalg.norm(centres[0] - centres[1])
        assert metrics.centre_of_mass_shift(a, b)[index].item() == pytest.approx(shift, abs=1e-6)
        k = round(0.1 * x.size)
        top = [set(np.argsort(-z.ravel())[:k].tolist()) for z in (x, y)]
        assert metrics.top_k_intersection(a, b)[index].item() == pytest.approx(len(top[0] & top[1]) / k)


@pytest.mark.parametrize("shape", [(3, 11, 11), (3, 28, 28), (2, 56, 40)])
def test_ssim_equals_scikit_image(shape: tuple[int, int, int]) -> None:
    a, b = random_maps(5, shape), random_maps(6, shape)
    for index in range(len(a)):
        expected = structural_similarity(
            a[index].double().numpy(),
            b[index].double().numpy(),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
        )
        assert metrics.map_ssim(a, b)[index].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("shape", "window"), [((7, 7), 7), ((8, 9), 7), ((4, 12), 3), ((2, 5), 1), ((1, 1), 1)])
def test_ssim_of_small_maps_equals_the_formula(shape: tuple[int, int], window: int) -> None:
    a, b = random_maps(7, (1, *shape)), random_maps(8, (1, *shape))
    taps = torch.exp(-((torch.arange(window, dtype=torch.float64) - window // 2) ** 2) / (2 * 1.5**2))
    weights = torch.outer(taps, taps) / taps.sum() ** 2
    values = []
    for top, left in itertools.product(range(shape[0] - window + 1), range(shape[1] - window + 1)):
        x, y = (m[0, top : top + window, left : left + window].double() for m in (a, b))
        mx, my = (weights * x).sum(), (weights * y).sum()
        vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
        covariance = (weights * (x - mx) * (y - my)).sum()
        values.append(
            (2 * mx * my + 0.01**2) * (2 * covariance + 0.03**2) / ((mx**2 + my**2 + 0.01**2) * (vx + vy + 0.03**2))
        )
    assert metrics.map_ssim(a, b).item() == pytest.approx(torch.stack(values).mean().item(), abs=1e-6)
