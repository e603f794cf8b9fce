"""Lines of a check about the explanations of clean images: the four checks on which saliency maps failed in radiology
(Arun et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence

from underfire.check.line import CheckLine
from underfire.check.sanity import IMAGES, Sanity
from underfire.check.trials import InterpreterTrial


def explanation_lines(trials: Sequence[InterpreterTrial]) -> list[CheckLine]:
    """Say for the interpreters that work and are quick where their maps point, and what they depend on.

    Returns:
        One line for each check, one for each interpreter whose maps hardly depend on the class or the weights, and one
        for each of the user's own whose view has other maps; nothing if there is no such interpreter.
    """
    found = {trial.name: trial.sanity for trial in trials if trial.sanity is not None}
    if not any(trial.works for trial in trials):
        return []
    slow = [trial.name for trial in trials if trial.works and trial.sanity is None]
    rest = f"; not looked at, because slow: {', '.join(slow)}" if slow else ""
    doubts = [CheckLine("sanity", "hint", text) for trial in trials if (text := trial.doubts)]
    doubts += [CheckLine("view", "hint", trial.other_view) for trial in trials if trial.other_view]
    lines = [_localisation(found, rest), _dependence(found, rest), _repeatability(trials)]
    again = "not looked at: underfire audit --again compares the maps with those of a second training"
    return [*lines, CheckLine("reproducibility", "good", again), *doubts]


def _localisation(found: dict[str, Sanity], rest: str) -> CheckLine:
    shares = {name: each.on_object for name, each in found.items() if each.on_object is not None}
    if not shares:
        why = "these images have no true masks" if found else "all interpreters are slow"
        return CheckLine("localisation", "good", f"unknown: {why}")
    text = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
    return CheckLine("localisation", "good", f"share of the map on the object: {text}{rest}", {"on_object": shares})


def _dependence(found: dict[str, Sanity], rest: str) -> CheckLine:
    if not found:
        return CheckLine("dependence", "good", "unknown: all interpreters are slow")
    said = [
        f"{name} {each.other_class:.2f} and "
        + (f"unknown ({each.why_unknown})" if each.other_weights is None else f"{each.other_weights:.2f}")
        for name, each in found.items()
    ]
    text = (
        f"rank correlation with the map of the least likely class, and under shuffled weights ({IMAGES} images; near "
        f"1: no dependence): {', '.join(said)}{rest}"
    )
    return CheckLine("dependence", "good", text)


def _repeatability(trials: Sequence[InterpreterTrial]) -> CheckLine:
    moved = {trial.name: trial.moved_by_seed for trial in trials if trial.moved_by_seed}
    slow = [trial.name for trial in trials if trial.works and trial.moved_by_seed is None]
    said = [f"map L1 to the map with another seed: {', '.join(f'{name} {by:.3f}' for name, by in moved.items())}"]
    said = [*(said if moved else []), "maps without random numbers repeat exactly"]
    said += [f"not looked at, because slow: {', '.join(slow)}"] if slow else []
    return CheckLine("repeatability", "good", "; ".join(said), {"moved_by_seed": moved, "slow": slow})
