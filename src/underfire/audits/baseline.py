"""The comparison of an audit with an earlier one: is joint robust accuracy lower than it was?"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from underfire import metrics
from underfire.attacks.limits import Flags
from underfire.attacks.perturbations import eps_text
from underfire.audits.decision import Decision
from underfire.audits.documents import images_hash
from underfire.audits.result import Audit, Robustness, said
from underfire.errors import InputError

Kinds = Mapping[str, type | tuple[type, ...]]

_OF_AN_AUDIT: Kinds = {"ensemble": str, "attacks": list, "interpreters": dict, "images_sha256": str, "results": list}
_OF_A_RESULT: Kinds = {"interpreter": str, "eps": (int, float), "images": list, "joint_robust_accuracy": dict}
_OF_AN_INTERVAL: Kinds = {"low": (int, float), "high": (int, float)}
_OF_AN_IMAGE: Kinds = {"label": int, "correct": bool, "fooled": bool}


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
        _check(path, each["joint_robust_accuracy"], _OF_AN_INTERVAL, "an interval")
        for image in each["images"]:
            _check(path, image, _OF_AN_IMAGE, "an image")
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
    """Compare with an earlier audit of the same images, image by image: is joint robust accuracy lower than it was?

    Args:
        now: the audit.
        earlier: the record of the earlier one, as ``open_baseline`` reads it.

    Returns:
        One decision for each interpreter and radius that either audit has. ``fail`` if the interval of the paired
        difference is below 0: that of Newcombe (1998, method 10), widened by what the uncertainty of both limits adds
        to the intervals of the two shares. Otherwise ``investigate`` if it is lower, but the interval
        holds 0; if the two cannot be compared (other attacks, images, labels or settings, a result that one of them
        lacks); or if attacks may have missed something now. Else ``pass``.
    """
    if earlier["ensemble"] != now.ensemble or earlier["attacks"] != [member.to_dict() for member in now.members]:
        used = f"{earlier['ensemble']} ({len(earlier['attacks'])} attacks)"
        mine = f"{now.ensemble} ({len(now.members)} attacks)"
        return (_investigate(f"the baseline used other attacks, {used}; this audit {mine}"),)
    before = {(each["interpreter"], round(each["eps"], 6)): each for each in earlier["results"]}
    labels = [[image["label"] for image in each["images"]] for each in earlier["results"]]
    if earlier["images_sha256"] != images_hash(now) or any(each != list(now.labels) for each in labels):
        return (_investigate("the baseline is about other images or labels: make it anew with those of today"),)
    found = []
    for result in now.results:
        was = before.pop((result.interpreter, round(result.eps, 6)), None)
        same = all(earlier["interpreters"].get(name) == now.settings.get(name) for name in result.limits)
        found.append(_compare(now, result, was, same))
    for name, eps in before:
        found.append(_investigate(f"the baseline has {name} at eps {eps_text(eps)}, and this audit has not"))
    return tuple(found)


def _investigate(text: str) -> Decision:
    return Decision("investigate", text, "baseline")


def _compare(audit: Audit, result: Robustness, before: dict[str, Any] | None, same: bool) -> Decision:
    make = partial(Decision, cause="baseline", interpreter=result.interpreter, eps=result.eps)
    if before is None:
        return make("investigate", f"the baseline does not have {result.interpreter} at eps {eps_text(result.eps)}")
    if not same:
        return make("investigate", f"the baseline was made with other settings of {result.interpreter}")
    was = np.array([image["correct"] and not image["fooled"] for image in before["images"]])
    gap = metrics.rate_difference(result.correct & ~result.fooled, was)
    assert gap.mean is not None
    assert gap.low is not None
    assert gap.high is not None
    now_below, now_above = _added(result.joint.to_dict(), result.correct & ~result.fooled)
    was_below, was_above = _added(before["joint_robust_accuracy"], was)
    low, high = gap.low - math.hypot(now_below, was_above), gap.high + math.hypot(now_above, was_below)
    text = (
        f"joint robust accuracy {said(result.joint)}, before {was.mean():.3f}: difference {gap.mean:+.3f} "
        f"[{low:+.3f}, {high:+.3f}]"
    )
    if high < 0:
        return make("fail", text)
    hidden = [doubt for doubt in audit.doubts_of(result) if doubt.hides]
    if hidden:
        return make("investigate", f"{text}, and {hidden[0].text}")
    if gap.mean < 0:
        return make("investigate", f"{text}: it is lower, but that may be chance")
    return make("pass", text)


def _added(joint: Mapping[str, Any], robust: Flags) -> tuple[float, float]:
    """Compute by what the uncertainty of the limit of kept widens the interval of a share, below and above."""
    alone = metrics.rate(robust)
    assert alone.low is not None
    assert alone.high is not None
    return max(0.0, alone.low - joint["low"]), max(0.0, joint["high"] - alone.high)
