"""A dry run: how much work a campaign is, by a short calibration on a few images."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from underfire.attacks.arms import Arm
from underfire.attacks.benign import Benign, read_benign
from underfire.campaigns.grid import Point
from underfire.detectors.opening import evading_term
from underfire.errors import UnderfireError
from underfire.runs.execution import Execution
from underfire.runs.opened import Opened
from underfire.runs.plan import Plan
from underfire.runs.planning import Silent, prepare
from underfire.runs.running import RunInHand

STEPS = 3
"""Steps of an attack that are timed, after one that is not."""
SECONDS = 4.0
"""No further step is timed after so long, so that a dry run of many slow runs ends soon."""
IMAGES = 8
"""Images that are timed at once, at most."""


@dataclass(frozen=True)
class Estimate:
    """The work of one run.

    Args:
        point: the run.
        images: attacked images.
        shards: shards of each cell.
        cells: cells that this run computes itself.
        shared: cells that an earlier run of the campaign has computed, too.
        steps: steps of all its own attacks, over all images.
        seconds: of one worker.
        bytes: on the disk.
        error: why the run is impossible; empty if it is not.
    """

    point: Point
    images: int = 0
    shards: int = 0
    cells: int = 0
    shared: int = 0
    steps: int = 0
    seconds: float = 0.0
    bytes: int = 0
    error: str = ""


def estimate(
    points: Sequence[Point], execution: Execution, about: Callable[[int, int], None] = lambda done, total: None
) -> list[Estimate]:
    """Estimate the work of each run of a campaign. Nothing is written.

    Images are selected as in the run itself; a few steps of each attack and one reading of its maps are timed. Runs
    that read the same maps of the same images share that reading. Attacks that stop early take less time, and
    interpreters that solve for their maps vary.

    Args:
        points: the runs.
        execution: the settings that results do not depend on.
        about: called before each run, with the number of runs that are done, and of all.
    """
    opened, known, readings, found = Opened(evading_term), set[str](), dict[str, Reading](), []
    for done, point in enumerate(points):
        about(done, len(points))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append(_estimate(point, execution, opened, known, readings))
        except UnderfireError as error:
            found.append(Estimate(point, error=str(error)))
    return found


def _estimate(
    point: Point, execution: Execution, opened: Opened, known: set[str], readings: dict[str, Reading]
) -> Estimate:
    with tempfile.TemporaryDirectory() as folder:
        hand = RunInHand(point.config, Path(folder), execution, opened=opened)
        plan, _ = prepare(point.config, hand.store, execution, Silent(), opened)
    images = sum(plan.selection.attacked)
    own = [arm for arm in plan.experiment.arms if plan.cells[arm.label].key not in known]
    known |= {cell.key for cell in plan.cells.values()}
    size = plan.experiment.batch_size
    clean = plan.cells["clean"].key
    if clean not in readings:
        readings[clean] = _first(plan, min(IMAGES, size, images))
    benign, reading, loading = readings[clean]
    seconds, steps = loading * len(plan.selection.considered), 0
    for arm in own:
        if arm.kind == "noise":
            seconds += plan.experiment.noise_draws * reading * images
            continue
        seconds += reading * images
        if arm.attack is not None:
            steps += arm.attack.steps * images
            seconds += _step_seconds(plan, arm, benign) * arm.attack.steps * images
    values = sum(maps[0].numel() for maps in benign.maps.values()) + benign.logits.shape[1]
    pixels = benign.images[0].numel()  # a PNG of a photograph is a little smaller than its pixels
    return Estimate(
        point,
        images=images,
        shards=len(plan.selection.shards(size)),
        cells=len(own),
        shared=len(plan.experiment.arms) - len(own),
        steps=steps,
        seconds=seconds,
        bytes=len(own) * images * (4 * values + pixels),
    )


class Reading(NamedTuple):
    """The benign readings of the first images, and the seconds per image for maps, and for loading."""

    benign: Benign
    maps: float
    loading: float


def _first(plan: Plan, count: int) -> Reading:
    """Read the first images."""
    selection, system = plan.selection, plan.experiment.system
    places = [index for index, attacked in zip(selection.considered, selection.attacked, strict=True) if attacked]
    classifier, begin = system.classifier, time.perf_counter()
    batch = plan.data.load(classifier.image_size, classifier.channels, places[:count], classifier.resizing)
    loaded = time.perf_counter()
    benign = read_benign(system, batch.images, batch.labels, batch.ids)
    return Reading(benign, (time.perf_counter() - loaded) / count, (loaded - begin) / count)


class _EnoughError(Exception):
    """Enough steps have been timed."""


def _step_seconds(plan: Plan, arm: Arm, benign: Benign) -> float:
    """Time a few steps of an attack: seconds per step and image."""
    times: list[float] = []

    def note(step: int, total: int) -> None:
        times.append(time.perf_counter())
        if len(times) > STEPS or times[-1] - times[0] > SECONDS:
            raise _EnoughError

    some = benign.only(arm.read_by)
    aims = plan.experiment.aims(benign)
    try:
        with torch.inference_mode(False):
            plan.experiment.perform(arm, some, aims[arm.label], progress=note)
    except _EnoughError:
        pass
    spent = times[-1] - times[0] if len(times) > 1 else 0.0
    return spent / max(1, len(times) - 1) / len(benign.images)
