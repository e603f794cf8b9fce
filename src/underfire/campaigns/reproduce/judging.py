"""Judging a paper's claims by findings: image by image, with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from underfire import metrics
from underfire.campaigns.reproduce.findings import QUANTITIES, Finding
from underfire.campaigns.reproduce.papers import CONTROL, NO_DEFENSE, TRAINED, Claim, Paper
from underfire.campaigns.reproduce.selecting import read_by, shown
from underfire.metrics import Interval

Verdict = Literal["holds", "does not hold", "cannot be told"]


@dataclass(frozen=True)
class Test:
    """How a claim is tested.

    Args:
        words: what the interval is of, in words.
        judge: returns the verdict from an interval with known bounds, and the claim's margin.
        ratio: True if the two sides are compared as a ratio of their means.
        scaled: True if the second side is multiplied by the claim's margin before the difference is taken.
    """

    words: str
    judge: Callable[[float, float, float], Verdict]
    ratio: bool = False
    scaled: bool = False


def _below(low: float, high: float, edge: float) -> Verdict:
    return "holds" if high < edge else "does not hold" if low > edge else "cannot be told"


def _above(low: float, high: float, edge: float) -> Verdict:
    return "holds" if low > edge else "does not hold" if high < edge else "cannot be told"


def _at_least(low: float, high: float, edge: float) -> Verdict:
    return "holds" if low >= edge else "does not hold" if high < edge else "cannot be told"


def _within(low: float, high: float, margin: float) -> Verdict:
    inside, outside = -margin <= low and high <= margin, low > margin or high < -margin
    return "holds" if inside else "does not hold" if outside else "cannot be told"


TESTS: Mapping[str, Test] = {
    "lower": Test("difference", lambda low, high, margin: _below(low, high, 0)),
    "higher": Test("difference", lambda low, high, margin: _above(low, high, 0)),
    "not lower": Test("difference", lambda low, high, margin: _at_least(low, high, -margin)),
    "within": Test("difference", _within),
    "at least": Test("value", _at_least),
    "at most": Test("value", _below),
    "at most times": Test("difference", lambda low, high, margin: _below(low, high, 0), scaled=True),
    "same time": Test("ratio", lambda low, high, margin: _within(low - 1, high - 1, margin), ratio=True),
}
"""All tests by name. Differences are first minus second, paired by image."""


@dataclass(frozen=True)
class Case:
    """A claim on one pair of findings.

    Args:
        keys: what the pair is about.
        interval: the paired difference, the value, or the ratio.
        first, second: the means of the two sides; ``second`` is None if there is one side.
        verdict: what follows.
    """

    keys: Mapping[str, str]
    interval: Interval
    first: float | None
    second: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Judgement:
    """A claim with all cases in which it was tested."""

    claim: Claim
    cases: tuple[Case, ...]

    def count(self, verdict: Verdict) -> int:
        """Count the cases with a verdict."""
        return sum(case.verdict == verdict for case in self.cases)

    @property
    def verdict(self) -> str:
        """The verdict on all cases, in words."""
        total, holds, fails = len(self.cases), self.count("holds"), self.count("does not hold")
        if not total:
            return "not measured"
        if holds == total:
            return "holds"
        if fails == total:
            return "does not hold"
        if not holds and not fails:
            return "cannot be told"
        parts = [("holds", holds), ("does not hold", fails), ("cannot be told", self.count("cannot be told"))]
        first, *others = [(words, count) for words, count in parts if count]
        said = [f"{first[0]} in {first[1]} of {total} cases", *(f"{words} in {count}" for words, count in others)]
        return ", ".join(said)


def judge(paper: Paper, claim: Claim, findings: Sequence[Finding]) -> Judgement:
    """Judge a claim by all findings that it is about.

    A comparison is paired by image: the mean difference over the images that both sides have, with its 95 % bootstrap
    interval. The claim holds in a case if the interval lies wholly on its side, does not hold if it lies wholly on the
    other side, and cannot be told otherwise. No correction is made for the number of cases.
    """
    item = next(each for each in paper.items if each.name == claim.item)
    kind = "defense" if item.kind == "defense" else "transfer"
    among = shown(paper, item.model_copy(update={"controls": True, "kind": kind}), findings)
    return Judgement(claim, tuple(_cases(claim, among)))


def _cases(claim: Claim, findings: Sequence[Finding]) -> Iterator[Case]:
    test = TESTS[claim.test]
    for first in findings:
        if not _is_first(claim.first, first):
            continue
        if claim.second is None:
            interval = first.interval(claim.measure)
            if interval.mean is not None:
                yield _case(claim, test, first, None, interval)
            continue
        for second in findings:
            if second is not first and _is_second(claim, first, second):
                if test.ratio:
                    interval = _ratio(first, second, claim.measure)
                else:
                    interval = _paired(first, second, claim.measure, claim.margin if test.scaled else 1.0)
                if interval.mean is not None:
                    yield _case(claim, test, first, second, interval)


def _is_first(wanted: Mapping[str, str], finding: Finding) -> bool:
    keys, own = finding.keys, finding.reader == finding.interpreter
    if own == (wanted.get("reader") == "other"):
        return False
    if "attack" not in wanted and finding.is_control:
        return False
    if wanted.get("defense") == TRAINED:
        if keys["defense"] in ("", NO_DEFENSE, CONTROL):
            return False
        wanted = {**wanted, "defense": keys["defense"]}
    return all(keys[key] == value for key, value in wanted.items() if key != "reader")


def _is_second(claim: Claim, first: Finding, second: Finding) -> bool:
    wanted = {key: value for key, value in (claim.second or {}).items() if key != "reader"}
    if second.is_control and second.beside != first.beside:
        return False
    if (claim.second or {}).get("reader") == "part":
        if not read_by(second.reader) < read_by(first.reader) or second.reader.endswith("+product"):
            return False
        wanted["reader"] = second.reader
    for key, value in first.keys.items():
        asked = wanted.get(key, value)
        found = second.keys[key]
        if (found == value) if asked == "other" else (found != asked):
            return False
    return second.target_map == first.target_map


def _paired(first: Finding, second: Finding, quantity: str, times: float) -> Interval:
    one, other = first.by_image(quantity), second.by_image(quantity)
    both = [name for name in one if name in other]
    ours, theirs = [one[name] for name in both], [times * other[name] for name in both]
    if times == 1 and {*ours, *theirs} <= {0.0, 1.0}:  # flags, such as success: a bootstrap may have no width
        return metrics.rate_difference(ours, theirs)
    return metrics.paired_difference(ours, theirs, bounds=QUANTITIES[quantity].bounds if times == 1 else metrics.ANY)


def _ratio(first: Finding, second: Finding, quantity: str) -> Interval:
    """Return the ratio of two means, with the bootstrap of its linear part; without bounds from a single measurement.

    Images that were measured together have one value, so that all of them are one measurement.
    """
    one, other = first.by_image(quantity), second.by_image(quantity)
    pairs = np.array([(one[name], other[name]) for name in one if name in other]).reshape(-1, 2)
    means = pairs.mean(0) if len(pairs) else np.zeros(2)
    if not means.all():
        return Interval(None, None, None, 0)
    ratio = float(means[0] / means[1])
    measured, counts = np.unique(pairs, axis=0, return_counts=True)
    if len(measured) == 1:
        return Interval(ratio, None, None, len(pairs))
    rest = (measured[:, 0] - ratio * measured[:, 1]) * counts / counts.mean() / means[1]  # its mean is 0
    found = metrics.bootstrap_mean(rest)
    assert found.low is not None
    assert found.high is not None
    return Interval(ratio, max(0.0, ratio + found.low), ratio + found.high, len(pairs))


def _case(claim: Claim, test: Test, first: Finding, second: Finding | None, interval: Interval) -> Case:
    keys = {key: value for key, value in first.keys.items() if value and (key not in claim.first or key != "attack")}
    if first.reader == first.interpreter:
        del keys["reader"]
    if claim.second and claim.second.get("interpreter") == "other" and second is not None:
        keys["against"] = second.interpreter
    if claim.second and claim.second.get("reader") == "part" and second is not None:
        keys["against"] = second.reader
    means = [None if each is None else each.interval(claim.measure).mean for each in (first, second)]
    assert interval.mean is not None
    if interval.n == 1:  # the interval of a mean of one image has no width, though it tells nothing of other images
        low, high = -math.inf, math.inf
    else:
        low, high = (interval.mean if bound is None else bound for bound in (interval.low, interval.high))
    return Case(keys, interval, means[0], means[1], test.judge(low, high, claim.margin))


def sentence(judgement: Judgement) -> str:
    """Say in one paragraph what the cases of a claim show, with their range."""
    claim, cases = judgement.claim, judgement.cases
    if not cases:
        return "No run that is finished can tell."
    quantity, test = QUANTITIES[claim.measure], TESTS[claim.test]
    means = sorted(case.interval.mean for case in cases if case.interval.mean is not None)
    digits = max(quantity.digits, 2)
    signed = "+" if claim.second is not None and not test.ratio else ""
    times = f", less {claim.margin:g} times the second" if test.scaled else ""
    said = f"{test.words} of {quantity.heading}{times} "
    if len(means) > 1:
        said += f"from {means[0]:{signed}.{digits}f} to {means[-1]:{signed}.{digits}f}"
    else:
        interval = cases[0].interval
        said += f"{means[0]:{signed}.{digits}f}"
        if interval.low is not None and interval.high is not None:
            said += f" [{interval.low:{signed}.{digits}f}, {interval.high:{signed}.{digits}f}]"
        else:
            said += ", of a single measurement without an interval"
    counts = sorted({case.interval.n for case in cases})
    images = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    text = f"{said[0].upper()}{said[1:]}, over {images} images."
    pairs = [(case.first, case.second) for case in cases if case.first and case.second]
    if claim.test == "lower" and pairs:
        median = float(np.median([second / first for first, second in pairs]))
        text += f" In the middle case, the second mean is {median:.1f} times the first."
    for verdict in ("does not hold", "cannot be told"):
        some = [case for case in cases if case.verdict == verdict]
        if some and len(some) < len(cases):
            text += f" It {verdict} for {_listed(some)}."
    return text


def _listed(cases: Sequence[Case], most: int = 4) -> str:
    names = [" ".join(value for value in case.keys.values()) for case in cases]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
