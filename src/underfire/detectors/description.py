"""What a run's record says of an attack's loss terms."""

from __future__ import annotations

import re
from collections.abc import Iterator


def terms_of(attack: str, *names: str) -> Iterator[str]:
    """Yield the descriptions of an attack's loss terms of some kinds, such as ``Squeeze(squeezers=(Median(size=2),))``.

    Args:
        attack: the attack's description in ``run.json``.
        names: the names of the terms' classes.
    """
    for found in re.finditer(rf"\bterm=(?:{'|'.join(names)})\(", attack):
        depth = 0
        for place in range(found.end() - 1, len(attack)):
            depth += {"(": 1, ")": -1}.get(attack[place], 0)
            if not depth:
                yield attack[found.start() + len("term=") : place + 1]
                break
