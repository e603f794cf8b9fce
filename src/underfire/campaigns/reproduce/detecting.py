"""Detectors of a reproduction: fitted on images that no run has, and judged on the images of the finished runs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from underfire import metrics
from underfire.campaigns.folder import Campaign
from underfire.campaigns.reproduce.findings import Finding, Values
from underfire.campaigns.reproduce.grids import ADAPTIVE, INTERPRETERS
from underfire.campaigns.reproduce.labels import plain_runs
from underfire.campaigns.reproduce.papers import PREDICTION_ONLY, Item, Paper
from underfire.classifiers import Classifier
from underfire.data import ImageData
from underfire.detectors.cached_maps import Cache, CachedMaps
from underfire.detectors.contract import FittedDetector
from underfire.detectors.folds import cross_scores
from underfire.detectors.from_data import fit_on_data
from underfire.detectors.named import made_of
from underfire.detectors.saved_maps import SavedMaps
from underfire.detectors.scoring import score_run
from underfire.detectors.split import Split
from underfire.errors import TooFewImagesError, UnderfireError, warn
from underfire.runs import Run
from underfire.runs.devices import find_device
from underfire.runs.inputs import InputSettings
from underfire.runs.saved_images import SavedImages
from underfire.settings import settings_of
from underfire.system import System

CALIBRATION = 200
"""The number of images that choose the threshold of a detector."""
FEWEST = 100
"""The smallest number that is taken where there are not ``CALIBRATION``: 5 % are truly 2 to 10 % then."""

EACH = "each in turn"
"""The attacked interpreter, if the images are attacked on each interpreter of a detector in turn."""

CLEAN = "clean"
"""The attack's name in findings about clean images: what is detected are false alarms."""


def runs_of(paper: Paper, item: Item, campaign: Campaign) -> dict[str, dict[tuple[str, str], tuple[str, Run]]]:
    """Group the finished runs of an item by classifier; then by attack and attacked interpreter.

    Returns:
        The name of the run, and the run.
    """
    found: dict[str, dict[tuple[str, str], tuple[str, Run]]] = {}
    for entry in plain_runs(campaign):
        held = campaign.configuration(entry.name)
        key = (str(held["attack"]), held["perturbation"] or "pgd", held["target_map"] or "benign")
        if any(paper.runs[name].has(*key) for name in item.runs) and (not item.attacks or key[0] in item.attacks):
            place = (key[0], "+".join(held["interpreters"]))
            found.setdefault(str(held["classifier"]), {})[place] = (entry.name, campaign.run(entry.name))
    return found


def fitted_for(
    paper: Paper, item: Item, campaign: Campaign, device: str = "auto"
) -> tuple[dict[str, list[FittedDetector]], dict[str, str]]:
    """Fit the detectors of an item that read no maps, for each classifier of the finished runs.

    The threshold is chosen for 5 % false alarms, on images of the runs' own data that none of the runs has attacked:
    ``CALIBRATION`` of them, or with a warning all that there are, if these are at least ``FEWEST``.

    Returns:
        The detectors by classifier, and the reasons for those that cannot be fitted.
    """
    fitted: dict[str, list[FittedDetector]] = {}
    missing = {}
    for classifier, runs in runs_of(paper, item, campaign).items():
        every = [run for _, run in runs.values()]
        inputs = _inputs(every[0]).open(find_device(device))
        for spec in item.detectors:
            try:
                one = _calibrated(spec, inputs.classifier, inputs.data, every)
                fitted.setdefault(classifier, []).append(one)
            except UnderfireError as error:
                missing[f"{spec} for {classifier}"] = str(error)
    return fitted, missing


