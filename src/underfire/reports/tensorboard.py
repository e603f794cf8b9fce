"""Curves of a training in TensorBoard, while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from underfire.errors import InputError
from underfire.training import Step

FOLDER = "tensorboard"
"""The folder of TensorBoard's files, in the output folder of a training."""


@contextmanager
def curves(folder: Path) -> Iterator[Callable[[Step], None]]:
    """Context that writes the values of each step for TensorBoard. Yields the function that takes finished steps.

    Show them with ``tensorboard --logdir FOLDER``. Steps that are computed again after an interruption appear twice.

    Args:
        folder: the output folder of the training.

    Raises:
        InputError: tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            f"--tensorboard needs the package tensorboard, which cannot be imported ({error}): pip install "
            "tensorboard, or leave it out; losses.csv and losses.png hold the same values."
        ) from error
    opened: list[SummaryWriter] = []

    def write(step: Step) -> None:
        if not opened:  # not before the first step, because a training may refuse its folder
            opened.append(SummaryWriter(str(folder / FOLDER)))
        (writer,) = opened
        for name, value in step.values.items():
            writer.add_scalar(f"{step.phase}/{name}", value, step.number)

    try:
        yield write
    finally:
        for writer in opened:
            writer.close()
