"""Trained defenses of a reproduction: what they change, on images of the runs' own data and on finished runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from underfire import metrics, randomness
from underfire.attacks.perturbations import parse_eps
from underfire.campaigns.folder import Campaign
from underfire.campaigns.reproduce.findings import Finding, Values, findings_of
from underfire.campaigns.reproduce.grids import Choice
from underfire.campaigns.reproduce.kept import Kept
from underfire.campaigns.reproduce.papers import DEFENSES, NO_DEFENSE, Item
from underfire.classifiers import Classifier
from underfire.defenses.noise import noisy_at
from underfire.defenses.robust.measuring import robustness
from underfire.errors import InputError, UnderfireError
from underfire.interpreters import create
from underfire.runs import Run
from underfire.runs.devices import find_device
from underfire.runs.execution import Execution
from underfire.runs.identity import code_of, described
from underfire.runs.inputs import InputSettings
from underfire.runs.transfer import transfer
from underfire.settings import settings_of
from underfire.zoo.recipes import DEFENDED, weights_file

STEPS = 200
"""Steps of the attacks that measure robust classifiers, unless the user shortens all attacks."""

BATCH = 100
"""Images whose maps are read at once."""


def lacking(items: Sequence[Item], choice: Choice) -> dict[str, str]:
    """Return the reason for each item whose trained defense, or the interpreter that it defends, is not given."""
    found = {}
    for item in items:
        given = {"aid": choice.maskers, "robust": choice.weights}.get(item.defense, [""])
        if not given:
            found[item.name] = f"not made: it needs a trained defense. {DEFENSES[item.defense]}."
        elif item.defense == "aid" and not choice.plain:
            found[item.name] = "not made: it compares with the plain masker. Add rts, or rts:FOLDER, to --interpreter."
    return found


def steps_of(choice: Choice) -> int:
    """Return the steps of the attacks that measure robust classifiers: as many as those of joint attacks together."""
    return STEPS if choice.steps is None else sum(choice.steps)


@dataclass(frozen=True)
class _Images:
    """A classifier with images N x C x H x W, labels N, names, identities N and the seed of random numbers.

    ``code`` holds the hashes of the user's files that made them.
    """

    classifier: Classifier
    images: Tensor
    labels: Tensor
    names: tuple[str, ...]
    ids: Tensor
    seed: int
    code: Mapping[str, str]

    @classmethod
    def opened(cls, choice: Choice, classifier: str, count: int | None, device: str, **more: Any) -> _Images:
        known = settings_of(InputSettings)
        settings = {name: value for name, value in choice.settings.items() if name in known}
        settings |= {"classifier": classifier} | more
        made = InputSettings.from_values(settings)
        inputs = made.open(find_device(device))
        indices = range(min(count or len(inputs.data), len(inputs.data)))
        own = inputs.classifier
        batch = inputs.data.load(own.image_size, own.channels, indices, own.resizing)
        names = tuple(batch.ids)
        seed = int(choice.settings.get("seed", 0))
        ids = randomness.identify(batch.images, names)
        return cls(own, batch.images, batch.labels, names, ids, seed, code_of(settings))

    def right(self) -> _Images:
        """Keep the images that the classifier gets right. Raises InputError if there are none."""
        kept = (self.classifier.logits(self.images).argmax(1).cpu() == self.labels).nonzero()[:, 0]
        if not len(kept):
            raise InputError(f"{self.classifier.name} gets none of {len(self.names)} images right.")
        names = tuple(self.names[place] for place in kept.tolist())
        return replace(self, images=self.images[kept], labels=self.labels[kept], names=names, ids=self.ids[kept])

    def maps(self, interpreter: str, images: Tensor, classes: Tensor) -> Tensor:
        """Read maps N x h x w of these images, or of changed ones, for some classes."""
        made, parts = create(interpreter), zip(images.split(BATCH), classes.split(BATCH), strict=True)
        return torch.cat([made.maps(self.classifier, *part).cpu() for part in parts])

    @cached_property
    def about(self) -> dict[str, Any]:
        """All that numbers on these images depend on, as JSON values."""
        hashed = hashlib.sha256(self.images.cpu().numpy().tobytes())
        hashed.update(repr((self.labels.tolist(), self.names, self.seed)).encode())
        return {"classifier": self.classifier.sha256(), "code": self.code, "images": hashed.hexdigest()}

    def finding(self, classifier: str, defense: str, beside: str, size: str, reader: str, **values: Tensor) -> Finding:
        found: dict[str, Values] = {name: np.asarray(each.double().cpu()) for name, each in values.items()}
        return Finding("", classifier, size, beside, beside, "benign", reader, reader, self.names, found, {}, defense)


@dataclass(frozen=True)
class _Asked:
    """One item to measure on one classifier. Reasons for numbers that are missing are added to ``missing``."""

    item: Item
    classifier: str
    choice: Choice
    campaign: Campaign | None
    execution: Execution
    kept: Kept
    missing: dict[str, str]

    def opened(self, interpreter: str, **more: Any) -> _Images:
        return _Images.opened(
            self.choice, self.classifier, self.choice.count(interpreter), self.execution.device, **more
        )

    def finished(self) -> Iterator[tuple[str, str, Run]]:
        """Yield name, attacked interpreter and run of each finished run of ADV2 toward the benign map."""
        if self.campaign is None:
            return
        for entry in self.campaign.finished:
            held = self.campaign.configuration(entry.name)
            same = (held["attack"], held["perturbation"] or "pgd", held["target_map"] or "benign")
            if held["classifier"] == self.classifier and same == ("adv2", "pgd", "benign"):
                yield entry.name, "+".join(held["interpreters"]), self.campaign.run(entry.name)


def defenses(
    items: Sequence[Item], campaign: Campaign | None, choice: Choice, execution: Execution, folder: Path
) -> tuple[list[Finding], dict[str, str]]:
    """Measure the trained defenses of all items. What takes long is kept below ``folder``, and not measured twice.

    Returns:
        The findings, and the reasons for those that are not there.
    """
    kept = Kept(folder / "measured")
    found: list[Finding] = []
    missing: dict[str, str] = {}
    for item in items:
        for classifier in choice.classifiers if item.inputs else ():
            for kind in _KINDS[item.defense]:
                try:
                    for each in kind(_Asked(item, classifier, choice, campaign, execution, kept, missing)):
                        found.append(each)
                except UnderfireError as error:
                    missing[f"{item.name} for {classifier}"] = str(error)
    return found, missing


def _noise(asked: _Asked) -> Iterator[Finding]:
    """Compare maps of noisy images, read for the class that they are taken for, with those of clean ones."""
    kinds = [name for name in asked.item.inputs if name.endswith(" noise")]
    if not kinds:
        return
    own = asked.opened("rts").right()
    maskers = {
        defense: described(create(name).known_by(own.classifier)) for name, defense in _maskers(asked.choice).items()
    }
    for kind in kinds:
        for size in asked.item.sizes:
            about = own.about | {"maskers": maskers, "kind": kind, "size": size, "for": asked.classifier}
            try:
                yield from asked.kept.findings(about, partial(_under_noise, asked, own, kind, size))
            except UnderfireError as error:
                asked.missing[f"{asked.item.name}, {kind}, {size}"] = str(error)


def _under_noise(asked: _Asked, own: _Images, kind: str, size: str) -> Iterator[Finding]:
    """Compare maps under noise that changes the class of a share of images, such as ``3 %``."""
    share = float(size.removesuffix("%")) / 100
    noisy = noisy_at(own.classifier, own.images, own.labels, own.ids, kind.removesuffix(" noise"), share, own.seed)
    wrong = noisy.wrong.double().cpu()
    for interpreter, defense in _maskers(asked.choice).items():
        before = own.maps(interpreter, own.images, own.labels)
        moved = metrics.map_l1(own.maps(interpreter, noisy.images, noisy.classes), before).double()
        yield own.finding(
            asked.classifier,
            defense,
            kind,
            size,
            "rts",
            map_l1=moved,
            map_l1_misclassified=torch.where(wrong > 0, moved, torch.nan),
            misclassified=wrong,
        )


def _maskers(choice: Choice) -> dict[str, str]:
    """Return the plain masker and the defended ones with their labels."""
    return {choice.plain[0]: NO_DEFENSE} | {name: choice.labels[name] for name in choice.maskers}


def _benign(asked: _Asked) -> Iterator[Finding]:
    """Compare the benign maps of defended maskers with the plain masker's."""
    if "benign" not in asked.item.inputs:
        return
    own = asked.opened("rts").right()
    before = own.maps(asked.choice.plain[0], own.images, own.labels)
    for masker in asked.choice.maskers:
        moved = metrics.map_l1(own.maps(masker, own.images, own.labels), before)
        yield own.finding(asked.classifier, asked.choice.labels[masker], "benign", "", "rts", map_l1=moved)


