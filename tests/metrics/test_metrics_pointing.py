"""The pointing metrics against hand-worked values, a slow replica of the interpolation, and in limiting cases."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from underfire import metrics
from underfire.errors import InputError

Measure = Callable[[Tensor, Tensor], Tensor]
FUNCTIONS: list[Measure] = [metrics.mass_inside, metrics.peak_inside]


def random_case(seed: int, count: int, cells: tuple[int, int], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(count, *cells, generator=generator)
    return maps, torch.rand(count, *size, generator=generator) < 0.3


def slowly_enlarged(cells: list[list[float]], height: int, width: int) -> list[list[float]]:
    """Interpolate bilinearly by the definition: centres of cells stay in place, and the borders are constant."""

    def nearby(position: float, count: int) -> tuple[int, int, float]:
        position = min(max(position, 0.0), count - 1.0)
        low = min(math.floor(position), count - 1)
        return low, min(low + 1, count - 1), position - low

    large = []
    for y in range(height):
        top, bottom, down = nearby((y + 0.5) * len(cells) / height - 0.5, len(cells))
        row = []
        for x in range(width):
            left, right, across = nearby((x + 0.5) * len(cells[0]) / width - 0.5, len(cells[0]))
            upper = (1 - across) * cells[top][left] + across * cells[top][right]
            lower = (1 - across) * cells[bottom][left] + across * cells[bottom][right]
            row.append((1 - down) * upper + down * lower)
        large.append(row)
    return large


def test_by_hand_without_enlarging() -> None:
    maps = torch.tensor([[[0.5, 0.25], [0.25, 1.0]]])
    lower = torch.tensor([[[False, False], [True, True]]])
    assert metrics.mass_inside(maps, lower).tolist() == [1.25 / 2]
    assert metrics.mass_inside(maps, ~lower).tolist() == [0.75 / 2]
    assert metrics.peak_inside(maps, lower).tolist() == [True]
    assert metrics.peak_inside(maps, ~lower).tolist() == [False]


def test_by_hand_enlarged() -> None:
    """Cells 0 and 1, four pixels wide: 0, 1/4, 3/4, 1."""
    maps = torch.tensor([[[0.0, 1.0]]])
    for column, share in enumerate((0, 1 / 8, 3 / 8, 1 / 2)):
        mask = torch.zeros(1, 3, 4, dtype=torch.bool)
        mask[:, :, column] = True
        assert metrics.mass_inside(maps, mask).item() == pytest.approx(share, abs=1e-7)
        assert metrics.peak_inside(maps, mask).item() is (column == 3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.integers(1, 5), st.integers(1, 5), st.integers(0, 7), st.integers(0, 7))
def test_as_a_slow_replica_has_it(seed: int, h: int, w: int, more: int, wider: int) -> None:
    maps, masks = random_case(seed, 2, (h, w), (h + more, w + wider))
    for one, mask, mass, peak in zip(
        maps, masks, metrics.mass_inside(maps, masks), metrics.peak_inside(maps, masks), strict=True
    ):
        large = slowly_enlarged(one.double().tolist(), h + more, w + wider)
        pairs = [
            (v, m) for values, row in zip(large, mask.tolist(), strict=True) for v, m in zip(values, row, strict=True)
        ]
        total = sum(value for value, _ in pairs)
        assert mass.item() == pytest.approx(sum(value for value, inside in pairs if inside) / total, abs=1e-6)
        largest = max(value for value, _ in pairs)
        at = [inside for value, inside in pairs if value > largest - 1e-9]
        assert peak.item() is (2 * sum(at) > len(at))


def test_inside_and_outside_add_up() -> None:
    maps, masks = random_case(3, 20, (5, 4), (17, 23))
    sums = metrics.mass_inside(maps, masks) + metrics.mass_inside(maps, ~masks)
    assert torch.allclose(sums, torch.ones(20))


def test_constant_maps_give_the_value_of_chance() -> None:
    masks = torch.zeros(1, 10, 10, dtype=torch.bool)
    masks[0, :3] = True
    for level in (0.0, 1e-40, 0.3, 1.0):
        maps = torch.full((1, 3, 7), level)  # thirds and sevenths: enlarged, the values are equal up to rounding
        assert metrics.mass_inside(maps, masks).item() == pytest.approx(0.3)
        assert metrics.peak_inside(maps, masks).item() is False
        assert metrics.peak_inside(maps, ~masks).item() is True


def test_rounding_makes_no_peak() -> None:
    """Interpolation between equal cells makes a few pixels larger by rounding; here the mask consists of them."""
    maps = torch.full((1, 7, 7), 0.3, dtype=torch.float64)
    large = torch.nn.functional.interpolate(maps[None], (17, 17), mode="bilinear", align_corners=False)[0]
    highest = large == large.max()
    assert highest.double().mean() < 0.5
    assert metrics.peak_inside(maps, highest).item() is False


def test_of_several_maxima_more_than_half_must_lie_inside() -> None:
    maps = torch.tensor([[[1.0, 0.2, 1.0, 1.0]]])
    for inside, expected in (
        ([1, 0, 0, 0], False),
        ([1, 0, 1, 0], True),
        ([1, 1, 0, 0], False),
        ([0, 1, 1, 1], True),
    ):
        assert metrics.peak_inside(maps, torch.tensor([[inside]]) > 0).item() is expected
    two = torch.tensor([[[1.0, 0.0, 1.0]]])
    assert metrics.peak_inside(two, torch.tensor([[[True, True, False]]])).item() is False


def test_empty_and_full_masks() -> None:
    maps, masks = random_case(1, 3, (4, 4), (8, 8))
    nothing = torch.zeros_like(masks)
    assert metrics.mass_inside(maps, nothing).tolist() == [0, 0, 0]
    assert metrics.mass_inside(maps, ~nothing).tolist() == [1, 1, 1]
    assert not metrics.peak_inside(maps, nothing).any()
    assert metrics.peak_inside(maps, ~nothing).all()


def test_tiny_maps_count_like_large_ones() -> None:
    maps, masks = random_case(2, 4, (4, 5), (16, 15))
    for scale in (2.0**-60, 2.0**-100):
        assert torch.allclose(metrics.mass_inside(maps * scale, masks), metrics.mass_inside(maps, masks), rtol=1e-6)
        assert torch.equal(metrics.peak_inside(maps * scale, masks), metrics.peak_inside(maps, masks))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_image_does_not_see_its_batch(function: Measure) -> None:
    maps, masks = random_case(7, 13, (8, 8), (64, 64))
    maps[4] = 0
    alone = [function(maps[i : i + 1], masks[i : i + 1]) for i in range(13)]
    assert torch.equal(function(maps, masks), torch.cat(alone))


def test_types_and_graphs() -> None:
    maps, masks = random_case(0, 2, (3, 3), (6, 6))
    maps.requires_grad_()
    mass = metrics.mass_inside(maps, masks)
    assert (mass.dtype, mass.shape, mass.requires_grad) == (torch.float32, (2,), False)
    assert metrics.mass_inside(maps.double(), masks).dtype == torch.float64
    peak = metrics.peak_inside(maps, masks)
    assert (peak.dtype, peak.shape) == (torch.bool, (2,))
    for function in FUNCTIONS:
        assert function(maps[:0], masks[:0]).shape == (0,)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("maps", "masks", "message"),
    [
        (torch.zeros(2, 3, 3), torch.zeros(2, 6, 6), r"masks are torch\.float32; expected torch\.bool, True where"),
        (
            torch.zeros(2, 3, 3),
            torch.zeros(1, 6, 6) > 0,
            r"masks have shape \(1, 6, 6\); expected N x H x W with N = 2",
        ),
        (torch.zeros(2, 3, 3), torch.zeros(2, 1, 6, 6) > 0, r"masks have shape \(2, 1, 6, 6\); expected N x H x W"),
        (torch.zeros(2, 3, 3), torch.zeros(2, 6, 0) > 0, r"masks have shape \(2, 6, 0\)"),
        (torch.zeros(2, 3, 7), torch.zeros(2, 6, 6) > 0, r"maps are 3 x 7, larger than the masks, 6 x 6; expected"),
        (torch.full((2, 3, 3), 1.5), torch.zeros(2, 6, 6) > 0, r"maps ranges over \[1\.5, 1\.5\]; expected maps in"),
        (torch.full((2, 3, 3), math.nan), torch.zeros(2, 6, 6) > 0, r"maps ranges over \[nan, nan\]"),
        (torch.zeros(3, 3), torch.zeros(2, 6, 6) > 0, r"maps has shape \(3, 3\); expected maps N x h x w"),
    ],
)
def test_unusable_arguments(
    function: Measure,
    maps: Tensor,
    masks: Tensor,
    message: str,
) -> None:
    with pytest.raises(InputError, match=message):
        function(maps, masks)


def test_a_tolerance_is_a_distance_to_the_object() -> None:
    """The mask has one pixel: a maximum counts up to the tolerance away, measured in a straight line."""
    mask = torch.zeros(1, 11, 11, dtype=torch.bool)
    mask[0, 5, 4] = True
    for tolerance in (0.0, 1.0, 1.5, 2.0, 3.7, 20.0):
        for y in range(11):
            for x in range(11):
                maps = torch.zeros(1, 11, 11)
                maps[0, y, x] = 1.0
                near = math.hypot(y - 5, x - 4) <= tolerance
                assert metrics.peak_inside(maps, mask, tolerance).item() is near
    assert not metrics.peak_inside(torch.rand(1, 11, 11), torch.zeros_like(mask), 20.0).any()
    for wrong in (-1.0, math.inf, math.nan):
        with pytest.raises(InputError, match="tolerance is"):
            metrics.peak_inside(maps, mask, wrong)
