"""Trainings in two processes on CPUs: equal to one process, and resumable with the same bits."""

from __future__ import annotations

import copy
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import underfire as uf
import underfire.defenses.training
from underfire import launching
from underfire.defenses.aid import AidRecipe
from underfire.defenses.aid.training import AidTraining
from underfire.defenses.robust import RobustRecipe, train_robust
from underfire.defenses.robust.training import RobustTraining
from underfire.errors import InputError, UnderfireWarning
from underfire.interpreters.rts.files import open_masker
from underfire.interpreters.rts.sampling import Pictures
from underfire.launching import launch
from underfire.processes import ALONE, Group, ProcessLostError
from underfire.training import Phase, Step, train

CPU = torch.device("cpu")
OBJECTIVES = ("adversarial", "int-adv", "ig-norm", "ssr")
WEIGHTS = "digits-resnet-robust.safetensors"
RESUMED = RobustRecipe("int-adv", steps=5, batch=6, attack_steps=1, shift=1, flip=False)


class Small(nn.Module):
    """A small network for digits in float64, with seeded weights and perhaps a batch norm."""

    def __init__(self, normed: bool = False) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4) if normed else nn.Identity()
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 10)
        self.double()
        generator = torch.Generator().manual_seed(5)
        for value in self.parameters():
            value.data = torch.randn(value.shape, generator=generator, dtype=torch.float64)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.head(self.pool(self.norm(self.conv(images)).relu()).flatten(1))
        return result


class Checkpointed(nn.BatchNorm2d):
    """A batch norm that is computed again for the gradient, outside of the training's own context."""

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = checkpoint(super().forward, images, use_reentrant=True)
        return result


class Doubles(Pictures):
    """Images in float64."""

    def load(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        images, labels = super().load(indices)
        return images.double(), labels


def trained(group: Group, objective: str, normed: bool, folder: Path) -> dict[str, Any]:
    """Two steps on five images, which two processes cannot share equally."""
    folder.mkdir(exist_ok=True)
    classifier = uf.Classifier(Small(normed))
    recipe = RobustRecipe(objective, steps=2, batch=5, attack_steps=2, segments=3, attack_segments=2, rate=0.1)
    pictures = Doubles(uf.data.open_data("digits:test"), classifier)
    made = RobustTraining(recipe, classifier, pictures, folder, group=group)
    log = made.run()
    gradients = {name: value.grad for name, value in classifier.module.named_parameters()}
    return {"state": classifier.module.state_dict(), "gradients": gradients, "log": log["robust"]}


def by_aid(group: Group, folder: Path) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    classifier = uf.classifiers.load("scenes-resnet")
    masker = copy.deepcopy(open_masker(None, None, classifier.sha256()).masker)
    recipe = AidRecipe(steps=1, batch=5, attacked=3, warmup=1, joint=1)
    pictures = Pictures(uf.data.open_data("scenes:test"), classifier)
    made = AidTraining(recipe, classifier, masker, pictures, folder, group=group)
    log = made.run()
    gradients = torch.cat([value.grad.flatten() for value in made.parameters() if value.grad is not None])
    return {"gradients": gradients, "log": log["aid"]}


def all_trained(group: Group, folder: Path) -> dict[str, Any]:
    found = {name: trained(group, name, False, folder / name) for name in OBJECTIVES}
    return found | {"normed": trained(group, "int-adv", True, folder / "normed"), "aid": by_aid(group, folder / "aid")}


def digits(group: Group, folder: Path, resume: bool = False, killed_after: int = 0) -> None:
    """Five steps of a network with batch norms, with a checkpoint after two and four of them."""
    underfire.defenses.training.CHECKPOINT_EVERY = 2

    def on_step(step: Step) -> None:
        assert group.leads
        if step.number == killed_after:
            os.kill(os.getpid(), signal.SIGKILL)

    data = uf.data.open_data("digits:test")
    classifier = uf.classifiers.load("digits-resnet")
    train_robust(classifier, data, folder, recipe=RESUMED, resume=resume, on_step=on_step, group=group)


def by_a_layer(group: Group, layer: nn.Module, folder: Path, drawn: list[Tensor]) -> None:
    """One step of a network with a layer, on an image of each process's own."""
    folder.mkdir(exist_ok=True)
    network = nn.Sequential(nn.Conv2d(1, 1, 1), layer)

    def compute(number: int) -> dict[str, Tensor]:
        drawn.append(torch.rand(1))
        return {"loss": network(torch.arange(9.0).view(1, 1, 3, 3) * (group.number + 1)).square().mean()}

    optimiser = torch.optim.SGD(network.parameters(), 0.01)
    train(network, [Phase("only", 1, optimiser, lambda _: 0.01, compute, 1)], folder, group=group)


def in_two(group: Group, folder: Path) -> dict[str, Any]:
    found = all_trained(group, folder)
    digits(group, folder / "whole")
    digits(group, folder / "killed", resume=True)
    with pytest.raises(InputError, match="same recipe and seed"):
        group.agree({"data": "equal", "recipe": f"{group.number}", "seed": f"{group.number}"})
    with pytest.raises(InputError, match="a batch has 1 images for 2 processes"):
        group.part(1)
    drawn: list[Tensor] = []
    by_a_layer(group, nn.Identity(), folder / "drawn", drawn)
    assert not torch.equal(group.sum(drawn[0]), 2 * drawn[0]), "dropout would draw equal masks"
    for number, layer in enumerate((nn.InstanceNorm2d(1, track_running_stats=True), Checkpointed())):
        with pytest.raises(
            InputError, match=r"other values in 1\.running_mean, 1\.running_var of the network.*one device"
        ):
            by_a_layer(group, layer, folder / f"unshared-{number}", drawn)
    # A gradient in one process alone, and none in any.
    values = [torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True, dtype=torch.float64)]
    if group.number == 1:
        values[0].grad = torch.full((2,), 3.0)
    group.sum_gradients(values)
    return found | {"alone": values[0].grad, "none": values[1].grad}


