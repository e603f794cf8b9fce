"""The comparison of an audit with an earlier one: is joint robust accuracy lower than it was?"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from underfire.attacks.perturbations import eps_text
from underfire.audits.decision import Decision
from underfire.audits.documents import images_hash
from underfire.audits.result import Audit, Robustness, said
from underfire.errors import InputError
from underfire.metrics import Interval

Kinds = Mapping[str, type | tuple[type, ...]]

_OF_AN_AUDIT: Kinds = {"ensemble": str, "attacks": list, "images_sha256": str, "results": list}
_OF_A_RESULT: Kinds = {"interpreter": str, "eps": (int, float), "joint_robust_accuracy": dict}
_OF_AN_INTERVAL: Kinds = dict.fromkeys(("mean", "low", "high", "n"), (int, float))


def open_baseline(path: Path) -> dict[str, Any]:
    """Read the record of an earlier audit.

    Raises:
        InputError: the file cannot be read, or is no record of an audit.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(path, f"{type(error).__name__}") from error
    _check(path, found, _OF_AN_AUDIT, "it")
    if not found["results"]:
        raise _unreadable(path, "it has no results")
    for each in found["results"]:
        _check(path, each, _OF_A_RESULT, "a result")
        _check(path, each["joint_robust_accuracy"], _OF_AN_INTERVAL, "joint_robust_accuracy")
    return dict(found)


def _check(path: Path, found: Any, expected: Kinds, what: str) -> None:
    if not isinstance(found, dict):
        raise _unreadable(path, f"{what} is no table of names and values")
    for name, kind in expected.items():
        if not isinstance(found.get(name), kind):
            raise _unreadable(path, f"{what} has no {name}, or one of another kind")


def _unreadable(path: Path, why: str) -> InputError:
    return InputError(
        f"baseline {path} cannot be read as an audit ({why}): expected the audit.json that an earlier "
        "'underfire audit' wrote into its folder."
    )


def compare(now: Audit, earlier: dict[str, Any]) -> tuple[Decision, ...]:
    """Compare with an earlier audit, by the intervals of both: is joint robust accuracy lower than it was?

    Args:
        now: the audit.
        earlier: the record of the earlier one, as ``open_baseline`` reads it.

    Returns:
        One decision for each interpreter and radius that either audit has. ``fail`` if the interval of the difference
        (Newcombe 1998) is below 0. Otherwise ``investigate`` if the two cannot be compared (other attacks, other
        images, a result that one of them lacks), or if attacks may have missed something now; else ``pass``.
    """
    if earlier["ensemble"] != now.ensemble or earlier["attacks"] != [member.to_dict() for member in now.members]:
        used = (f"{each} ({count} attacks)" for each, count in _ensembles(now, earlier))
        return (_investigate(f"the baseline used other attacks: {' and '.join(used)}"),)
    if earlier["images_sha256"] != images_hash(now):
        return (_investigate("the baseline is about other images: make it anew with the images of today"),)
    before = {
        (each["interpreter"], round(each["eps"], 6)): each["joint_robust_accuracy"] for each in earlier["results"]
    }
    found = [
        _compare(now, result, before.pop((result.interpreter, round(result.eps, 6)), None)) for result in now.results
    ]
    for name, eps in before:
        found.append(_investigate(f"the baseline has {name} at eps {eps_text(eps)}, and this audit has not"))
    return tuple(found)


def _ensembles(now: Audit, earlier: dict[str, Any]) -> tuple[tuple[str, int], tuple[str, int]]:
    return (earlier["ensemble"], len(earlier["attacks"])), (now.ensemble, len(now.members))


def _investigate(text: str) -> Decision:
    return Decision("investigate", text, "baseline")


def _compare(audit: Audit, result: Robustness, before: dict[str, Any] | None) -> Decision:
    name, eps = result.interpreter, result.eps
    if before is None:
        text = f"the baseline does not have {name} at eps {eps_text(eps)}"
        return Decision("investigate", text, "baseline", name, eps)
    new, was = result.joint, Interval(before["mean"], before["low"], before["high"], int(before["n"]))
    low, high = difference(new, was)
    text = f"joint robust accuracy {said(new)}, before {said(was)}: difference [{low:+.3f}, {high:+.3f}]"
    if high < 0:
        return Decision("fail", text, "baseline", name, eps)
    hidden = [doubt for doubt in audit.doubts_of(result) if doubt.hides]
    if hidden:
        return Decision("investigate", f"{text}, but {hidden[0].text}", "doubt", name, eps)
    return Decision("pass", text, "baseline", name, eps)


def difference(new: Interval, old: Interval) -> tuple[float, float]:
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
