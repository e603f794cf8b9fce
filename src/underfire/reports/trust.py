"""Remarks on how far to trust a run, from its controls and its numbers of images and steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from underfire.attacks import KINDS
from underfire.attacks.presets import BUDGET
from underfire.attacks.square import QUERIES
from underfire.reports.account import Account, accounts_of
from underfire.reports.words import (
    FEW_IMAGES,
    OFTEN,
    UNCLEAR,
    lead_at_this_limit,
    left_out,
    listed,
    number,
    on_prediction_alone,
    origin,
    p_value,
    percent,
    too_few,
    unclear,
    untold,
)
from underfire.runs.run import Run
from underfire.text import counted, first_few, plain

MANY_IMAGES = 100
FEW_STEPS = 100


@dataclass(frozen=True)
class Remark:
    """One remark on a run. Its kind is ``careful`` if it is a reason to doubt the numbers, and ``unknown`` if nobody
    looked."""

    kind: Literal["good", "careful", "unknown"]
    text: str


def _remark(careful: bool, text: str) -> Remark:
    return Remark("careful" if careful else "good", text)


def cautions(run: Run) -> list[str]:
    """List the texts of the remarks that give a reason to doubt the numbers of a run."""
    return [remark.text for remark in trust(accounts_of(run)) if remark.kind == "careful"]


def trust(accounts: Sequence[Account]) -> list[Remark]:
    """List all remarks on the comparisons of one run, without repetitions. Only what the run recorded is judged."""
    remarks = _on_images(accounts[0])
    several = len({account.part.attack for account in accounts}) > 1
    for account in accounts:
        about = f"{plain(account.part.attack)}: " if several else ""
        remarks += [Remark(remark.kind, about + remark.text) for remark in on_comparison(account)]
    return list(dict.fromkeys([*remarks, *_on_attack(accounts[0])]))


def on_run(account: Account) -> list[Remark]:
    """List the remarks on the run of ``account`` that are the same for all its attacks."""
    return [*_on_images(account), *_on_attack(account)]


def on_comparison(account: Account) -> list[Remark]:
    """List the remarks on one attack and its controls."""
    part = account.part
    remarks = []
    for name in part.interpreters:
        remarks += [_on_noise_control(account, name), *_on_chance(account, name), *_on_draws(account, name)]
        remarks += [*_on_reseeded(account, name), *_on_control(account, name)]
    if part.readers:
        names, were = listed([plain(name) for name in part.readers]), "was" if len(part.readers) == 1 else "were"
        remarks.append(
            _remark(
                False,
                f"{names} also read the attacked images, and {were} not attacked: these maps show how far the attack "
                "carries over to other interpreters.",
            )
        )
    remarks += [*_on_large_noise(account), *_on_small_change(account)]
    if not part.has("control") and not on_prediction_alone(account):
        remarks.append(_remark(True, "No attack on the prediction alone was run: there is nothing to compare with."))
    return remarks


def _on_images(account: Account) -> list[Remark]:
    images, attacked, run = account.run.images, account.attacked, account.run
    seen, right, unreadable = images["considered"], images["correctly_classified"], images["unreadable"]
    remarks = []
    if attacked < FEW_IMAGES:
        size = (
            f"Only {counted(attacked, 'image')} {'was' if attacked == 1 else 'were'} attacked: intervals are very wide."
        )
    elif attacked < MANY_IMAGES:
        size = f"{attacked} images were attacked: enough for a first look, but intervals are wide."
    else:
        size = f"{attacked} images were attacked."
    remarks.append(_remark(attacked < MANY_IMAGES, size))
    skipped = left_out(run, "these")
    skipped = skipped and f"; {skipped}"
    looked_at = f"{counted(seen, 'image')} {'was' if seen == 1 else 'were'} looked at"
    text = f"{looked_at}, {right} of them {'was' if right == 1 else 'were'} classified correctly{skipped}."
    if run.predicted_labels and right == seen:
        text = f"{looked_at}; what the attacked classifier called them counts as right{skipped}."
    elif run.predicted_labels:
        text = (
            f"{looked_at}. What the attacked classifier called them counts as right, and this one "
            f"calls {right} the same{skipped}."
        )
    remarks.append(_remark(run.predicted_labels or right < 0.5 * seen, text))
    if unreadable:
        some = "; ".join(plain(entry["path"]) for entry in unreadable[:3]) + (" ..." if len(unreadable) > 3 else "")
        left = f"{counted(len(unreadable), 'file')} left out, because reading failed: {some}"
        remarks.append(_remark(True, left))
    unusable = images.get("unusable", ())
    if unusable:
        some = first_few([plain(entry["image_id"]) for entry in unusable])
        left = f"which {'is' if len(unusable) == 1 else 'are'} left out: {some}"
        text = f"The classifier returns NaN or infinite logits for {counted(len(unusable), 'image')}, {left}"
        remarks.append(_remark(True, text))
    if run.lacks:
        text = f"An earlier version of underfire wrote this run. It does not hold: {'; '.join(run.lacks)}."
        remarks.append(_remark(True, text))
    return remarks


def _on_attack(account: Account) -> list[Remark]:
    steps, precision = account.setting("steps"), account.setting("precision", "float32")
    kind = KINDS.get(str(account.setting("attack", "")).lower())
    if kind is not None and kind.queries:
        budget = account.setting("budget") or QUERIES
        text = (
            f"The attack asked {budget} times for each image, and took no gradient: attacks with gradients reach more"
        )
        remarks = [_remark(False, f"{text}, where gradients can be followed.")]
    elif kind is not None and kind.auto:
        budget = account.setting("budget") or BUDGET
        remarks = [
            _remark(budget < FEW_STEPS, f"The attack had a budget of {budget} gradients. More would reach more.")
        ]
    elif steps is None:
        remarks = [_remark(False, "The attack ran its published number of steps.")]
    else:
        short = sum(steps) < FEW_STEPS
        few = "These are very few: " if short else ""
        text = f"The attack ran {steps[0]} + {steps[1]} steps instead of the published schedule. {few}"
        bound = "more steps would reach more, so that these shares are a lower bound."
        remarks = [_remark(short, text + (bound if short else bound[0].upper() + bound[1:]))]
    if precision != "float32":
        remarks.append(_remark(False, f"The attack computed in {precision}; everything was judged in float32."))
    text = "Everything was judged on the saved 8-bit images, and failures are part of every mean."
    return [*remarks, _remark(False, text)]


def _on_noise_control(account: Account, name: str) -> Remark:
    size, limit = account.noise_size, account.part.mean_limit(name)
    if size is None:
        noise = "Random noise as large as the attack's own change (an earlier version of underfire wrote this run)"
    else:
        noise = f"Random noise of plus and minus {size * 255:.3g}/255"
    moved = f"{noise} moves the {plain(name)} map by {number(account.group('noise', name)['map_l1'])} on average. "
    return _remark(False, moved + account.wording.rule.format(limit=limit, why=origin(account, name)))


def _on_chance(account: Account, name: str) -> list[Remark]:
    """Say how often maps pass that have nothing to do with the image, and if that set the limit."""
    limit, found = account.part.limits[name], account.chance(name)
    other, average = found["other_map"], found["average_map"]
    if other["mean"] is None:
        return []
    share = f"in {percent(other['mean'])} of pairs, and the average map on {percent(average['mean'])} of images"
    passes = f"Another image's {plain(name)} map passes this limit {share}"
    if not limit.keeps:
        often = max(other["mean"], average["mean"]) > OFTEN
        return [_remark(often, f"{passes}{': a reached map says little here.' if often else '.'}")]
    if limit.mean <= 0:
        return [_remark(True, f"The {plain(name)} maps of different images are equal: no map counts as kept.")]
    if limit.set_by == "noise":
        return [_remark(False, f"{passes}.")]
    others, averages = limit.chance.passing(np.full(limit.chance.average.shape, limit.by_noise))
    text = (
        f"Below {limit.by_noise:.3f}, which noise would allow, {percent(float(np.nanmean(others)))} of other images' "
        f"{plain(name)} maps and the average map on {percent(float(averages.mean()))} of images would pass: the limit "
        f"is lowered to {limit.mean:.3f}, so that at most 5 % do."
    )
    return [_remark(True, text)]


def _on_draws(account: Account, name: str) -> list[Remark]:
    limit = account.part.limits[name]
    if not limit.keeps or limit.draws > 1:
        return []
    return [
        _remark(True, f"The limit of {plain(name)} maps rests on one noise draw per image: its seed alone moves it.")
    ]


def _on_reseeded(account: Account, name: str) -> list[Remark]:
    if not account.part.has("reseeded"):
        return []
    distance, limit = account.group("reseeded", name)["map_l1"], account.part.mean_limit(name)
    floor = distance["mean"] or 0
    if floor <= 0:
        return []
    beyond = account.part.keeps and floor >= limit
    text = (
        f"{plain(name)} draws random numbers: another seed alone moves the clean images' maps by {number(distance)} on "
        "average, and no smaller distance means anything"
    )
    below = ": the limit is below that distance, so that a map can count as kept only by chance."
    return [_remark(beyond, text + (below if beyond else "."))]


def _on_control(account: Account, name: str) -> list[Remark]:
    if not account.part.has("control"):
        return []
    share, shown = account.joint("control", name)["mean"] or 0, plain(name)
    if share > OFTEN:
        return [_remark(True, account.wording.doubt.format(name=shown, share=percent(share)))]
    if unclear(account, name):
        text = f"With {shown}, joint success shows {UNCLEAR}, compared image by image."
        if lead_at_this_limit(account, name):
            text = (
                f"With {shown}, joint success leads that of the prediction-only attack at this limit of kept maps "
                f"({p_value(account.p_value(name))}), but another sample of images may have a limit at which it does "
                "not: more images make it certain."
            )
        return [_remark(True, text)]
    if untold(account, name) and too_few(account):
        said = counted(account.attacked, "image")
        text = (
            f"With {shown}, {said} are too few to test the lead over the prediction-only attack: attack more of them."
        )
        return [_remark(True, text)]
    if untold(account, name):
        text = (
            f"With {shown}, the interval of the lead over the prediction-only attack lies above 0, and the sign-flip "
            f"test does not tell this lead from chance ({p_value(account.p_value(name))}). The two disagree on few "
            "images, or with many comparisons in one run: believe the test, or attack more images."
        )
        return [_remark(True, text)]
    return []


def _on_large_noise(account: Account) -> list[Remark]:
    changed = account.group("noise", account.part.interpreters[0])["untargeted_success"]["mean"]
    if changed is None or changed <= 0.1:
        return []
    text = f"Noise alone already changes the class of {percent(changed)} of the images: the change is large."
    return [_remark(True, text)]


def _on_small_change(account: Account) -> list[Remark]:
    """Warn if the noise control has a fixed size and is much larger than the attack's change: the limit is too wide."""
    size = account.noise_size
    if size is None or not account.part.keeps:
        return []
    levels = int(size * 255 + 1e-3)
    if account.largest_change >= 0.75 * levels:
        return []
    chosen = "noise_eps" if account.setting("noise_eps") is not None else "eps"
    text = (
        f"The attack changed no pixel value by more than {account.largest_change} of 255 levels, and noise changes "
        f"each by {levels}: the limit is made for larger changes. Take more steps, or a smaller {chosen}."
    )
    return [_remark(True, text)]
