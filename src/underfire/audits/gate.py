"""The gate: does an audit pass a limit, fail it, or is it too uncertain to say?

It looks at the bound of an interval, never at the mean: 19 of 20 robust images with a limit of 0.9 are no proof.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from underfire.audits.doubts import Doubt
from underfire.audits.result import Audit, Robustness, said
from underfire.errors import InputError
from underfire.metrics import Interval, rate

State = Literal["pass", "fail", "investigate"]
EXIT_CODES: dict[State, int] = {"pass": 0, "fail": 1, "investigate": 3}
"""The exit codes of ``underfire audit``. 2 is wrong usage, as everywhere."""
_RANK: dict[State, int] = {"pass": 0, "investigate": 1, "fail": 2}
MOST_IMAGES = 1_000_000


@dataclass(frozen=True)
class Decision:
    """The outcome of the gate for one result, or for all.

    Args:
        state: ``pass``, ``fail`` or ``investigate``.
        text: the reason in words.
        interpreter, eps: the result; None for all.
        needed: the number of images that would decide; None if more images would not.
    """

    state: State
    text: str
    interpreter: str | None = None
    eps: float | None = None
    needed: int | None = None

    @property
    def exit_code(self) -> int:
        """0 for pass, 1 for fail, 3 for investigate."""
        return EXIT_CODES[self.state]

    def to_dict(self) -> dict[str, Any]:
        """Convert it to values for JSON."""
        return asdict(self)


def decide(audit: Audit, fail_below: float) -> tuple[Decision, ...]:
    """Decide whether joint robust accuracy is at least ``fail_below``, for each result.

    A result passes if the whole interval is at or above the limit and nothing says that attacks missed something. It
    fails if the whole interval is below the limit: attacks that found images are proof, whatever else is doubted.
    Otherwise there is something to investigate.

    Args:
        fail_below: the limit, in [0, 1].

    Returns:
        One decision for each result.

    Raises:
        InputError: ``fail_below`` is no share.
    """
    if not 0 <= fail_below <= 1:
        raise InputError(f"fail_below is {fail_below:g}; expected a share in [0, 1], such as 0.2 for 20 % of images.")
    return tuple(_decide(result, fail_below, audit.doubts_of(result)) for result in audit.results)


def _decide(result: Robustness, limit: float, doubts: Sequence[Doubt]) -> Decision:
    joint = result.joint
    assert joint.mean is not None
    assert joint.low is not None
    assert joint.high is not None
    make = partial(Decision, interpreter=result.interpreter, eps=result.eps)
    words = f"joint robust accuracy {said(joint)}"
    if joint.high < limit:
        return make("fail", f"{words} is below {limit:g}")
    hidden = [doubt for doubt in doubts if doubt.hides]
    if joint.low >= limit and not hidden:
        return make("pass", f"{words} is not below {limit:g}")
    if joint.low >= limit:
        return make("investigate", f"{words} is not below {limit:g}, but {hidden[0].text}")
    needed = images_needed(joint.mean, limit)
    more = "no number of images would decide" if needed is None else f"about {needed} images would decide"
    return make("investigate", f"{limit:g} lies inside {words}: {more}", needed=needed)


def images_needed(mean: float, limit: float) -> int | None:
    """Compute how many images make the score interval (Wilson 1927) of ``mean`` exclude ``limit``.

    Returns:
        The number; None if even a million would not be enough, because the two are (nearly) equal.
    """

    def decides(count: int) -> bool:
        found = _interval(mean, count)
        return found[1] < limit or found[0] >= limit

    if not decides(MOST_IMAGES):
        return None
    low, high = 1, MOST_IMAGES
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle + 1, high)
    return low


def _interval(mean: float, count: int) -> tuple[float, float]:
    z = 1.959963984540054
    middle = (mean + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(mean * (1 - mean) / count + z * z / (4 * count * count))
    return middle - half, middle + half


def compare(now: Audit, earlier: dict[str, Any]) -> tuple[Decision, ...]:
    """Compare with an earlier audit, by the intervals of both: is joint robust accuracy lower than it was?

    Args:
        now: the audit.
        earlier: the record of the earlier one (``Audit.to_dict``, as ``audit.json`` holds it).

    Returns:
        One decision for each result that both have: ``fail`` if the interval of the difference (Newcombe 1998) is
        below 0, else ``pass``. Other ensembles cannot be compared: ``investigate``.
    """
    if earlier.get("ensemble") != now.ensemble:
        return (Decision("investigate", f"the baseline used {earlier.get('ensemble')}, this audit {now.ensemble}"),)
    before = {
        (each["interpreter"], round(each["eps"], 6)): each["joint_robust_accuracy"] for each in earlier["results"]
    }
    found = []
    for result in now.results:
        old = before.get((result.interpreter, round(result.eps, 6)))
        if old is None or old["mean"] is None:
            continue
        new = rate(result.correct & ~result.fooled)
        was = rate([True] * round(old["mean"] * old["n"]) + [False] * (old["n"] - round(old["mean"] * old["n"])))
        low, high = _difference(new, was)
        state: State = "fail" if high < 0 else "pass"
        text = f"joint robust accuracy {said(new)}, before {said(was)}: difference [{low:+.3f}, {high:+.3f}]"
        found.append(Decision(state, text, result.interpreter, result.eps))
    return tuple(found) or (Decision("investigate", "the baseline has none of these interpreters and radii"),)


def _difference(new: Interval, old: Interval) -> tuple[float, float]:
    """Compute the interval of the difference of two independent rates (Newcombe 1998, method 10)."""
    assert new.mean is not None
    assert new.low is not None
    assert new.high is not None
    assert old.mean is not None
    assert old.low is not None
    assert old.high is not None
    gap = new.mean - old.mean
    low = gap - math.hypot(new.mean - new.low, old.high - old.mean)
    high = gap + math.hypot(new.high - new.mean, old.mean - old.low)
    return low, high


def decide_all(
    audit: Audit,
    fail_below: float | None,
    earlier: dict[str, Any] | None = None,
    controls: Sequence[Decision] = (),
) -> tuple[Decision, ...]:
    """Decide by a limit, by an earlier audit, or by both, and by the gate's own controls.

    Returns:
        The decision for the whole audit, which is the worst one, and then all single ones.
    """
    single: list[Decision] = [] if fail_below is None else list(decide(audit, fail_below))
    if earlier is not None:
        single += compare(audit, earlier)
    single += controls
    worst = max(single, key=lambda decision: _RANK[decision.state])
    counts = {state: sum(decision.state == state for decision in single) for state in EXIT_CODES}
    text = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    needed = max((decision.needed for decision in single if decision.needed), default=None)
    return (Decision(worst.state, text, needed=needed), *single)


def open_baseline(path: Path) -> dict[str, Any]:
    """Read the record of an earlier audit.

    Raises:
        InputError: the file cannot be read, or is no record of an audit.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        assert all("joint_robust_accuracy" in each for each in found["results"])
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise InputError(
            f"baseline {path} cannot be read as an audit ({type(error).__name__}): expected the audit.json that an "
            "earlier 'underfire audit' wrote into its folder."
        ) from error
    return dict(found)
