"""The places of tokens, and the order of the axes of what holds them."""

from __future__ import annotations

import pytest
import torch

from underfire.classifiers.tokens import arrangement_of, places


@pytest.mark.parametrize(
    ("length", "sizes", "expected"),
    [
        (16, [(2, 2), (4, 4)], ((4, 4), 0)),  # a later convolution made a smaller grid
        (17, [(2, 2), (4, 4), (32, 32)], ((4, 4), 1)),
        (4, [(2, 2), (4, 4)], ((2, 2), 0)),
        (20, [(2, 2), (3, 5)], ((3, 5), 5)),
    ],
)
def test_the_grid_leaves_the_fewest_tokens_over(
    length: int, sizes: list[tuple[int, int]], expected: tuple[tuple[int, int], int]
) -> None:
    assert places(length, sizes, (32, 32)) == expected


@pytest.mark.parametrize(
    ("shape", "image", "grid"),
    [
        ((1, 4, 5, 768), (100, 150), (4, 5)),  # Swin: 25 x 37 patches, halved three times and rounded up
        ((1, 4, 4, 768), (128, 128), (4, 4)),
        ((1, 768, 4, 5), (100, 150), None),
        ((1, 512, 7, 7), (224, 320), None),  # pooled to a size of its own
        ((1, 8, 8, 8), (32, 32), None),
        ((1, 1, 2, 768), (20, 40), (1, 2)),
    ],
)
def test_the_order_of_four_axes(shape: tuple[int, ...], image: tuple[int, int], grid: tuple[int, int] | None) -> None:
    found = arrangement_of(torch.zeros(shape), None, [], torch.zeros(1, 3, *image))
    assert (None if found is None else found.grid) == grid
