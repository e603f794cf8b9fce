"""Choose some images of a data set that is too large to look at every image."""

from __future__ import annotations


def evenly_spaced(total: int, count: int) -> list[int]:
    """Choose ``count`` indices below ``total``: pairs of neighbours at even distances; all indices if there are fewer.

    From data that is sorted by class this takes many classes, and two images of most of them.
    """
    if count >= total:
        return list(range(total))
    pairs = -(-count // 2)
    starts = [index * (total - 1) // pairs for index in range(pairs)]
    return sorted({place for start in starts for place in (start, start + 1)})[:count]
