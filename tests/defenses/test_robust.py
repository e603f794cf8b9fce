"""Robust training: its losses against a replica from the definition, its inner attack, and a resumed training."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import underfire as uf
from underfire.classifiers import Recorded
from underfire.defenses.robust import OBJECTIVES, RobustRecipe, class_maps, discrepancy, train_robust
from underfire.defenses.robust.training import RobustTraining, random_start
from underfire.errors import DataError, InputError, InterpreterError, StoreError
from underfire.interpreters.rts.sampling import Pictures


class Tiny(nn.Module):
    """One convolution, mean pooling, and a linear head of three classes: everything can be written by hand."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.conv = nn.Conv2d(1, 2, 1)
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(2, 3)
        for value in self.parameters():
            value.data = torch.randn(value.shape, generator=generator)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.head(self.pool(self.conv(images).relu()).flatten(1))
        return result


def slow_maps(network: Tiny, image: list[list[float]]) -> list[list[list[float]]]:
    """sum_k W[c, k] A_k[i][j] for every class, in plain numbers."""
    kernel, bias = network.conv.weight.flatten().tolist(), network.conv.bias.tolist()
    weight = network.head.weight.tolist()
    return [
        [[sum(row[k] * max(0.0, kernel[k] * v + bias[k]) for k in range(2)) for v in line] for line in image]
        for row in weight
    ]


def slow_logits(network: Tiny, image: list[list[float]]) -> list[float]:
    bias = network.head.bias.tolist()
    cells = len(image) * len(image[0])
    return [sum(map(sum, m)) / cells + b for m, b in zip(slow_maps(network, image), bias, strict=True)]


def slow_discrepancy(network: Tiny, clean: list[list[float]], attacked: list[list[float]], label: int) -> float:
    before, after, z = slow_maps(network, clean), slow_maps(network, attacked), slow_logits(network, attacked)
    p = [math.exp(value) / sum(map(math.exp, z)) for value in z]
    total = 0.0
    for c in range(3):
        moved = sum(
            abs(a - b) for one, two in zip(after[c], before[c], strict=True) for a, b in zip(one, two, strict=True)
        )
        total += moved if c == label else p[c] / (1 - p[label]) * moved
    return total


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 1, 2, 3, generator=torch.Generator().manual_seed(1))


LABELS = torch.tensor([0, 1, 2, 1])


def cross_entropy(z: list[float], label: int) -> float:
    return math.log(sum(map(math.exp, z))) - z[label]


def test_the_discrepancy_is_that_of_the_definition(images: Tensor) -> None:
    network = Tiny()
    classifier = uf.Classifier(network)
    moved = (images + 0.2 * torch.randn(images.shape, generator=torch.Generator().manual_seed(2))).clamp(0, 1)
    clean, attacked = classifier.record(images), classifier.record(moved)
    found = discrepancy(class_maps(clean), class_maps(attacked), attacked.logits, LABELS)
    expected = [
        slow_discrepancy(network, x[0].tolist(), y[0].tolist(), c)
        for x, y, c in zip(images, moved, LABELS.tolist(), strict=True)
    ]
    assert found.tolist() == pytest.approx(expected, rel=1e-4)
    assert min(expected) > 0.01
    zero = discrepancy(class_maps(clean), class_maps(clean), clean.logits, LABELS)
    assert zero.tolist() == [0, 0, 0, 0]


OF_MAPS = [name for name, own in OBJECTIVES.items() if own.penalty is None or own.penalty.name == "maps"]


