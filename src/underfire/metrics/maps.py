"""Distances and similarities of two attribution maps.

Every function takes two batches of maps, N x h x w in [0, 1] (1 = most important), of equal shape. It returns one value
per image: shape N, float32 (float64 for float64 maps), without a graph. The value of image i depends on image i alone.
No value is ever NaN: each metric states its value for constant maps. All functions raise `InputError` for maps of
different shapes, of integers, with NaN, or outside [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from underfire.errors import InputError
from underfire.metrics._inputs import double, like_inputs, unit_pair
from underfire.metrics._ssim import mean_ssim

IOU_THRESHOLDS: tuple[float, ...] = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""The thresholds of the IoU curve: 0.05 to 0.95 in steps of 0.05."""


def _maps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return unit_pair(a, b, "maps", ("a", "b"))


def _cells(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Check both batches and return them as N x cells in float64."""
    a, b = _maps(a, b)
    return double(a).flatten(1).contiguous(), double(b).flatten(1).contiguous()


def map_l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference per cell, in [0, 1] (the L1 measure of Zhang et al. 2020, section 4)."""
    x, y = _cells(a, b)
    return like_inputs((x - y).abs().mean(dim=1), a, b)


def map_l2(a: Tensor, b: Tensor) -> Tensor:
    """Root mean square difference per cell, in [0, 1]; at least `map_l1`."""
    x, y = _cells(a, b)
    return like_inputs((x - y).square().mean(dim=1).sqrt(), a, b)


def _jaccard(a: Tensor, b: Tensor) -> Tensor:
    """Compute the Jaccard index of boolean maps: float64, N; 1 for two empty sets."""
    either = (a | b).sum(dim=(1, 2))
    both = (a & b).sum(dim=(1, 2))
    return torch.where(either > 0, double(both) / double(either.clamp(min=1)), 1.0)


def map_iou(a: Tensor, b: Tensor, threshold: float = 0.5) -> Tensor:
    """Intersection over union of the cells at or above `threshold`, in [0, 1]; 1 if neither map has such cells.

    The comparison is in the dtype of the maps, so a float32 cell of 0.7 is at threshold 0.7.
    """
    return map_iou_curve(a, b, (threshold,))[:, 0]


def map_iou_curve(a: Tensor, b: Tensor, thresholds: Sequence[float] = IOU_THRESHOLDS) -> Tensor:
    """`map_iou` at each of T thresholds in [0, 1]: N x T. The mean over dim 1 summarises the curve."""
    if not thresholds or not all(0 <= threshold <= 1 for threshold in thresholds):
        raise InputError(f"thresholds are {tuple(thresholds)}; expected at least one, each in [0, 1].")
    x, y = _maps(a, b)
    curve = [_jaccard(x >= threshold, y >= threshold) for threshold in thresholds]
    return like_inputs(torch.stack(curve, dim=1), a, b)


def map_iou_nonzero(a: Tensor, b: Tensor) -> Tensor:
    """IoU of the non-zero cells, in [0, 1], the definition in the text of Zhang et al. 2020 (section 4).

    1 if both maps are zero. It is also 1 for all pairs of maps without exact zeros, so prefer `map_iou`.
    """
    x, y = _maps(a, b)
    return like_inputs(_jaccard(x > 0, y > 0), a, b)


def map_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean structural similarity, in [-1, 1]; 1 for equal maps.

    Gaussian window inside the map, sigma 1.5, 11 cells a side (on smaller maps, the largest odd number that fits); data
    range 1 (Wang et al. 2004, "Image Quality Assessment"). Two constant maps u and v give
    (2uv + c) / (u^2 + v^2 + c) with c = 1e-4.
    """
    x, y = _maps(a, b)
    return like_inputs(mean_ssim(x.unsqueeze(1), y.unsqueeze(1)), a, b)


def _degenerate(a: Tensor, b: Tensor, value: Tensor) -> Tensor:
    """Replace `value` by 1 if both flags are set, and by 0 if one of them is."""
    return torch.where(a & b, 1.0, torch.where(a | b, 0.0, value))


def _constant(cells: Tensor) -> Tensor:
    return cells.amin(dim=1) == cells.amax(dim=1)


def _cosine(x: Tensor, y: Tensor) -> Tensor:
    """Compute the cosine of the rows: float64, N. Two rows of zeros give 1; one of them gives 0."""
    # Each row is scaled to maximum 1 first, because squares of tiny values would become 0.
    sizes = [row.abs().amax(dim=1, keepdim=True) for row in (x, y)]
    x_zero, y_zero = (size[:, 0] == 0 for size in sizes)
    x, y = (row / torch.where(size == 0, 1.0, size) for row, size in zip((x, y), sizes, strict=True))
    norms = (x.square().sum(dim=1) * y.square().sum(dim=1)).sqrt()
    cosine = (x * y).sum(dim=1) / norms.clamp(min=torch.finfo(torch.float64).tiny)
    return _degenerate(x_zero, y_zero, cosine.clamp(-1, 1))


def map_cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine similarity of the maps as vectors, in [0, 1]. Two zero maps give 1; one zero map gives 0."""
    return like_inputs(_cosine(*_cells(a, b)), a, b)


def _ranks(cells: Tensor) -> Tensor:
    """Rank each row from 1, with the average rank for ties: N x cells, float64."""
    ordered = cells.sort(dim=1).values
    below = torch.searchsorted(ordered, cells, right=False)
    upto = torch.searchsorted(ordered, cells, right=True)
    return double(below + upto + 1) / 2


def map_spearman(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's rank correlation, ties averaged, in [-1, 1] (used on maps by Ghorbani et al. 2019).

    Two constant maps, of whatever values, rank nothing and give 1; one constant map gives 0.
    """
    # The middle rank is exactly (cells + 1) / 2, so the centred ranks of a constant map are exactly 0.
    x, y = (_ranks(cells) - (cells.shape[1] + 1) / 2 for cells in _cells(a, b))
    return like_inputs(_cosine(x, y), a, b)


def map_kendall(a: Tensor, b: Tensor) -> Tensor:
    """Kendall's tau-b, in [-1, 1] (the measure of interpretation-robust training, Boopathy et al. 2020).

    Two constant maps, of whatever values, rank nothing and give 1; one constant map gives 0.
    """
    from scipy.stats import kendalltau

    x, y = _cells(a, b)
    x_constant, y_constant = _constant(x), _constant(y)
    taus = torch.zeros_like(x[:, 0])
    # scipy's O(n log n) routine takes one pair at a time, and warns of constant maps.
    for row in (~(x_constant | y_constant)).nonzero()[:, 0].tolist():
        taus[row] = float(kendalltau(x[row].cpu(), y[row].cpu()).statistic)
    return like_inputs(_degenerate(x_constant, y_constant, taus), a, b)


def _top(cells: Tensor, k: int) -> Tensor:
    """Compute the membership of each cell in the k highest of its row: float64 in [0, 1], with the sum k."""
    last = cells.topk(k, dim=1).values[:, -1:]
    above, level = cells > last, cells == last
    share = (k - double(above.sum(dim=1, keepdim=True))) / double(level.sum(dim=1, keepdim=True))
    return torch.where(above, 1.0, torch.where(level, share, 0.0))


def top_k_intersection(a: Tensor, b: Tensor, fraction: float = 0.1) -> Tensor:
    """Common share of the k highest cells of both maps, in [0, 1].

    k is `fraction` of the cells, at least one. Cells with the k-th value share the remaining places equally, so the
    result does not depend on the order of the cells: two constant maps give 1; a constant map and a map without ties
    give k / cells, the value of chance. Ghorbani et al. 2019, "Interpretation of Neural Networks is Fragile".
    """
    if not 0 < fraction <= 1:
        raise InputError(f"fraction is {fraction}; expected a share of the cells in (0, 1].")
    x, y = _cells(a, b)
    k = max(1, round(fraction * x.shape[1]))
    return like_inputs(torch.minimum(_top(x, k), _top(y, k)).sum(dim=1) / k, a, b)


def _centre(maps: Tensor) -> Tensor:
    """Compute the centre of mass of float64 maps in fractions of height and width: N x 2; the middle for a zero map."""
    _, height, width = maps.shape
    size = maps.amax(dim=(1, 2), keepdim=True)
    mass = torch.where(size > 0, maps / torch.where(size > 0, size, 1.0), 1.0)
    total = mass.sum(dim=(1, 2))
    rows = (torch.arange(height, dtype=maps.dtype, device=maps.device) + 0.5) / height
    columns = (torch.arange(width, dtype=maps.dtype, device=maps.device) + 0.5) / width
    centre = [(mass.sum(dim=2) * rows).sum(dim=1) / total, (mass.sum(dim=1) * columns).sum(dim=1) / total]
    return torch.stack(centre, dim=1)


def centre_of_mass_shift(a: Tensor, b: Tensor) -> Tensor:
    """Distance between the centres of mass of the maps, in fractions of the map's sides, in [0, sqrt(2)).

    The centre of a constant map is its middle, also for the zero map. Ghorbani et al. 2019, "Interpretation of Neural
    Networks is Fragile".
    """
    x, y = _maps(a, b)
    return like_inputs((_centre(double(x)) - _centre(double(y))).norm(dim=1), a, b)