def _attacked(asked: _Asked) -> Iterator[Finding]:
    """Take the plain masker's attacked maps from finished runs, and read its images with defended maskers.

    Runs that attack a defended masker are findings of a defense already.
    """
    for name, attacked, run in asked.finished():
        if attacked != asked.choice.plain[0]:
            continue
        if "adv2" in asked.item.inputs:
            yield from (replace(each, defense=NO_DEFENSE) for each in findings_of(run, name))
        for masker in asked.choice.maskers if "unaware" in asked.item.inputs else ():
            yield from _unaware(asked, name, run, masker)


def _unaware(asked: _Asked, name: str, run: Run, masker: str) -> Iterator[Finding]:
    """Read the images of a run that attacked the plain masker with a defended one."""
    assert asked.campaign is not None
    label = asked.choice.labels[masker]
    folder = asked.campaign.path / "defenses" / name / label
    try:
        transfer(run, None, masker, folder, resume=True, device=asked.execution.device)
    except UnderfireError as error:
        asked.missing[f"{asked.item.name}, {name} read by {masker}"] = str(error)
        return
    for file in folder.glob("*/run.json"):
        for each in findings_of(Run(file.parent), name, "rts"):
            if not each.is_control:
                yield replace(each, attack="unaware", beside="unaware", defense=label)


