"""All measures, also those of installed packages and of the user's own, and their values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

from underfire.attacks.measure import Measure, Seen
from underfire.attacks.measure_table import BUILT_IN
from underfire.errors import InputError
from underfire.registry import Registry, instances_of, left_out

MEASURES: Registry[Measure] = Registry(
    "measure",
    "underfire.measures",
    {measure.name: measure for measure in BUILT_IN},
    instances_of(Measure, "the measure"),
)
"""All measures by name, in the order of columns."""

TAKEN = frozenset(
    (
        # columns of a run's results
        *("position", "image_id", "path", "image_file", "label", "target", "classifier", "attack", "cell"),
        *("perturbation", "shaping", "eps", "attacked_interpreters", "interpreter", "correct_before", "seed"),
        # attributes of judgements and results
        *("images", "adversarial", "labels", "logits", "explained", "maps", "benign_maps", "target_maps"),
        *("map_limit", "values", "controls", "best_step", "trace", "predicted"),
        *("build", "to", "summary", "map_threshold"),
        *("limits", "attacked", "prediction_only", "figure", "to_pandas", "class_names"),
        "noise_map_l1",
        # entries of summaries
        *("success_over_all_images", "confidence_of_successes", "map_l1_of_successes"),
    )
)
"""Names that no measure may have, because results use them for something else. So are names that begin with
``joint_success``."""

Values = dict[str, Tensor | dict[str, Tensor]]


def chosen_measures(more: Measure | str | Iterable[Measure | str] = ()) -> tuple[Measure, ...]:
    """Return all known measures, and ``more``: one or more measures, or ``file.py:name``.

    Raises:
        InputError: one of ``more`` has the name of another measure or of a column of results, or no ``compute``.
            Such a measure of an installed package is left out, with a warning.
    """
    found = {measure.name: measure for measure in BUILT_IN}
    for name, measure in MEASURES.items():
        if found.get(name) is not measure:
            with left_out(f"measure {name!r}"):
                _add(found, measure)
    for each in more if isinstance(more, Iterable) and not isinstance(more, str) else (more,):
        _add(found, MEASURES.find(each))
    return tuple(found.values())


def _add(found: dict[str, Measure], measure: Measure) -> None:
    if found.get(measure.name, measure) != measure:
        raise InputError(f"measure {measure.name!r} exists already: give yours another name.")
    if measure.name in TAKEN or (measure.name.startswith(("joint_success", "_")) and measure.name not in found):
        raise InputError(f"measure {measure.name!r} has a name that results use already: give it another name.")
    if not callable(measure.compute) and measure.name not in found:
        raise InputError(
            f"measure {measure.name!r} has compute={measure.compute!r}; expected a function that takes Seen, and for a "
            "measure per map the interpreter's name."
        )
    found[measure.name] = measure


def measure_all(seen: Seen, measures: Sequence[Measure]) -> Values:
    """Compute all measures of one attack or control: N values by name, or by name and interpreter."""
    found: Values = {}
    for measure in measures:
        if measure.compute is None:
            continue
        if measure.per == "image":
            values = measure.values(seen)
            if values is not None:
                found[measure.name] = values
        else:
            by_map = {name: measure.values(seen, name) for name in seen.maps}
            known = {name: values for name, values in by_map.items() if values is not None}
            if known:
                found[measure.name] = known
    return found
