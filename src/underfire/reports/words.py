"""What a run found, in sentences, and what a reader should know before trusting it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from underfire.attacks.perturbations import has_ball
from underfire.runs.reader import Run
from underfire.text import plain

Interval = Mapping[str, Any]

FEW_IMAGES, MANY_IMAGES = 30, 100
FEW_STEPS = 100


@dataclass(frozen=True)
class Note:
    """One remark on how far to trust a run; ``kind`` says whether it speaks for the numbers or against them."""

    kind: Literal["good", "careful"]
    text: str


def percent(share: float) -> str:
    """A share in whole percent. Only all and none round to 100 and 0."""
    value = round(100 * share)
    if value == 100 and share < 1:
        value = 99
    if value == 0 and share > 0:
        value = 1
    return f"{value} %"


def with_interval(interval: Interval) -> str:
    """``92 % [79, 100]``; ``unknown`` over no images."""
    if interval["mean"] is None:
        return "unknown"
    low, high = (percent(interval[key])[:-2] for key in ("low", "high"))
    return f"{percent(interval['mean'])} [{low}, {high}]"


def number(interval: Interval, digits: int = 3) -> str:
    """The mean alone, such as ``0.049``."""
    return "unknown" if interval["mean"] is None else f"{interval['mean'] + 0.0:.{digits}f}"


def budget(run: Run) -> str:
    """How far images were changed, as measured: ``8 of 255 levels``."""
    return f"{round(_largest(run) * 255)} of 255 levels"


def _largest(run: Run) -> float:
    return max((case.row["linf"] for cases in run.cases.values() for case in cases), default=0.0)


def goal(run: Run) -> str:
    """What the attack wanted the classifier to say."""
    configuration = run.configuration
    if not configuration.get("targeted", True):
        return "a wrong class"
    target = configuration.get("target", "random")
    chosen = {"random": "a class drawn at random", "least-likely": "the class that was least likely before"}
    return chosen.get(target, f"the class {plain(target)}")


def paragraph(run: Run) -> str:
    """What was attacked and what held, joint success first, for someone who knows nothing of it."""
    names = run.attacked
    joint = run.joint_success(run.attack)
    verb, whose = ("kept", "their") if run.keeps else ("showed", "the wanted")
    several = len(names) > 1
    kept = f"{verb} all of {whose} maps at once" if several else f"{verb} {whose} {plain(names[0])} map"
    hence = "does not give the change away" if run.keeps else "is the one that the attack chose"
    sentences = [
        f"Of {joint['n']} images that {run.classifier} got right, {with_interval(joint)} were taken for {goal(run)} "
        f"and {kept}, so that the explanation {hence}."
    ]
    if several:
        sentences.append(f"Each map by itself: {_each(run, run.attack)}.")
    if run.control:
        changed = run.summary["interpreters"][names[0]]["attacks"][run.control]["success"]
        alone = f"; each map by itself: {_each(run, run.control)}" if several else ""
        sentences.append(
            f"The attack on the prediction alone managed that for {with_interval(run.joint_success(run.control))}, "
            f"although it changed the class of {with_interval(changed)}{alone}."
        )
    sentences.append(f"No pixel value was moved by more than {budget(run)}.")
    sentences.append(_verdict(joint, run.keeps))
    return " ".join(sentences)


def _were(names: list[str]) -> str:
    return "was" if len(names) == 1 else "were"


def _each(run: Run, attack: str) -> str:
    shares = {plain(name): run.joint_success(attack, name) for name in run.attacked}
    return _listed([f"{with_interval(share)} with {name}" for name, share in shares.items()])


def _verdict(joint: Interval, keeps: bool) -> str:
    low, high = joint["low"] or 0.0, joint["high"] or 0.0
    hence = (
        "someone who checks the explanation would notice nothing" if keeps else "the explanation is as it was chosen"
    )
    if low >= 0.5:
        return f"For most images, {hence}."
    if high <= 0.1:
        otherwise = "the map gave the attack away" if keeps else "the map stayed far from the wanted one"
        return f"For nearly all images, either the class held or {otherwise}."
    if low == 0:
        return "It worked on none of these images; they are too few to say that of others."
    return f"For a part of the images, {hence}."


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def trust(run: Run) -> list[Note]:
    """Remarks on controls, on how many images and steps there were, and on what speaks against the numbers.

    Only what the run recorded is judged.
    """
    images, configuration = run.summary["images"], run.configuration
    notes = [*_on_size(images["attacked"]), *_on_selection(images)]
    for name in run.interpreters:
        notes += _on_controls(run, name)
    if run.readers:
        notes.append(
            Note(
                "good",
                f"{_listed([plain(name) for name in run.readers])} read what the attack made, and {_were(run.readers)} "
                "not attacked: whether a map stayed there is what carries over.",
            )
        )
    notes += _on_noise(run) + _on_budget(run)
    if not run.control:
        notes.append(
            Note("careful", "No attack on the prediction alone stands beside this one: nothing to compare with.")
        )
    steps = configuration.get("steps")
    if steps is None:
        notes.append(Note("good", "The attack ran its published number of steps."))
    else:
        short = sum(steps) < FEW_STEPS
        notes.append(
            Note(
                "careful" if short else "good",
                f"The attack ran {steps[0]} + {steps[1]} steps in place of the published schedule: "
                + ("very few, so that " if short else "")
                + "the shares are a lower bound of what more steps would reach.",
            )
        )
    if configuration.get("precision", "float32") != "float32":
        notes.append(Note("good", f"The attack computed in {configuration['precision']}; every verdict is in float32."))
    notes.append(Note("good", "Everything was judged on the saved 8-bit images, failures included in every mean."))
    return notes


def cautions(run: Run) -> list[str]:
    """Those of the remarks that speak against the numbers."""
    return [note.text for note in trust(run) if note.kind == "careful"]


def _on_size(attacked: int) -> list[Note]:
    if attacked < FEW_IMAGES:
        return [
            Note(
                "careful",
                f"Only {attacked} images were attacked: intervals are wide, and those of map distances rather too "
                "narrow.",
            )
        ]
    if attacked < MANY_IMAGES:
        return [Note("careful", f"{attacked} images were attacked: enough for a first look, intervals are wide.")]
    return [Note("good", f"{attacked} images were attacked.")]


def _on_selection(images: Mapping[str, Any]) -> list[Note]:
    seen, right, attacked = images["considered"], images["correctly_classified"], images["attacked"]
    notes = [
        Note(
            "good" if right >= 0.5 * seen else "careful",
            f"{seen} images were looked at, {right} of them classified correctly"
            + (f", {right - attacked} of which belong to the target class already." if right > attacked else "."),
        )
    ]
    if images["unreadable"]:
        some = "; ".join(plain(entry["path"]) for entry in images["unreadable"][:3])
        more = " ..." if len(images["unreadable"]) > 3 else ""
        notes.append(
            Note("careful", f"{len(images['unreadable'])} files could not be read and are left out: {some}{more}")
        )
    return notes


def _on_noise(run: Run) -> list[Note]:
    noise = run.summary["interpreters"][run.interpreters[0]]["attacks"]["noise"]
    flipped = noise["untargeted_success"]["mean"]
    if flipped is None or flipped <= 0.1:
        return []
    return [
        Note(
            "careful",
            f"Noise alone already changes the class of {percent(flipped)} of the images: the change is large.",
        )
    ]


def _on_budget(run: Run) -> list[Note]:
    """The noise of attacks in a ball is as large as the ball, which few steps do not fill."""
    configuration = run.configuration
    if not has_ball(configuration.get("attack"), configuration.get("perturbation")) or not run.keeps:
        return []
    levels = int(configuration["eps"] * 255 + 1e-3)
    if round(_largest(run) * 255) >= 0.75 * levels:
        return []
    return [
        Note(
            "careful",
            f"No pixel value was moved by more than {budget(run)}, and noise moves each by {levels}: maps count as "
            "kept below a limit that is made for larger changes. Take more steps, or a smaller eps.",
        )
    ]


def _noise(configuration: Mapping[str, Any]) -> str:
    """The noise control, as a sentence's beginning."""
    chosen = configuration.get("noise_eps")
    if chosen is not None:
        return f"Random noise of plus and minus {chosen * 255:.3g}/255"
    if not has_ball(configuration.get("attack"), configuration.get("perturbation")):
        return "Random noise as large as the attack's own change (--noise-eps takes another)"
    return "Random noise of the same size"