def test_a_killed_process_ends_all_and_resume_ends_in_the_same_bits(tmp_path: Path) -> None:
    """All that two processes find is compared here, because starting them takes seconds."""
    with pytest.raises(
        ProcessLostError, match=r"process 0 of 2 \(on cpu\) was ended by the signal SIGKILL.*memory.*--resume"
    ):
        launch((CPU, CPU), digits, tmp_path / "killed", False, 3)
    assert not (tmp_path / "killed" / WEIGHTS).exists()
    two = launch((CPU, CPU), in_two, tmp_path)
    assert two["alone"].tolist() == [3, 3]
    assert two["none"] is None
    names = (WEIGHTS, "digits-resnet-robust.md", "losses.csv")
    whole, again = ([(tmp_path / folder / name).read_bytes() for name in names] for folder in ("whole", "killed"))
    assert whole == again
    assert b"`underfire train robust`, 2 processes" in whole[1]

    (tmp_path / "one").mkdir()
    one = all_trained(ALONE, tmp_path / "one")
    for name in (*OBJECTIVES, "normed"):
        for kind in ("gradients", "state"):
            torch.testing.assert_close(two[name][kind], one[name][kind], rtol=0, atol=1e-10, msg=f"{kind} of {name}")
        assert max(float(value.abs().max()) for value in one[name]["gradients"].values()) > 1e-3
        for value, expected in one[name]["log"].items():
            bound = 1e-7 if value == "accuracy" else 1e-10  # accuracies are in float32
            assert two[name]["log"][value] == pytest.approx(expected, abs=bound), f"{value} of {name}"
    for value, expected in one["aid"]["log"].items():
        assert two["aid"]["log"][value] == pytest.approx(expected, rel=1e-4), value
    moved = float((two["aid"]["gradients"] - one["aid"]["gradients"]).norm())
    assert moved < 1e-3 * float(one["aid"]["gradients"].norm())

    # One process goes on from two, and says what is lost.
    with pytest.warns(UnderfireWarning, match="the checkpoint is of 2 processes, and this training goes on with 1"):
        digits(ALONE, tmp_path / "whole", resume=True)


def test_memory_is_suspected_only_after_a_kill() -> None:
    killed, ended = (str(launching._killed(1, (CPU, CPU), code)) for code in (-9, 3))
    assert "by the signal SIGKILL, and all others with it. Was the machine out of memory? A training" in killed
    assert "process 1 of 2 (on cpu) was ended with the exit code 3, and all others with it. A training" in ended
