"""Maps from a run's files: the same as those that are read again, and only where they are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.detectors.conftest import Digits
from tests.detectors.test_evaluation import saved_images
from underfire import randomness
from underfire.detectors import MapStability, evaluate, fit
from underfire.detectors.saved_maps import SavedMaps
from underfire.runs import RunConfig, run_attack


class Counted:
    """Counts the images whose maps are computed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, read = 0, uf.System.maps

        def maps(system: uf.System, images: Tensor, classes: Tensor, ids: Tensor | None = None) -> dict[str, Tensor]:
            if not isinstance(system, SavedMaps) or len(system.interpreters) == 1:
                self.count += len(images)
            return read(system, images, classes, ids)

        monkeypatch.setattr(uf.System, "maps", maps)


def test_saved_maps_are_those_that_are_read_again(
    digits: Digits, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = uf.Run(run_folder)
    known = SavedMaps(digits.system, [run])
    for cell in ("clean", "noise", "bim", "adv2"):
        images = saved_images(run, cell)
        classes = digits.system.classifier.logits(images).argmax(1)
        expected = digits.system.maps(images, classes)
        counted = Counted(monkeypatch)
        found = known.maps(images, classes)
        computed = counted.count
        monkeypatch.undo()
        assert all(torch.equal(found[name], expected[name]) for name in ("cam", "grad"))
        failed = 0 if cell == "clean" else 24 - int((classes == explained(run, cell)).sum())
        assert computed == 2 * failed
        assert failed < 24


def explained(run: uf.Run, cell: str) -> Tensor:
    """The classes whose maps the run holds."""
    column = "label" if cell in ("clean", "noise") else "target"
    rows = {row["image_id"]: row[column] for row in run.rows(["image_id", column], cell).to_pylist()}
    return torch.tensor([rows[image_id] for image_id in run.image_ids])


def test_other_images_classes_and_interpreters_are_read_again(digits: Digits, run_folder: Path) -> None:
    run = uf.Run(run_folder)
    images = saved_images(run, "clean")[:3]
    classes = digits.system.classifier.logits(images).argmax(1)
    known = SavedMaps(digits.system, [run])
    for other, wanted in ((images, (classes + 1) % 10), (images.flip(3), classes)):
        expected = digits.system.maps(other, wanted)
        assert all(torch.equal(each, expected[name]) for name, each in known.maps(other, wanted).items())
    own = {"cam": uf.interpreters.CAM(), "grad": uf.interpreters.Grad(pool=2)}
    system = uf.System(digits.system.classifier, own)
    expected = system.maps(images, classes)
    assert expected["grad"].shape != digits.system.maps(images, classes)["grad"].shape
    found = SavedMaps(system, [run]).maps(images, classes)
    assert all(torch.equal(found[name], expected[name]) for name in own)


def test_an_evaluation_reads_few_maps_again(digits: Digits, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = fit("map-agreement", digits.system, digits.images[80:], digits.images[:80])
    counted = Counted(monkeypatch)
    found = evaluate(made, run_folder)
    assert counted.count < 2 * 4 * 24 / 2
    monkeypatch.undo()
    scores = [row["score"] for row in found.scores() if row["cell"] == "adv2"]
    assert scores == made.scores(saved_images(uf.Run(run_folder), "adv2")).tolist()


def test_maps_with_random_numbers_are_read_again(digits: Digits, tmp_path: Path) -> None:
    """Regression: a run draws them by the names of its images, and a detector by their pixels."""
    config = RunConfig.create(
        data="digits:test", classifier="digits-resnet", interpreters=("smoothgrad",), eps=0.2, steps=(1, 1), count=4
    )
    run_attack(config, tmp_path / "run", batch_size=4)
    run = uf.Run(tmp_path / "run")
    system = uf.System(digits.system.classifier, "smoothgrad")
    images = saved_images(run, "clean")
    classes = system.classifier.logits(images).argmax(1)
    assert torch.equal(
        SavedMaps(system, [run]).maps(images, classes)["smoothgrad"], system.maps(images, classes)["smoothgrad"]
    )
    with_names = system.maps(images, classes, list(run.image_ids))["smoothgrad"]
    assert not torch.equal(with_names, system.maps(images, classes)["smoothgrad"])


def test_detectors_share_maps_with_random_numbers(
    digits: Digits, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: each of several detectors computed the maps of all images anew."""
    smooth = uf.interpreters.create("smoothgrad")
    systems = [
        uf.System(digits.system.classifier, {"smoothgrad": smooth, **more})
        for more in ({}, {"cam": uf.interpreters.CAM()})
    ]
    images = (digits.images[80:], digits.images[:80])
    made = [fit("class-map", systems[0], *images), fit("map-agreement", systems[1], *images)]
    alone = [row for each in made for row in evaluate(each, run_folder).scores()]
    counted, read = list[int](), type(smooth).maps

    def maps(self: Any, classifier: Any, images: Tensor, *given: Any, **named: Any) -> Tensor:
        counted.extend(randomness.identify(images).tolist())
        return read(self, classifier, images, *given, **named)

    monkeypatch.setattr(type(smooth), "maps", maps)
    assert list(evaluate(made, run_folder).scores()) == alone
    assert len(counted) == 4 * 24


def test_images_between_two_levels_are_read_again(digits: Digits, run_folder: Path) -> None:
    """Regression: noise below half a level took the clean image's map, so that no map was moved by it."""
    run = uf.Run(run_folder)
    images = saved_images(run, "clean")[:6]
    detector = MapStability(noise=0.4 / 255, draws=1)
    expected = detector.changes(digits.system, images)
    assert bool((expected > 0).all())
    assert torch.equal(detector.changes(SavedMaps(digits.system, [run]), images), expected)
