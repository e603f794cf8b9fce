"""Doing what ``underfire train robust`` and ``train aid`` ask for: on one device, or in several processes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from underfire.cli.options import Given
from underfire.cli.screen import show_warning
from underfire.cli.training import showing, test_images
from underfire.defenses.recipe import TrainingRecipe
from underfire.errors import InputError
from underfire.processes import ALONE, Group
from underfire.runs.inputs import InputSettings
from underfire.settings import settings_of
from underfire.training import Step


@dataclass(frozen=True)
class Job:
    """A training of a defense, as the user asked for it. It can be sent to other processes.

    Args:
        function: ``train_robust`` or ``train_aid``, perhaps with some of its arguments.
        recipe: all settings of the training.
        given: the settings that the user gave, by name.
        out: the output folder.
        test, test_split: of the test images, as the user gave them.
        resume: continue from the folder's checkpoint.
        tensorboard: write curves.
    """

    function: Callable[..., dict[str, Any]]
    recipe: TrainingRecipe
    given: Given
    out: Path
    test: str | None
    test_split: str | None
    resume: bool
    tensorboard: bool


def perform(job: Job, device: str, devices: str | None) -> dict[str, Any] | None:
    """Do a job on the device or the devices that the user named.

    If ``torchrun`` has started this process as one of several, it takes its part.

    Returns:
        What the training returns; None in processes of ``torchrun`` that do not lead.

    Raises:
        InputError: the devices cannot be used.
        ProcessLostError: one of several processes was killed.
    """
    from underfire.launching import launch
    from underfire.processes import in_torchrun, joined_by_torchrun
    from underfire.runs.devices import find_device, find_devices

    if devices is not None and device != "auto":
        raise InputError(f"--device is {device} and --devices is {devices}: give one of them.")
    if in_torchrun():
        if devices is not None or device not in ("auto", "cpu"):
            said = f"--device {device}" if devices is None else f"--devices {devices}"
            raise InputError(f"{said}: torchrun has started the processes, one for each device. Leave it out.")
        with joined_by_torchrun(cpu=device == "cpu") as group:
            return _done(group, job)
    places = [find_device(device)] if devices is None else find_devices(devices)
    if len(places) == 1:
        return _done(replace(ALONE, device=places[0]), job)
    return launch(places, _done_in_process, job)


def _done_in_process(group: Group, job: Job) -> dict[str, Any] | None:
    """Do a process's part of a job; the leading process shows warnings as the command line does."""
    warnings.showwarning = show_warning
    return _done(group, job)


def _done(group: Group, job: Job) -> dict[str, Any] | None:
    """Do a process's part of a job. None if it does not lead."""
    if not group.leads:
        warnings.simplefilter("ignore")  # the leading process raises the same warnings
        _train(group, job, None)
        return None
    from underfire.reports.losses import write_losses
    from underfire.reports.tensorboard import curves

    with showing("training", job.recipe.steps) as show, curves(job.out) if job.tensorboard else nullcontext() as draw:

        def on_step(step: Step) -> None:
            show(step)
            if draw is not None:
                draw(step)

        reached = _train(group, job, on_step)
    write_losses(job.out / "losses.csv", job.out / "losses.png")
    return reached


def _train(group: Group, job: Job, on_step: Callable[[Step], None] | None) -> dict[str, Any]:
    known = settings_of(InputSettings)
    config = InputSettings.create(**{name: value for name, value in job.given.items() if name in known})
    config.need_labels("a training learns from labels, and the network is not trained yet")
    inputs = config.open(group.device)
    testing = test_images(config, inputs, job.test, job.test_split)
    return job.function(
        inputs.classifier,
        inputs.data,
        job.out,
        test=testing,
        recipe=job.recipe,
        resume=job.resume,
        on_step=on_step,
        group=group,
    )
