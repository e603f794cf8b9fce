"""The gate: does an audit pass a limit, fail it, or is it too uncertain to say?

It looks at the bound of an interval, never at the mean: 19 of 20 robust images with a limit of 0.9 are no proof. The
interval is the exact one: with a score interval, up to 8 % of audits at the limit would pass, and not 2.5 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from statistics import NormalDist
from typing import Any

from underfire import metrics
from underfire.arguments import check_between
from underfire.audits.baseline import compare
from underfire.audits.decision import EXIT_CODES, Decision, State
from underfire.audits.doubt import Doubt
from underfire.audits.result import Audit, Robustness, said
from underfire.errors import InputError
from underfire.metrics import Interval

_RANK: dict[State, int] = {"pass": 0, "investigate": 1, "fail": 2}
_VERBS: dict[State, tuple[str, str]] = {
    "pass": ("passes", "pass"),
    "fail": ("fails", "fail"),
    "investigate": ("needs a look", "need a look"),
}
MOST_IMAGES = 1_000_000
OFTEN = (NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)) / NormalDist().inv_cdf(0.975)
"""So many arms of its interval lies a share from a limit that the interval excludes with a chance of 80 %."""


def check_limit(fail_below: float) -> None:
    """Raise InputError if ``fail_below`` is no share."""
    check_between("fail_below", fail_below, 0, 1, "a share in [0, 1], such as 0.2 for 20 % of images", "[]")


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
    check_limit(fail_below)
    return tuple(_decide(result, fail_below, audit.doubts_of(result)) for result in audit.results)


def _decide(result: Robustness, limit: float, doubts: Sequence[Doubt]) -> Decision:
    joint = certain(result.joint)
    assert joint.low is not None
    assert joint.high is not None
    make = partial(Decision, interpreter=result.interpreter, eps=result.eps)
    words = f"joint robust accuracy {said(joint)} (exact interval)"
    if joint.high < limit:
        return make("fail", f"{words} is below {limit:g}")
    hidden = [doubt for doubt in doubts if doubt.hides]
    if joint.low >= limit and not hidden:
        return make("pass", f"{words} is not below {limit:g}")
    if joint.low >= limit:
        return make("investigate", f"{words} is not below {limit:g}, but {hidden[0].text}", "doubt")
    if hidden:
        return make("investigate", f"{limit:g} lies inside {words}, and {hidden[0].text}", "doubt")
    needed = images_needed(result.joint, limit)
    more = "no number of images would decide" if needed is None else f"about {needed} images would likely decide"
    return make("investigate", f"{limit:g} lies inside {words}: {more}", needed=needed)


def certain(joint: Interval) -> Interval:
    """Return the exact interval of a share, wider by as much as the limit of kept makes ``joint`` wider.

    Args:
        joint: the share with its score interval, which the uncertainty of the limit of kept has widened.
    """
    return _interval(joint, joint.n)


def _interval(joint: Interval, count: int) -> Interval:
    """Compute what ``certain`` is for ``count`` images with one share; the limit's part shrinks with their root."""
    assert joint.mean is not None
    assert joint.low is not None
    assert joint.high is not None
    score, exact = metrics.score_interval(joint.mean, joint.n), metrics.exact_interval(joint.mean, count)
    assert score.low is not None
    assert score.high is not None
    assert exact.low is not None
    assert exact.high is not None
    shrunk = math.sqrt(joint.n / count)
    low = exact.low - shrunk * max(0.0, score.low - joint.low)
    high = exact.high + shrunk * max(0.0, joint.high - score.high)
    return Interval(joint.mean, max(low, 0.0), min(high, 1.0), count)


def images_needed(joint: Interval, limit: float) -> int | None:
    """Compute how many images would make the interval of a share exclude ``limit``, with a chance of about 80 %.

    The share is taken for the true one. Among new images it comes out nearer to the limit half of the time: it must be
    so far from the limit that the interval would exclude it even then.

    Args:
        joint: as in ``certain``.
        limit: in [0, 1].

    Returns:
        The number, more than those of ``joint``; None if even a million would not be enough, because the two are
        (nearly) equal.
    """

    def decides(count: int) -> bool:
        found = _interval(joint, count)
        assert found.mean is not None
        assert found.low is not None
        assert found.high is not None
        above, below = found.high - found.mean, found.mean - found.low
        return found.mean + OFTEN * above < limit or found.mean - OFTEN * below >= limit

    if not decides(MOST_IMAGES):
        return None
    low_count, high_count = joint.n + 1, MOST_IMAGES
    while low_count < high_count:
        middle = (low_count + high_count) // 2
        low_count, high_count = (low_count, middle) if decides(middle) else (middle + 1, high_count)
    return low_count


def decide_all(
    audit: Audit,
    fail_below: float | None,
    earlier: dict[str, Any] | None = None,
    controls: Sequence[Decision] = (),
) -> tuple[Decision, ...]:
    """Decide by a limit, by an earlier audit, or by both, and by the gate's own controls.

    Args:
        audit: the audit.
        fail_below: the limit, in [0, 1]; no limit if None.
        earlier: the record of an earlier audit, as ``open_baseline`` reads it; no comparison if None.
        controls: what the gate's own controls found; see ``check_gate``.

    Returns:
        The decision for the whole audit, which is the worst one, and then all single ones.

    Raises:
        InputError: ``fail_below`` is no share, or there is nothing to decide by.
    """
    if fail_below is None and earlier is None:
        raise InputError("there is nothing to decide by: give a limit (fail_below), or an earlier audit (a baseline).")
    single: list[Decision] = [] if fail_below is None else list(decide(audit, fail_below))
    if earlier is not None:
        single += compare(audit, earlier)
    single += controls
    worst = max(single, key=lambda decision: _RANK[decision.state])
    counts = {state: sum(decision.state == state for decision in single) for state in EXIT_CODES}
    counted_words = [f"{count} {_VERBS[state][count > 1]}" for state, count in counts.items() if count]
    text = f"of {len(single)} {'result' if len(single) == 1 else 'results'}, {', '.join(counted_words)}"
    counted = [decision.needed for decision in single if decision.state == "investigate"]
    needed = max((each or 0 for each in counted), default=0) if all(counted) else 0
    return (Decision(worst.state, text, worst.cause, needed=needed or None), *single)
