"""Few combinations that cover all triples, or all pairs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product


def covering(strength: int, *factors: Sequence[str]) -> list[tuple[str, ...]]:
    """Choose combinations of one value per factor that cover every combination of values of ``strength`` factors.

    Greedy: the first combination that is still missing begins a row, and each further factor takes the value that
    covers most of what is missing. Always the same rows for the same factors.
    """
    missing = {
        tuple(zip(chosen, values, strict=True))
        for chosen in combinations(range(len(factors)), strength)
        for values in product(*(range(len(factors[factor])) for factor in chosen))
    }
    rows = []
    while missing:
        row = dict(min(missing))
        for factor in range(len(factors)):
            if factor in row:
                continue
            gains = []
            for value in range(len(factors[factor])):
                others = combinations(sorted(row.items()), strength - 1)
                gains.append(sum(tuple(sorted((*some, (factor, value)))) in missing for some in others))
            row[factor] = gains.index(max(gains))
        missing -= set(combinations(sorted(row.items()), strength))
        rows.append(tuple(factors[factor][row[factor]] for factor in range(len(factors))))
    return rows
