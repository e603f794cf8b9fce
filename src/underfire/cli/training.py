"""The parts that all commands of ``underfire train`` share: test images, and progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from underfire.cli.screen import bars, screen
from underfire.data import ImageData, in_classifier_order
from underfire.runs.inputs import Inputs, InputSettings

SHOWN_EVERY = 50
"""Steps between two printed lines of losses."""


def test_images(config: InputSettings, inputs: Inputs, test: str | None, test_split: str | None) -> ImageData | None:
    """Open the test images of ``--test`` and ``--test-split``, with labels in the classifier's order; None if neither
    is given."""
    if test is None and test_split is None:
        return None
    part = replace(config, data=test or config.data, split=test_split)
    return in_classifier_order(part.open_data(), inputs.classifier.class_names, inputs.classes, config.class_map)


@contextmanager
def showing(phase: str, total: int) -> Iterator[Callable[[Any], None]]:
    """Context with a bar of progress and the time that is left. Yields the function that takes each finished step.

    Args:
        phase: the name of the first phase.
        total: its number of steps.
    """
    with bars() as progress:
        task = progress.add_task(phase, total=total)

        def show(step: Any) -> None:
            progress.update(task, description=step.phase, completed=step.number, total=step.total)
            if step.number % SHOWN_EVERY == 0 or step.number == step.total:
                said = "  ".join(f"{name} {value:.3f}" for name, value in step.values.items())
                screen.print(f"{step.phase:<8} {step.number:>5}  {said}", soft_wrap=True)

        yield show
