"""Which images to look at where all would be too many."""

from __future__ import annotations


def spread(total: int, count: int) -> list[int]:
    """``count`` indices below ``total`` in pairs of neighbours, so that data sorted by class shows many classes, and
    more than one image of each."""
    if count >= total:
        return list(range(total))
    pairs = -(-count // 2)
    starts = [index * (total - 1) // pairs for index in range(pairs)]
    return sorted({place for start in starts for place in (start, start + 1)})[:count]