@pytest.mark.parametrize("name", OF_MAPS)
def test_losses_are_the_weighted_sums_of_their_definitions(name: str, images: Tensor) -> None:
    network, gamma = Tiny(), 0.3
    classifier = uf.Classifier(network)
    moved = images.flip(3)
    clean, attacked = classifier.record(images), classifier.record(moved)
    moves = discrepancy(class_maps(clean), class_maps(attacked), attacked.logits, LABELS)
    rows = list(zip(images[:, 0].tolist(), moved[:, 0].tolist(), LABELS.tolist(), strict=True))
    of_clean = [cross_entropy(slow_logits(network, x), c) for x, _, c in rows]
    of_attacked = [cross_entropy(slow_logits(network, y), c) for _, y, c in rows]
    of_maps = [slow_discrepancy(network, x, y, c) for x, y, c in rows]
    loss = {
        "normal": lambda a, b, m: a,
        "adversarial": lambda a, b, m: b,
        "int-adv": lambda a, b, m: b + gamma * m,
    }.get(name, lambda a, b, m: a + gamma * m)
    inner = {
        "normal": lambda b, m: 0.0,
        "adversarial": lambda b, m: b,
        "int": lambda b, m: m,
        "int-ce": lambda b, m: b,
    }.get(name, lambda b, m: b + gamma * m)
    own = OBJECTIVES[name]
    expected = sum(loss(*parts) for parts in zip(of_clean, of_attacked, of_maps, strict=True)) / 4
    found = own.parts(clean, attacked, LABELS, moves.mean(), gamma)
    assert float(found["loss"].detach()) == pytest.approx(expected, rel=1e-4)
    ascended = [inner(b, m) for b, m in zip(of_attacked, of_maps, strict=True)]
    assert own.inner(attacked.logits, LABELS, moves, gamma).tolist() == pytest.approx(ascended, rel=1e-4)


def test_gradients_of_the_loss_are_its_finite_differences(images: Tensor) -> None:
    network = Tiny().double()
    classifier = uf.Classifier(network)
    images, moved = images.double(), images.double().flip(3)
    own = OBJECTIVES["int-adv"]

    def loss() -> Tensor:
        clean, attacked = classifier.record(images), classifier.record(moved)
        moves = discrepancy(class_maps(clean), class_maps(attacked), attacked.logits, LABELS)
        return own.parts(clean, attacked, LABELS, moves.mean(), 0.3)["loss"]

    gradients = torch.autograd.grad(loss(), list(network.parameters()))
    for value, gradient in zip(network.parameters(), gradients, strict=True):
        for index in range(value.numel()):
            ends = []
            for step in (1e-6, -1e-6):
                value.data.view(-1)[index] += step
                ends.append(float(loss().detach()))
                value.data.view(-1)[index] -= step
            assert float(gradient.view(-1)[index]) == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-6)


def test_a_network_without_class_maps_is_refused(images: Tensor) -> None:
    recorded = Recorded(torch.zeros(4, 3), None, None, None, ())
    with pytest.raises(InterpreterError, match="adversarial"):
        class_maps(recorded)


SMALL = RobustRecipe(steps=6, batch=16, attack_steps=2, rate=0.01, shift=1, flip=False, segments=4, attack_segments=2)


@pytest.mark.parametrize("objective", ["adversarial", "int", "int-adv", "ig-norm", "ig-sum-norm"])
def test_the_inner_attack_ascends_its_objective_inside_the_ball(objective: str, tmp_path: Path) -> None:
    classifier = uf.classifiers.load("digits-resnet")
    pictures = Pictures(uf.data.open_data("digits:train"), classifier)
    recipe = RobustRecipe(objective, attack_steps=5, step_size=4 / 255, eps=16 / 255)
    made = RobustTraining(recipe, classifier, pictures, tmp_path)
    images, labels = pictures.load(list(range(16)))
    attacked = made.attack(images, labels, 0.5, random_start(images, torch.Generator().manual_seed(3)))
    assert float((attacked - images).abs().max()) <= 8 / 255 + 1e-6
    assert float(attacked.min()) >= 0
    assert float(attacked.max()) <= 1
    ascended = made.ascended(images, labels, made.recipe.made)
    start = (2 * torch.rand(images.shape, generator=torch.Generator().manual_seed(3)) - 1) * 8 / 255
    values = [ascended(each).detach().mean() for each in ((images + start).clamp(0, 1), attacked)]
    assert float(values[1]) > 1.2 * float(values[0])