def _calibrated(spec: str, classifier: Classifier, data: ImageData, runs: Sequence[Run]) -> FittedDetector:
    """Choose the threshold of a detector that learns nothing, on images that are in none of the runs."""
    fit_with = partial(fit_on_data, spec, classifier, data, count=0, apart_from=runs)
    try:
        return fit_with(calibration=CALIBRATION)
    except TooFewImagesError as error:
        if error.found < FEWEST:
            raise
        warn(
            f"the threshold of {spec} for {classifier.name} is set by {error.found} images, not {CALIBRATION}: the "
            "data set has no more that the classifier gets right and no run has attacked."
        )
        return fit_with(calibration=error.found)


def evaded(fitted: Mapping[str, Sequence[FittedDetector]]) -> dict[str, list[str]]:
    """Write the detectors of squeezing as the setting ``evade`` of the adaptive attacks, by classifier."""
    return {
        classifier: [f"{name}<{each.threshold!r}" for each in some for name in getattr(each.detector, "squeezers", ())]
        for classifier, some in fitted.items()
    }


def detected(
    paper: Paper, item: Item, campaign: Campaign, fitted: Mapping[str, Sequence[FittedDetector]]
) -> Iterator[Finding]:
    """Score the images of an item's runs with fitted detectors: clean ones, controls and attacks."""
    for classifier, runs in runs_of(paper, item, campaign).items():
        for (attack, interpreter), (name, run) in runs.items():
            held = campaign.configuration(name)
            for each in fitted.get(classifier, ()):
                cells = [cell for cell in score_run(each, run) if cell.kind in ("clean", "control", "attack")]
                for cell in cells:
                    kind = {"clean": CLEAN, "control": PREDICTION_ONLY}.get(cell.kind, attack)
                    if kind == CLEAN and attack in ADAPTIVE:
                        continue
                    counted = cell.counted
                    area = metrics.Interval(None, None, None, 0)
                    if cell.kind != "clean":
                        ids = np.asarray(cell.image_ids, dtype=object)
                        area = metrics.bootstrap_roc_area(
                            cells[0].scores, cell.scores[counted], list(ids), list(ids[counted])
                        )
                    yield Finding(
                        run=name,
                        classifier=classifier,
                        perturbation=held["perturbation"] or "pgd",
                        attack=kind,
                        beside=attack,
                        target_map=str(held["target_map"]),
                        interpreter=interpreter,
                        reader=each.name.removeprefix("squeezing "),
                        image_ids=tuple(cell.image_ids),
                        values={"detected": np.where(counted, cell.flagged.astype(float), np.nan)},
                        intervals={"auc": area},
                    )


def read_together(
    paper: Paper, item: Item, campaign: Campaign, device: str = "auto"
) -> tuple[list[Finding], dict[str, str]]:
    """Judge detectors that read maps of several interpreters and learn from attacked images ([EDGE] tables V and VI).

    There is one for each choice of ``item.together`` interpreters that were attacked. Images are attacked on one of its
    interpreters each, in turn. Each image is scored by a fit that has seen neither it nor its attacked form; see
    ``cross_scores``.

    Returns:
        The findings, and the reasons for those that are not there.
    """
    found, missing = [], {}
    for classifier, runs in runs_of(paper, item, campaign).items():
        opened = _inputs(next(iter(runs.values()))[1]).load_classifier(find_device(device))
        cache: Cache = {}
        for attack in dict.fromkeys(attack for attack, _ in runs):
            known = [name for each, name in runs if each == attack]
            names = [name for name in (*INTERPRETERS, *known) if name in known]
            for chosen in itertools.combinations(dict.fromkeys(names), item.together):
                some = {name: runs[attack, name] for name in chosen}
                for spec in item.detectors:
                    try:
                        found.append(_read(spec, System(opened, list(chosen)), some, campaign, cache))
                    except UnderfireError as error:
                        missing[f"{spec} of {'+'.join(chosen)} for {classifier}, {attack}"] = str(error)
    return found, missing


