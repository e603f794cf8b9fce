"""Interpreters whose maps depend on no class, or on no weights, are flagged and not praised."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.conftest import smooth_images, tiny_network
from underfire.check import run_check, sanity, trials
from underfire.interpreters import CAM, MASK, Grad, Interpreter, View
from underfire.runs.inputs import InputSettings


@dataclass(frozen=True)
class Brightness(Interpreter):
    """The image itself, whatever the classifier sees: neither the class nor the weights matter."""

    name: ClassVar[str] = "brightness"
    family: ClassVar[str] = "cam"

    def read(self, classifier: uf.Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        return images.mean(1)

    def view(self) -> View:
        return CAM().view()


@dataclass(frozen=True)
class ClassBlind(CAM):
    """CAM for class 0, whatever class is asked for."""

    name: ClassVar[str] = "blind"

    def read(self, classifier: uf.Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        return super().read(classifier, images, torch.zeros_like(classes), ids)


def look(interpreter: Interpreter) -> sanity.Sanity | None:
    classifier = uf.Classifier(tiny_network(), image_size=16)
    before = {name: values.clone() for name, values in classifier.module.state_dict().items()}
    other, images = sanity.shuffled_copy(classifier), smooth_images(2, seed=1)
    assert other is not None
    found = sanity.look_at(interpreter, classifier, other, images, torch.tensor([0, 1]))
    assert all(torch.equal(before[name], values) for name, values in classifier.module.state_dict().items())
    for name, values in other.module.named_parameters():
        assert torch.equal(values.flatten().sort().values, before[name].flatten().sort().values), "the same values"
    return found


def test_maps_of_the_image_alone_are_flagged() -> None:
    found = look(Brightness())
    assert found is not None
    assert (found.other_class, found.other_weights) == (pytest.approx(1), pytest.approx(1))
    assert [doubt.split(" (")[0] for doubt in found.doubts] == ["the class", "the weights"]


def test_maps_of_one_class_are_flagged_for_the_class() -> None:
    found = look(ClassBlind())
    assert found is not None
    assert found.other_class == pytest.approx(1)
    assert [doubt.split(" (")[0] for doubt in found.doubts] == ["the class"]


@pytest.mark.parametrize("interpreter", [CAM(), Grad()])
def test_honest_maps_are_not_flagged(interpreter: Interpreter) -> None:
    classifier = uf.classifiers.load("digits-resnet")
    images, classes = uf.data.open_data("digits:test").load((16, 16), 1, [0, 1]).images, torch.tensor([4, 9])
    found = sanity.look_at(interpreter, classifier, sanity.shuffled_copy(classifier), images, classes)
    assert found is not None
    assert found.doubts == []
    assert max(found.other_class, found.other_weights or 0) < 0.8


def test_slow_interpreters_are_not_looked_at() -> None:
    assert look(MASK()) is None


def test_a_check_says_it_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "REGISTRY", {"cam": CAM, "brightness": Brightness})
    monkeypatch.setattr(trials, "create", lambda name: {"cam": CAM, "brightness": Brightness}[name]())
    found = run_check(InputSettings.create(data="digits:test", classifier="digits-resnet"), 8, torch.device("cpu"))
    (line,) = [line for line in found.lines if line.topic == "sanity"]
    assert line.state == "hint"
    assert line.text.startswith("brightness maps hardly depend on the class (rank correlation 1.00 with the map of")
    assert "nor on the weights" in line.text
    assert found.verdict == "ready: 2 of 2 interpreters work; but see sanity"
    twice = replace(found, lines=[*found.lines, line])
    assert twice.verdict == found.verdict
    assert found.to_dict()["interpreters"]["cam"]["sanity"]["other_class"] < 0.9


def test_another_seed_moves_maps_with_random_numbers_alone() -> None:
    classifier = uf.Classifier(tiny_network(), image_size=16)
    images, classes = smooth_images(2, seed=1), torch.tensor([0, 1])
    noisy = uf.interpreters.create("smoothgrad")
    again = noisy.reseeded()
    assert again is not None
    moved = (noisy.maps(classifier, images, classes) - again.maps(classifier, images, classes)).abs().mean()
    assert sanity.moved_by_seed(noisy, classifier, images, classes) == pytest.approx(float(moved), rel=1e-5)
    assert float(moved) > 0
    assert sanity.moved_by_seed(CAM(), classifier, images, classes) == 0


def test_the_share_on_the_object_is_that_of_all_images() -> None:
    classifier = uf.Classifier(tiny_network(), image_size=16)
    images, classes = smooth_images(4, seed=1), torch.tensor([0, 1, 2, 0])
    masks = torch.zeros(4, 16, 16, dtype=torch.bool)
    masks[:, :8] = True
    found = sanity.look_at(Grad(), classifier, None, images, classes, masks)
    assert found is not None
    maps = Grad().maps(classifier, images, classes)
    wanted = (maps[:, :8].sum((1, 2)) / maps.sum((1, 2))).mean()
    assert found.on_object == pytest.approx(float(wanted), rel=1e-5)


def test_a_check_of_scenes_has_the_four_lines() -> None:
    """Radiology's four checks, one line each: where maps point, what they depend on, and if they repeat."""
    settings = InputSettings.create(data="scenes:test", classifier="scenes-resnet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "REGISTRY", {"cam": CAM, "smoothgrad": None})
        patch.setattr(trials, "PATIENCE", float("inf"))  # else SmoothGrad counts as slow on a busy machine
        found = run_check(settings, 12, torch.device("cpu"))
    lines = {line.topic: line.text for line in found.lines}
    assert lines["localisation"].startswith("share of the map on the object: cam 0.")
    assert "cam" in lines["dependence"]
    assert lines["repeatability"].startswith("map L1 to the map with another seed: smoothgrad 0.")
    assert "--again" in lines["reproducibility"]


@dataclass(frozen=True)
class Counting(CAM):
    """CAM that notes how many images it reads."""

    name: ClassVar[str] = "counting"
    seen: ClassVar[list[int]] = []

    def read(self, classifier: uf.Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        self.seen.append(len(images))
        return super().read(classifier, images, classes, ids)


def test_two_classes_share_a_batch_and_none_is_filled_up() -> None:
    Counting.seen.clear()
    look(Counting())
    assert Counting.seen == [4, 2]


@dataclass(frozen=True)
class Pairs(Interpreter):
    """A map for each pair of neighbouring classes: 0 and 1, 2 and 3, and so on."""

    name: ClassVar[str] = "pairs"
    family: ClassVar[str] = "cam"

    def read(self, classifier: uf.Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        return torch.stack([image.mean(0).roll(int(k) // 2 * 5, 1) for image, k in zip(images, classes, strict=True)])

    def view(self) -> View:
        return CAM().view()


def test_kin_classes_may_share_a_map() -> None:
    """Neighbours in a list of classes are often kin, such as two fish: the least likely class is compared."""
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 6))
    with torch.no_grad():
        network[2].weight.zero_()
        network[2].bias.copy_(torch.tensor([9.0, 8, 3, 2, 0, 1]))
    found = sanity.look_at(
        Pairs(), uf.Classifier(network, image_size=16), None, smooth_images(2, seed=1), torch.tensor([0, 0])
    )
    assert found is not None
    images = smooth_images(2, seed=1).mean(1)
    wanted = uf.metrics.map_spearman(images, images.roll(10, 2)).mean()
    assert found.other_class == pytest.approx(float(wanted), abs=1e-6)
    assert found.doubts == []


def test_the_least_likely_class_is_never_the_one_to_explain() -> None:
    logits = torch.tensor([[3.0, 1, 2], [1, 2, 3], [0, 0, 0], [5, 4, 3]])
    assert sanity.least_likely(logits, torch.tensor([0, 0, 0, 2])).tolist() == [1, 1, 1, 0]


def test_maps_with_another_seed_fill_no_batch_up() -> None:
    @dataclass(frozen=True)
    class Seeded(Counting):
        def reseeded(self, offset: int = 1) -> Interpreter:
            return Counting()

    Counting.seen.clear()
    classifier = uf.Classifier(tiny_network(), image_size=16)
    assert sanity.moved_by_seed(Seeded(), classifier, smooth_images(8, seed=1), torch.zeros(8, dtype=torch.long)) == 0
    assert Counting.seen == [2, 2]


@pytest.mark.parametrize(("milliseconds", "looked_at"), [(0.1, True), (10, False)])
def test_passes_of_a_solver_count_as_slow(
    milliseconds: float, looked_at: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MASK's maps take hundreds of passes each, although a joint step is quick: on a large network, minutes."""
    speed = trials.Speed(8, milliseconds, milliseconds, 1.0, 1.0)
    monkeypatch.setattr(trials, "REGISTRY", {"mask": MASK})
    monkeypatch.setattr(trials, "measure_speed", lambda *_, **__: speed)
    classifier = uf.classifiers.load("digits-resnet")
    images = uf.data.open_data("digits:test").load((16, 16), 1, [0, 1]).images
    _, (trial,) = trials.try_interpreters(classifier, images, torch.tensor([4, 9]))
    assert (trial.moved_by_seed is not None) == looked_at


@dataclass(frozen=True)
class Careless(Interpreter):
    """Maps with a mistake."""

    mistake: str
    name: ClassVar[str] = "careless"
    family: ClassVar[str] = "cam"

    def read(self, classifier: uf.Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        maps = images.mean(1)
        made = {"channels": maps.unsqueeze(1), "one map": maps[:1], "array": maps.numpy(), "range": maps * 300}
        found: Tensor = made[self.mistake]
        return found

    def view(self) -> View:
        return CAM().view()


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("channels", "interpreter careless returns shape (2, 1, 16, 16) for a batch of 2 images"),
        ("one map", "interpreter careless returns shape (1, 16, 16) for a batch of 2 images"),
        ("array", "interpreter careless returns an object of type ndarray"),
        ("range", "interpreter careless makes maps with values from 0 to 300"),
    ],
)
def test_a_mistake_in_maps_is_named(mistake: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: the quick reading of few maps checked nothing, so that check ended with an error of Python's."""
    monkeypatch.setattr(trials, "REGISTRY", {"careless": Careless})
    monkeypatch.setattr(trials, "create", lambda _: Careless(mistake))
    images = uf.data.open_data("digits:test").load((16, 16), 1, [0, 1]).images
    _, (trial,) = trials.try_interpreters(uf.classifiers.load("digits-resnet"), images, torch.tensor([4, 9]))
    assert not trial.works
    assert said in (trial.problem or "")
