"""Properties of every metric on every pair: symmetry, range, identity, independence of the batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from underfire import metrics

Metric = Callable[[Tensor, Tensor], Tensor]

# metric, lowest value, highest value, value of a map or an image with itself
MAPS: dict[str, tuple[Metric, float, float, float]] = {
    "l1": (metrics.map_l1, 0, 1, 0),
    "l2": (metrics.map_l2, 0, 1, 0),
    "iou": (metrics.map_iou, 0, 1, 1),
    "iou_curve": (metrics.map_iou_curve, 0, 1, 1),
    "iou_nonzero": (metrics.map_iou_nonzero, 0, 1, 1),
    "ssim": (metrics.map_ssim, -1, 1, 1),
    "spearman": (metrics.map_spearman, -1, 1, 1),
    "kendall": (metrics.map_kendall, -1, 1, 1),
    "cosine": (metrics.map_cosine, 0, 1, 1),
    "top_k": (metrics.top_k_intersection, 0, 1, 1),
    "centre": (metrics.centre_of_mass_shift, 0, 2**0.5, 0),
}
IMAGES: dict[str, tuple[Metric, float, float, float]] = {
    "ssim": (metrics.ssim, -1, 1, 1),
    "noise": (metrics.noise, 0, 2, 0),
    "linf": (metrics.linf, 0, 1, 0),
    "l2": (metrics.l2, 0, 30, 0),
    "changed_fraction": (metrics.changed_fraction, 0, 1, 0),
    "edge_energy": (metrics.edge_energy, 0, 1, 0),
}
TOLERANCE = 1e-6


@st.composite
def pairs(draw: st.DrawFn, dimensions: int) -> tuple[Tensor, Tensor]:
    """Two batches: any float32 in [0, 1], or few levels, so that ties, zeros and constant maps are common."""
    batch = draw(st.integers(1, 3))
    rest = [draw(st.integers(1, 13)) for _ in range(2)]
    channels = [] if dimensions == 3 else [draw(st.sampled_from([1, 3]))]
    values = st.one_of(
        st.floats(0, 1, width=32), st.sampled_from([0.0, 0.5, 1.0]), st.just(draw(st.floats(0, 1, width=32)))
    )
    arrays = hnp.arrays(np.float32, (batch, *channels, *rest), elements=values)
    return torch.from_numpy(draw(arrays)), torch.from_numpy(draw(arrays))


def check(metric: Metric, low: float, high: float, same: float, a: Tensor, b: Tensor) -> None:
    values = metric(a, b)
    assert torch.isfinite(values).all()
    assert values.min() >= low - TOLERANCE
    assert values.max() <= high + TOLERANCE
    assert torch.allclose(metric(a, a.clone()), torch.full_like(values, same), atol=TOLERANCE)
    alone = torch.cat([metric(a[i : i + 1], b[i : i + 1]) for i in range(len(a))])
    assert torch.allclose(values, alone, rtol=0, atol=1e-7)
    reversed_batch = metric(a.flip(0), b.flip(0)).flip(0)
    assert torch.allclose(values, reversed_batch, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", MAPS)
@settings(max_examples=40, deadline=None)
@given(pair=pairs(3))
def test_every_map_metric(name: str, pair: tuple[Tensor, Tensor]) -> None:
    metric, low, high, same = MAPS[name]
    check(metric, low, high, same, *pair)
    assert torch.allclose(metric(*pair), metric(pair[1], pair[0]), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", IMAGES)
@settings(max_examples=40, deadline=None)
@given(pair=pairs(4))
def test_every_image_metric(name: str, pair: tuple[Tensor, Tensor]) -> None:
    metric, low, high, same = IMAGES[name]
    check(metric, low, high, same, *pair)
    if name != "edge_energy":  # its edges are the clean image's
        assert torch.allclose(metric(*pair), metric(pair[1], pair[0]), rtol=0, atol=TOLERANCE)


def test_no_metric_is_left_out() -> None:
    listed = {row[0].__name__ for row in (*MAPS.values(), *IMAGES.values())}
    modules = ("underfire.metrics.maps", "underfire.metrics.images")
    measured = {n for n in metrics.__all__ if getattr(getattr(metrics, n), "__module__", "") in modules}
    assert listed == measured


@settings(max_examples=40, deadline=None)
@given(pair=pairs(3), power=st.sampled_from([2.0, 3.0]))
def test_ranks_see_order_only_and_reverse(pair: tuple[Tensor, Tensor], power: float) -> None:
    # Few levels, so that a power neither merges nor splits equal values.
    a, b = ((x * 16).round() / 16 for x in pair)
    for metric in (metrics.map_spearman, metrics.map_kendall):
        assert torch.allclose(metric(a, b), metric(a**power, b), atol=TOLERANCE)
        varied = ((a.amax((1, 2)) > a.amin((1, 2))) & (b.amax((1, 2)) > b.amin((1, 2)))).float()
        assert torch.allclose(metric(a, b) * varied, -metric(a, 1 - b) * varied, atol=TOLERANCE)


@settings(max_examples=40, deadline=None)
@given(pair=pairs(3))
def test_order_between_metrics(pair: tuple[Tensor, Tensor]) -> None:
    a, b = pair
    l1, l2 = metrics.map_l1(a, b), metrics.map_l2(a, b)
    assert (l1 <= l2 + TOLERANCE).all()
    assert (l2.square() <= l1 + TOLERANCE).all()  # differences are at most 1


@settings(max_examples=40, deadline=None)
@given(pair=pairs(4))
def test_norms_of_a_perturbation_bound_each_other(pair: tuple[Tensor, Tensor]) -> None:
    linf, l2 = metrics.linf(*pair), metrics.l2(*pair)
    count = pair[0][0].numel()
    assert (linf <= l2 + TOLERANCE).all()
    assert (l2 <= linf * count**0.5 + 1e-5).all()
    assert torch.equal(
        metrics.changed_fraction(*pair) > 0,
        torch.tensor([not x.equal(y) for x, y in zip(*pair, strict=True)]),
    )


@settings(max_examples=40, deadline=None)
@given(pair=pairs(4), low=st.floats(0, 0.4), high=st.floats(0.4, 0.8))
def test_edge_energy_shrinks_with_its_threshold(pair: tuple[Tensor, Tensor], low: float, high: float) -> None:
    assume(low < high)
    assert (metrics.edge_energy(*pair, low) >= metrics.edge_energy(*pair, high)).all()