def _on_controls(run: Run, name: str) -> list[Note]:
    attacks, shown = run.summary["interpreters"][name]["attacks"], plain(name)
    limit = run.summary["joint_success_threshold"][name]["map_l1_below"]
    notes = [
        Note(
            "good",
            f"{_noise(run.configuration)} moves the {shown} map by {number(attacks['noise']['map_l1'])} on average. "
            + (
                f"A map counts as kept below {limit:.3f}, which 95 % of the noisy images stay below."
                if run.keeps
                else "A map counts as reached where it is less than half as far from the wanted one as the benign map "
                f"is: {limit:.3f} on average."
            ),
        )
    ]
    floor = (attacks["reseeded"]["map_l1"]["mean"] or 0) if "reseeded" in attacks else 0
    if floor > 0:
        beyond = run.keeps and floor >= limit
        notes.append(
            Note(
                "careful" if beyond else "good",
                f"{shown} draws random numbers: another seed alone moves the clean images' maps by "
                f"{number(attacks['reseeded']['map_l1'])} on average, and no distance below that means anything"
                + (": the limit lies below it, so that no map can count as kept but by chance." if beyond else "."),
            )
        )
    if run.control:
        control = attacks[run.control]["joint_success"]
        lead = run.summary["interpreters"][name]["against_prediction_only"]["paired_difference"]["joint_success"]
        if (control["mean"] or 0) > 0.3:
            share = percent(control["mean"])
            notes.append(
                Note(
                    "careful",
                    f"The {shown} map is so unsteady under noise that even the attack on the prediction alone stays "
                    f"below the limit for {share}: that a map was kept says little here."
                    if run.keeps
                    else f"Even the attack on the prediction alone brings the {shown} map half of the way to the "
                    f"wanted one for {share}: that it was reached says little here.",
                )
            )
        elif (lead["low"] or 0) <= 0:
            notes.append(
                Note(
                    "careful",
                    f"With {shown}, what the attack is ahead of its control, image by image, may be nothing: no clear "
                    "difference.",
                )
            )
    return notes