class _Together(System):
    """A system that takes the maps of each interpreter from the run that has attacked it, if they are there.

    Maps of an interpreter with random numbers are always computed; see ``SavedMaps``.
    """

    def __init__(self, system: System, runs: Mapping[str, tuple[str, Run]]) -> None:
        vars(self).update(vars(system))
        self._parts = {name: SavedMaps(system.only((name,)), [run]) for name, (_, run) in runs.items()}

    def maps(self, images: Tensor, classes: Tensor, ids: Tensor | Sequence[str] | None = None) -> dict[str, Tensor]:
        """Read the maps N x h x w of every interpreter; see ``System.maps``."""
        return {name: self._parts[name].maps(images, classes, ids)[name] for name in self.interpreters}


def _read(spec: str, system: System, runs: Mapping[str, tuple[str, Run]], campaign: Campaign, cache: Cache) -> Finding:
    """Judge one detector on the images that all runs have attacked. ``cache`` has maps of all detectors before."""
    detector, _ = made_of(spec)
    parts = {name: run.comparisons[0] for name, (_, run) in runs.items()}
    first = next(iter(parts.values()))
    correct = runs[next(iter(runs))][1].correct
    ids = [
        image
        for image, good in zip(first.image_ids, correct, strict=True)
        if good and all(image in part.image_ids for part in parts.values())
    ]
    names = list(parts)
    attacked, sources = [], []
    for place, image in enumerate(ids):
        name = names[place % len(names)]
        part = parts[name]
        if part.column("attack", name, "success")[list(part.image_ids).index(image)]:
            attacked.append(_pixels(runs[name][1], part.cell.label, image))
            sources.append(image)
    clean = torch.stack([_pixels(runs[names[0]][1], "clean", image) for image in ids]) if ids else None
    if clean is None or not attacked:
        raise UnderfireError("no image was attacked with success in all of the runs: there is nothing to learn from.")
    benign = Split.of(clean, system.classifier, ids)
    fooled = Split.of(torch.stack(attacked), system.classifier, sources, clean=False)
    together = CachedMaps(_Together(system, runs), cache)
    good, bad = (each.numpy() for each in cross_scores(detector, together, benign, fooled))
    right: dict[str, float] = {image: float(score <= 0) for image, score in zip(ids, good, strict=True)}
    values: Values = np.full(len(ids), np.nan)
    for image, score in zip(sources, bad, strict=True):
        values[ids.index(image)] = (right[image] + float(score > 0)) / 2
    held = campaign.configuration(runs[names[0]][0])
    return Finding(
        run=runs[names[0]][0],
        classifier=str(held["classifier"]),
        perturbation=held["perturbation"] or "pgd",
        attack=str(held["attack"]),
        beside=str(held["attack"]),
        target_map=str(held["target_map"]),
        interpreter=EACH,
        reader="+".join(names) + ("+product" if spec.endswith(":product") else ""),
        image_ids=tuple(ids),
        values={"accuracy": values},
        intervals={"auc": metrics.bootstrap_roc_area(good, bad, ids, sources)},
    )


def _pixels(run: Run, label: str, image: str) -> Tensor:
    place = list(run.image_ids).index(image)
    return SavedImages(run, label).levels(place).float() / 255


def _inputs(run: Run) -> InputSettings:
    """Return the settings of a run that name its classifier and its data."""
    held = run.configuration
    return InputSettings.from_values({name: held[name] for name in settings_of(InputSettings) if name in held})


def detections(
    paper: Paper, items: Sequence[Item], campaign: Campaign, device: str = "auto"
) -> tuple[list[Finding], dict[str, str]]:
    """Judge the detectors of all items. Returns the findings, and the reasons for those that are not there."""
    found: list[Finding] = []
    missing: dict[str, str] = {}
    for item in items:
        if item.kind != "detection":
            continue
        if item.together:
            some, reasons = read_together(paper, item, campaign, device)
        else:
            fitted, reasons = fitted_for(paper, item, campaign, device)
            some = list(detected(paper, item, campaign, fitted))
        found += some
        missing |= reasons
    return found, missing
