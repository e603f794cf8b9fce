"""Doubts: what speaks against the number of an audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from underfire.attacks.benign import Benign
from underfire.attacks.probe import probe_logits
from underfire.audits.doubt import Doubt
from underfire.audits.ensemble import Member
from underfire.audits.result import Robustness
from underfire.audits.standing import member_of
from underfire.errors import ClassifierError, NoGradientError, UnderfireError
from underfire.system import System, SystemView
from underfire.text import counted

FEW = 30
"""With fewer right images, an interval is wide whatever comes out."""
ENOUGH = 59
"""The smallest number of images whose largest value surpasses the 95th percentile of all with 95 % certainty."""
FLAT = 0.1
"""The share of images without a gradient from which on gradients are doubted."""
LATE = 0.05
"""The share of right images that the last quarter of the joint attacks may still fool before it seems too weak."""
SEVERAL = 2
"""One image that only the last attack fooled may be chance."""
TINY = 1e-6
"""A limit of a map's distance below which rounding decides."""
LOOSE = 0.1
"""The share of right images that twice the limit may fool in addition, before the limit is said to make the number."""
SATURATED = 30.0
"""The difference of logits beyond which float32 probabilities are 0 or 1 to the last digit, or nearly so."""


def why_no_gradient(system: System, benign: Benign) -> str | None:
    """Return the reason why attacks cannot follow the gradients of the logits on right images; None if they can."""
    right = benign.images[benign.correct]
    try:
        prepared = system.classifier.prepare(size=right.shape[2:])
        with torch.enable_grad():
            probe_logits(prepared, right[:8])
    except NoGradientError as error:
        return words_of(error)
    return None


def of_logits(system: System, benign: Benign, why: str | None) -> list[Doubt]:
    """Look at the gradients of the logits on right images; see ``of_gradients``.

    Args:
        system: the classifier.
        benign: the images, of which some are right.
        why: the reason why attacks cannot follow gradients; see ``why_no_gradient``.
    """
    right = benign.take(benign.correct.nonzero().flatten())
    if why is not None:
        return of_gradients(None, right, why)
    try:
        view = system.view(size=right.images.shape[2:])
    except ClassifierError as error:
        return of_gradients(None, right, words_of(error))
    return of_gradients(view, right)


def of_gradients(view: SystemView | None, benign: Benign, why: str | None = None) -> list[Doubt]:
    """Look at the gradient of the cross-entropy of right images, and at how far their logits are apart.

    Args:
        view: the differentiable classifier; None if it has none.
        benign: right images.
        why: the reason if there is no view, or if its logits do not follow the image.
    """
    if view is None or why is not None:
        return [Doubt("gradients", f"no attack could follow gradients: {why}", hides=True)]
    flat, gaps = [], []
    for start in range(0, len(benign.images), 16):
        rows = slice(start, start + 16)
        images = benign.images[rows].detach().clone().requires_grad_(True)
        with torch.enable_grad():
            logits = view.logits(images)
            loss = F.cross_entropy(logits, benign.labels[rows], reduction="sum")
            (gradient,) = torch.autograd.grad(loss, images)
        flat += (gradient.flatten(1).abs().amax(1) < 1e-12).tolist()
        top = logits.detach().topk(2, dim=1).values
        gaps += (top[:, 0] - top[:, 1]).tolist()
    found = []
    share = float(np.mean(flat))
    if share > FLAT:
        found.append(
            Doubt(
                "gradients",
                f"the gradient of the cross-entropy vanishes on {share:.0%} of the right images: the classifier is so "
                "certain, or its input so coarse, that attacks on its probabilities see no slope",
                hides=True,
            )
        )
    middle = float(np.median(gaps))
    if middle > SATURATED:
        found.append(
            Doubt(
                "gradients",
                f"the two largest logits are {middle:.0f} apart (median), so that probabilities are 0 or 1 in float32: "
                "gradients of losses on probabilities vanish (a softmax temperature?). Scale the logits down",
                hides=True,
            )
        )
    return found


