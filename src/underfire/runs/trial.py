"""A trial of measures before a run attacks anything."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from underfire.attacks.benign import Benign
from underfire.attacks.judge import judge_clean
from underfire.attacks.measure import Measure
from underfire.errors import UserCodeError


def try_measures(benign: Benign, measures: Sequence[Measure], masks: Tensor | None) -> None:
    """Measure images as if they were not attacked: such images may come hours later, and ``aim`` is None for them.

    Raises:
        UserCodeError: a measure fails.
    """
    for measure in measures:
        try:
            judge_clean(benign, None, [measure], masks)
        except Exception as error:  # the user's own code runs here, and may raise anything
            raise UserCodeError(
                f"measure {measure.name!r} fails for an image that is looked at, but not attacked, for which seen.aim "
                f"is None: {error.__cause__ or error}. Let it return None, or values that need no aim, if seen.aim is "
                "None."
            ) from error