@pytest.mark.parametrize("objective", ["int-adv", "ig-sum-norm", "ssr"])
def test_an_interrupted_training_ends_in_the_same_weights(
    objective: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("underfire.defenses.training.CHECKPOINT_EVERY", 2)
    data, recipe = uf.data.open_data("digits:train"), replace(SMALL, objective=objective)

    def stop(step: object) -> None:
        if getattr(step, "number", 0) == 4:
            raise KeyboardInterrupt

    whole, halved = tmp_path / "whole", tmp_path / "halved"
    train_robust(uf.classifiers.load("digits-resnet"), data, whole, recipe=recipe)
    with pytest.raises(KeyboardInterrupt):
        train_robust(uf.classifiers.load("digits-resnet"), data, halved, recipe=recipe, on_step=stop)
    with pytest.raises(StoreError, match="--resume"):
        train_robust(uf.classifiers.load("digits-resnet"), data, halved, recipe=recipe)
    train_robust(uf.classifiers.load("digits-resnet"), data, halved, recipe=recipe, resume=True)
    names = ("digits-resnet-robust.safetensors", "digits-resnet-robust.md")
    assert all((whole / name).read_bytes() == (halved / name).read_bytes() for name in names)


def test_training_helps_against_its_own_attack(tmp_path: Path) -> None:
    classifier = uf.classifiers.load("digits-resnet")
    training, test = uf.data.open_data("digits:train"), uf.data.open_data("digits:test")
    recipe = RobustRecipe(steps=40, batch=64, attack_steps=2, step_size=16 / 255, eps=32 / 255, shift=1, flip=False)
    before = RobustTraining(recipe, uf.classifiers.load("digits-resnet"), Pictures(test, classifier), tmp_path)
    images, labels = before.pictures.load(list(range(100)))
    attacked = before.attack(images, labels, 1.0, random_start(images, torch.Generator().manual_seed(0)))
    plain = float((before.classifier.logits(attacked).argmax(1) == labels).float().mean())
    reached = train_robust(classifier, training, tmp_path / "out", test=test, recipe=recipe)
    assert reached["attacked_accuracy"] > plain + 0.1
    assert reached["accuracy"] > 0.8
    own, truth = before.pictures.load(list(range(len(test))))
    right = (before.classifier.logits(own).argmax(1) == truth).float().mean()
    assert reached["accuracy_before"] == pytest.approx(float(right))
    assert f"before the training {100 * float(right):.1f} %" in (tmp_path / "out/digits-resnet-robust.md").read_text()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_is_measured_and_written(objective: str, tmp_path: Path) -> None:
    """Also ``normal``, whose training has no attack, is measured under one, and its card says no more than was done."""
    data = uf.data.open_data("digits:test")
    recipe = RobustRecipe(objective=objective, steps=1, batch=4, attack_steps=1, shift=1, flip=False, gamma=0.0123)
    reached = train_robust(uf.classifiers.load("digits-resnet"), data, tmp_path, test=data, recipe=recipe)
    assert 0 < reached["attacked_accuracy"] <= reached["accuracy"]
    card = (tmp_path / "digits-resnet-robust.md").read_text()
    assert ("L-inf 8/255, 1 step of 2/255 from a random start, growing" in card) == recipe.made.attacks
    assert recipe.made.attacks == (objective not in ("normal", "ssr"))
    assert ("; gamma 0.0123" in card) == (objective not in ("normal", "adversarial"))
    assert ("sums of 50 gradients, and of 5 in the inner attack" in card) == (objective in ("ig-norm", "ig-sum-norm"))


def test_test_images_are_checked_before_the_training(tmp_path: Path) -> None:
    images = uf.data.open_data("digits:test")
    for label in range(12):
        folder = tmp_path / "images" / f"{label:02}"
        folder.mkdir(parents=True)
        save_image(images.load((16, 16), 1, [label]).images[0], folder / "a.png")
    test = uf.data.open_data(str(tmp_path / "images"))
    with pytest.raises(DataError, match="label"):
        train_robust(uf.classifiers.load("digits-resnet"), images, tmp_path / "out", test=test, recipe=SMALL)
    assert not list((tmp_path / "out").glob("*.safetensors"))


def save_image(image: Tensor, path: Path) -> None:
    Image.fromarray((image[0] * 255).round().to(torch.uint8).numpy()).save(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"objective": "inter"}, "int"), ({"batch": 1}, "batch"), ({"ramp": 2.0}, "ramp"), ({"eps": -1.0}, "eps")],
)
def test_bad_settings_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        RobustRecipe(**changes)
