"""The results of a run in sentences."""

from __future__ import annotations

from underfire.attacks import KINDS
from underfire.reports.account import Account, Interval
from underfire.runs.comparison import Comparison
from underfire.runs.run import Run
from underfire.text import counted, plain

FEW_IMAGES = 30
"""With fewer images, intervals are very wide."""
OFTEN = 0.3
"""If the prediction-only attack has more joint success than this share, the attack's own joint success says little."""
UNCLEAR = "no clear difference from the prediction-only attack"
UNCERTAIN = "its lead depends on the limit, which is uncertain"
UNTOLD = "by its p-value, its lead may be chance"
TOO_FEW = "too few images to test its lead"
SIGNIFICANT = 0.05
"""A difference with a smaller p-value is unlikely to come from chance."""


def percent(share: float) -> str:
    """Format a share in [0, 1] in whole percent. Only exactly 1 becomes 100 %, and only exactly 0 becomes 0 %."""
    value = round(100 * share)
    if value == 100 and share < 1:
        value = 99
    if value == 0 and share > 0:
        value = 1
    return f"{value} %"


def with_interval(interval: Interval) -> str:
    """Format a share with its interval, such as ``92 % [79, 100]``; ``unknown`` if there is no image."""
    if interval["mean"] is None:
        return "unknown"
    low, high = (percent(interval[key])[:-2] for key in ("low", "high"))
    return f"{percent(interval['mean'])} [{low}, {high}]"


def points(interval: Interval) -> str:
    """Format a difference of shares in percentage points, such as ``+52 points [+40, +64]``."""
    if interval["mean"] is None:
        return "unknown"
    mean, low, high = (f"{round(100 * interval[key]) + 0:+d}" for key in ("mean", "low", "high"))
    return f"{mean} points [{low}, {high}]"


def p_value(p: float | None) -> str:
    """Format a p-value, such as ``p = 0.012`` or ``p < 0.001``; empty if it is not known."""
    if p is None:
        return ""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def number(interval: Interval, digits: int = 3) -> str:
    """Format the mean without its interval, such as ``0.049``; ``unknown`` if there is no image."""
    return "unknown" if interval["mean"] is None else f"{interval['mean'] + 0.0:.{digits}f}"