def of_result(result: Robustness, members: Sequence[Member]) -> list[Doubt]:
    """Look at one result: who broke what, and what sets the limit."""
    interpreter, eps = result.interpreter, result.eps
    found, right = [], int(result.correct.sum())
    searches = {member.name for member in members if member.kind == "search"}
    alone = sum(member_of(by) in searches for by in result.wrong_by)
    if alone:
        found.append(
            Doubt(
                "search",
                f"the search without gradients changed the class of {alone} of {right} right images that no attack "
                "with gradients changed: gradients are hidden, and robustness is lower than the number says",
                True,
                interpreter,
                eps,
            )
        )
    kept = [by for by, fooled in zip(result.kept_by, result.fooled.tolist(), strict=True) if fooled]
    found_alone = sum(member_of(by) in searches for by in kept)
    if found_alone >= SEVERAL:
        found.append(
            Doubt(
                "search",
                f"only the search without gradients kept the map of {found_alone} of {right} right images whose class "
                "it changed: the joint attacks do not see how the map follows the image, and robustness is lower than "
                "the number says",
                True,
                interpreter,
                eps,
            )
        )
    names = [member.name for member in members if member.kind in ("auto", "adv2")]
    late = sum(member_of(by) in names[-max(1, len(names) // 4) :] for by in kept)
    if right and late / right > LATE and late >= SEVERAL:
        found.append(
            Doubt(
                "convergence",
                f"the last quarter of the joint attacks still fooled {late} of {right} right images: more attacks "
                "would probably fool more",
                True,
                interpreter,
                eps,
            )
        )
    if right < FEW:
        found.append(
            Doubt(
                "images", f"only {right} images are classified correctly: intervals are wide", False, interpreter, eps
            )
        )
    if not result.several:
        return [*found, *_of_limit(result)]
    still = [name for name, limit in result.limits.items() if limit.mean < TINY]
    if still:
        found.append(
            Doubt(
                "limit",
                f"random noise does not move the map of {', '.join(still)} at all, so that no changed image can count "
                "as fooled, even if all maps stay as they were",
                True,
                interpreter,
                eps,
            )
        )
    return found


def _of_limit(result: Robustness) -> list[Doubt]:
    """Look at what sets the limit of one interpreter's map."""
    interpreter, eps, limit = result.interpreter, result.eps, result.limit
    found, right = list[Doubt](), int(result.correct.sum())
    if limit.mean < TINY:
        found.append(
            Doubt(
                "limit",
                "random noise does not move the map at all, so that the limit of kept is 0 and no changed image can "
                "count as fooled, even if its map stays as it was",
                True,
                interpreter,
                eps,
            )
        )
    strict, cap = int(result.fooled.sum()), min(limit.by_other, limit.by_average)
    more = int((result.correct & result.wrong & (result.nearest < cap)).sum())
    if limit.set_by == "noise" and right < ENOUGH and more > strict:
        found.append(
            Doubt(
                "images",
                f"the limit of kept is the 95th percentile of what noise does to {counted(right, 'right image')}. That "
                f"may be lower than the percentile of all images, unless there are {ENOUGH} or more. By the highest "
                f"limit that chance allows ({cap:.3f}), {more} would count as fooled, and not {strict}",
                True,
                interpreter,
                eps,
            )
        )
    looser = int((result.correct & result.wrong & (result.nearest < 2 * limit.mean)).sum())
    if limit.set_by == "noise" and right and (looser - strict) / right > LOOSE:
        found.append(
            Doubt(
                "limit",
                f"the limit of kept makes much of the number: with twice the limit ({2 * limit.mean:.3f}), {looser} of "
                f"{right} right images would count as fooled, and not {strict}. Random noise alone set it",
                False,
                interpreter,
                eps,
            )
        )
    if limit.set_by in ("other", "average") and limit.by_noise > 1.5 * limit.mean:
        whose = "another image's map" if limit.set_by == "other" else "the average map"
        found.append(
            Doubt(
                "limit",
                f"random noise moves the map by up to {limit.by_noise:.3f}, and {whose} is nearer than that: the "
                f"explanation is noisy. The limit of kept is {limit.mean:.3f}, by chance instead of noise",
                False,
                interpreter,
                eps,
            )
        )
    return found


def of_predictions() -> Doubt:
    """Say what an audit means whose labels are the classifier's own predictions."""
    return Doubt(
        "labels",
        "what the classifier called each image counts as its class: accuracy is not known, and robust means that this "
        "name stays",
        False,
    )


def of_explanation(correlations: Mapping[str, list[str]]) -> list[Doubt]:
    """Doubt explanations that do not depend on the class or the weights.

    Args:
        correlations: by interpreter, phrases that say on what its maps do not depend; see ``check.sanity``.
    """
    return [
        Doubt(
            "explanation",
            f"the map of {name} hardly depends on {' and on '.join(phrases)}: it says little about the classifier, so "
            "that to keep it is no achievement",
            False,
            name,
        )
        for name, phrases in correlations.items()
        if phrases
    ]


def words_of(error: UnderfireError) -> str:
    """Return an error's text without its final full stop."""
    return str(error).rstrip(".")