def _robust(asked: _Asked) -> Iterator[Finding]:
    """Measure accuracy and Kendall's tau of CAM over the radius, without a defense and with each."""
    choice, item = asked.choice, asked.item
    files: Mapping[str | None, str] = {None: NO_DEFENSE} | {name: choice.labels[name] for name in choice.weights}
    for file, defense in files.items():
        more = {} if file is None else {"weights": str(weights_file(file)) if file in DEFENDED else file}
        try:
            own = asked.opened("cam", **more)
            for attack in item.inputs:
                for size in item.sizes:
                    about = own.about | {"attack": attack, "size": size, "steps": steps_of(choice)}
                    about |= {"for": asked.classifier, "defense": defense}
                    yield from asked.kept.findings(about, partial(_at_radius, asked, own, attack, size, defense))
        except UnderfireError as error:
            asked.missing[f"{item.name} for {asked.classifier}, {defense}"] = str(error)


def _at_radius(asked: _Asked, own: _Images, attack: str, size: str, defense: str) -> Iterator[Finding]:
    """Measure accuracy and Kendall's tau under one attack at one radius."""
    eps, steps = parse_eps(size), steps_of(asked.choice)
    found = robustness(own.classifier, own.images, own.labels, own.ids, attack, eps, steps=steps, seed=own.seed)
    values = {"right": found.right} | ({"map_kendall": found.tau} if eps else {})
    yield own.finding(asked.classifier, defense, attack, size, "cam", **values)


_KINDS = {"aid": (_noise, _benign, _attacked), "robust": (_robust,)}
"""The functions that measure an item, by the kind of its defense."""