def listed(parts: list[str]) -> str:
    """Join words: ``a``, ``a and b``, ``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def unclear(account: Account, interpreter: str | None) -> bool:
    """Return True if the attack may have no more joint success than its control, by the paired difference."""
    lead = account.lead(interpreter)
    return lead is not None and (lead["low"] or 0) <= 0


def lead_at_this_limit(account: Account, interpreter: str | None) -> bool:
    """Return True if the attack leads its control by the sign-flip test, which takes the limit of kept maps as known.

    If ``unclear``, too, then only because another sample of images would have another limit.
    """
    lead, p = account.lead(interpreter), _tested(account, interpreter)
    return lead is not None and (lead["mean"] or 0) > 0 and p is not None and p < SIGNIFICANT


def untold(account: Account, interpreter: str | None) -> bool:
    """Return True if the interval of the lead lies above 0, and the sign-flip test cannot tell the lead from chance.

    On few images the interval, which resamples them, is too narrow; and the p-value is corrected for the number of
    comparisons in the run, which the interval is not.
    """
    p = _tested(account, interpreter)
    return not unclear(account, interpreter) and p is not None and p >= SIGNIFICANT


def too_few(account: Account) -> bool:
    """Return True if the p-value would not be below ``SIGNIFICANT`` even if all images spoke for the attack.

    Among the 2^n changes of sign of n differences, two are as extreme as that.
    """
    return 2.0 ** (1 - account.attacked) >= SIGNIFICANT


def _tested(account: Account, interpreter: str | None) -> float | None:
    """Return the p-value of the lead; None if there is none, as for several attacked interpreters at once."""
    names = account.part.attacked
    name = names[0] if interpreter is None and len(names) == 1 else interpreter
    return None if name is None else account.p_value(name)


def doubts(account: Account, interpreter: str | None) -> list[str]:
    """Name the reasons to doubt a joint success besides few images, in a few words each.

    Args:
        account: the attack and its controls.
        interpreter: the interpreter of the joint success; if None, all attacked interpreters at once.
    """
    if unclear(account, interpreter):
        return [UNCERTAIN if lead_at_this_limit(account, interpreter) else UNCLEAR]
    if untold(account, interpreter):
        return [TOO_FEW if too_few(account) else UNTOLD]
    if account.part.has("control"):
        control = account.joint("control", interpreter)
        if (control["mean"] or 0) > OFTEN:
            return [f"the prediction-only attack alone has {percent(control['mean'])}"]
    return []


def caution(account: Account, interpreter: str | None) -> str:
    """Name all reasons to doubt a joint success, in a few words; empty if there is none. Arguments as in ``doubts``."""
    found = doubts(account, interpreter)
    few = ["few images"] if account.attacked < FEW_IMAGES and TOO_FEW not in found else []
    return "; ".join([*few, *found])


def origin(account: Account, interpreter: str) -> str:
    """Name what set the limit of kept maps, as a phrase."""
    return {
        "noise": "95 % of the noisy images stay below it",
        "other": "at a larger limit, more than 5 % of other images' maps would pass",
        "average": "at a larger limit, the average map would pass on more than 5 % of the images",
        "halfway": "for each image, half as far from the wanted map as its benign map is",
    }[account.part.limits[interpreter].set_by]


def map_titles(part: Comparison) -> dict[str, str]:
    """Name the maps of an image by role, in the order in which pictures show them."""
    titles = {"clean": "benign map", "control": "prediction only", "attack": f"under {plain(part.attack)}"}
    return {role: title for role, title in titles.items() if part.has(role)}


def on_prediction_alone(account: Account) -> bool:
    """Return True if the attack itself looks at the prediction alone, as ``pgd`` does."""
    kind = KINDS.get(account.part.cell.attack.lower())
    return kind is not None and not kind.joint


def left_out(run: Run, of: str) -> str:
    """Say why some correctly classified images were not attacked: "2 of them belong to the target class already".

    Empty if all were attacked. A run that asked other classifiers, too, did not write down which of the two reasons
    held for which image.

    Args:
        run: the run.
        of: the word for the correctly classified images.
    """
    count = run.images["correctly_classified"] - run.images["attacked"]
    if count <= 0:
        return ""
    others = run.configuration.get("also_right") or ()
    target = run.configuration.get("target_class", run.configuration.get("target"))
    why = []
    if not others or target not in (None, "random", "least-likely"):
        why.append(f"belong{'s' if count == 1 else ''} to the target class already")
    if others:
        why.append(f"{'is' if count == 1 else 'are'} classified wrongly by {' or '.join(map(plain, others))}")
    return f"{count} of {of} {', or '.join(why)}"


def goal(account: Account) -> str:
    """Name the class that the attack wanted."""
    if not account.setting("targeted", True):
        return "a wrong class"
    target = account.setting("target_class") or "random"
    chosen = {"random": "a class drawn at random", "least-likely": "the class that was least likely before"}
    return chosen.get(target, f"the class {plain(target)}")


def paragraph(account: Account) -> str:
    """Describe an attack and its result, joint success first, for readers who do not know the attack."""
    part, words = account.part, account.wording
    names = part.attacked
    joint = account.joint("attack", None)
    several = len(names) > 1
    kept = f"{words.verb} all of {words.whose} maps at once" if several else f"{words.verb} {words.whose} "
    kept += "" if several else f"{plain(names[0])} map"
    right = "" if account.run.predicted_labels else f" that {part.classifier} classified correctly"
    meaning = f": {words.success}" if joint["mean"] else ""
    sentences = [
        f"Of {counted(joint['n'], 'image')}{right}, {with_interval(joint)} {'was' if joint['n'] == 1 else 'were'} then "
        f"classified as {goal(account)} and {kept}{meaning}."
    ]
    if several:
        sentences.append(f"Each map by itself: {_each(account, 'attack')}.")
    if part.control is not None:
        reached = account.group("control", names[0])["success"]
        alone = f"; each map by itself: {_each(account, 'control')}" if several else ""
        both = account.joint("control", None)
        link = "although" if (reached["mean"] or 0.0) > (both["mean"] or 0.0) else "and"
        sentences.append(
            f"The attack on the prediction alone ({plain(part.control)}) had this joint success on "
            f"{with_interval(both)}, {link} it reached the class on {with_interval(reached)}{alone}."
        )
        lead = account.lead(None)
        if lead is not None:
            sentences.append(f"The difference is {points(lead)}, compared image by image.")
    sentences.append(f"No pixel value was changed by more than {account.largest_change} of 255 levels.")
    sentences.append(_verdict(account, joint))
    return " ".join(sentences)


def _each(account: Account, role: str) -> str:
    return listed([f"{with_interval(account.joint(role, name))} with {plain(name)}" for name in account.part.attacked])


def _verdict(account: Account, joint: Interval) -> str:
    low, high, words = joint["low"] or 0.0, joint["high"] or 0.0, account.wording
    if high <= 0.1:
        return f"For nearly all images, either the class was not reached or {words.otherwise}."
    if unclear(account, None):
        if lead_at_this_limit(account, None):
            return "The lead over the prediction-only attack depends on the limit of kept maps, which is uncertain."
        return f"There is {UNCLEAR}."
    if untold(account, None) and too_few(account):
        return f"{counted(account.attacked, 'image')} are too few to test its lead over the prediction-only attack."
    if untold(account, None):
        said = p_value(_tested(account, None))
        return f"The lead over the prediction-only attack may be chance ({said}), although its interval lies above 0."
    if low >= 0.5:
        return f"For most images, {words.most}."
    if not joint["mean"]:
        return "It worked on none of these images; they are too few to conclude that it works on no others."
    return f"For some of the images, {words.most}."
