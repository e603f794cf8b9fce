"""Attacks, audits, runs, detectors and trainings on a GPU that is only pretended: nothing mixes devices.

``test_on_gpu.py`` tests on a real one what a pretended one cannot show.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.audits.conftest import SHORT
from tests.conftest import smooth_images, tiny_network
from tests.pretended_gpu import GPU, OnGPU, pretended_gpu
from tests.runs.runs import Command, make_command
from underfire.attacks import preset
from underfire.errors import UnderfireWarning

pytestmark = pytest.mark.skipif("UNDERFIRE_TEST_DEVICE" in os.environ, reason="the device is chosen outside")


@pytest.fixture
def gpu() -> Iterator[torch.device]:
    with pretended_gpu() as device, warnings.catch_warnings():
        warnings.simplefilter("ignore", UnderfireWarning)
        yield device


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return make_command(monkeypatch, capsys)


def small(device: torch.device) -> tuple[uf.Classifier, Tensor, Tensor]:
    classifier = uf.Classifier(tiny_network().to(device), image_size=16)
    images = smooth_images(4)
    return classifier, images.to(device), classifier.logits(images).argmax(1).to(device)


def test_it_pretends(gpu: torch.device) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, 5)
    )
    here = torch.rand(2, 3, 8, 8, requires_grad=True)
    expected = torch.autograd.grad(network.eval()(here).square().sum(), here)[0]
    there = here.detach().to(gpu).requires_grad_()
    output = network.to(gpu)(there)
    (gradient,) = torch.autograd.grad(output.square().sum(), there)
    assert isinstance(gradient, OnGPU)
    assert gradient.device == output.device == next(network.parameters()).device == GPU
    assert torch.equal(gradient.cpu(), expected)
    values = torch.zeros(3, device=gpu)
    values[1] = 5
    assert (values.tolist(), float(values.sum()), int(values.argmax())) == ([0, 5, 0], 5.0, 1)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda there, here: there + here,
        lambda there, here: there @ here,
        lambda there, here: there.add_(here),
        lambda there, here: torch.cat([there, here]),
        lambda there, here: torch.stack([there.sum(), here.sum()]),
        lambda there, here: here.sum().add_(there.sum()),
        lambda there, here: there.index_select(0, torch.tensor(0)),
        lambda there, here: there.index_put((torch.tensor([0]),), here[0]),
        lambda there, here: there.normal_(generator=torch.Generator()),
        lambda there, here: torch.rand(3, device=there.device, generator=torch.Generator()),
        lambda there, here: torch.where(here > 0, there, 0.0),
        lambda there, here: here[there > 0],
        lambda there, here: torch.nn.functional.linear(here, there),
        lambda there, here: there.numpy(),
    ],
)
def test_mixed_devices_are_an_error_as_on_a_gpu(mistake: Any, gpu: torch.device) -> None:
    with pytest.raises((RuntimeError, TypeError), match=r"cuda:0|GPU"):
        mistake(torch.ones(3, 3, device=gpu), torch.ones(3, 3))


def test_what_a_gpu_allows_is_allowed(gpu: torch.device) -> None:
    there, here = torch.arange(4.0, device=gpu), torch.tensor([1, 3])
    assert there[here].tolist() == [1, 3]
    assert (there * torch.tensor(2.0)).tolist() == [0, 2, 4, 6]
    assert torch.empty(4).copy_(there).tolist() == [0, 1, 2, 3]
    there[here] = torch.tensor(7.0)
    assert there.tolist() == [0, 7, 2, 7]
    assert (
        torch.zeros_like(here, device=gpu).device == here.new_zeros(3, device=gpu).device == here.cuda().device == GPU
    )
    assert there.numpy(force=True).tolist() == [0, 7, 2, 7]


@pytest.mark.parametrize(
    ("name", "interpreters", "settings"),
    [
        ("adv2", ["cam"], {"steps": (2, 2)}),
        ("adv2", ["grad", "lrp"], {"steps": (2, 2), "target_map": "patch"}),
        ("adv2", ["gradcam++"], {"steps": (2, 2), "perturbation": "cw", "eps": None}),
        ("adv2", ["layercam"], {"steps": (2, 2), "perturbation": "stadv", "eps": None}),
        ("adv2", ["ensemble:cam+grad"], {"steps": (2, 2), "target_class": "least-likely"}),
        ("advedge", ["cam"], {"steps": (2, 2)}),
        ("advedge+", ["grad"], {"steps": (2, 2)}),
        ("auto", ["cam", "grad"], {"budget": 6}),
    ],
)
def test_attacks(name: str, interpreters: list[str], settings: dict[str, Any]) -> None:
    """From images on either device, with readers: verdicts and maps as on a CPU."""
    attack = preset(name, **{"eps": 0.1, **settings})
    classifier, images, labels = small(torch.device("cpu"))
    expected = attack(uf.System(classifier, interpreters, readers="gradcam"), images, labels)
    with pretended_gpu() as gpu:
        classifier, images, labels = small(gpu)
        system = uf.System(classifier, interpreters, readers="gradcam")
        assert classifier.device == GPU
        for given in ((images, labels), (images.cpu(), labels.cpu())):
            found = attack(system, *given)
            assert found.adversarial.device == given[0].device
            assert found.success.tolist() == expected.success.tolist()
            for each, distances in expected.map_l1.items():
                assert torch.allclose(found.map_l1[each].cpu(), distances, atol=1e-3)


def test_an_audit(gpu: torch.device) -> None:
    classifier, images, labels = small(gpu)
    ensemble = tuple(type(each)(each.name, each.kind, 4, each.rank) for each in SHORT)
    found = uf.audit(uf.System(classifier, ["cam", "grad"]), images, labels, eps=(0.05, 0.2), ensemble=ensemble)
    for each in found.results:
        assert (each.correct | ~each.fooled).all()
    assert found.of("cam", 0.2).fooled.any()


DIGITS = ("--data", "digits:test", "--classifier", "digits-resnet", "--device", "cuda:0")


def test_a_run_a_transfer_and_a_detector(gpu: torch.device, command: Command, tmp_path: Path) -> None:
    attack = ("attack", *DIGITS, "--count", 4, "--attack", "adv2", "--interpreter", "cam", "--steps", "2,2")
    words: list[tuple[Any, ...]] = [
        (*attack, "--out", tmp_path / "run"),
        ("transfer", tmp_path / "run", "--interpreter", "gradcam", "--device", "cuda:0"),
        ("detect", "fit", *DIGITS, "--detector", "squeezing", "--count", 40, "--out", tmp_path / "detector"),
        ("detect", "score", tmp_path / "detector", *DIGITS, "--count", 4),
        (*attack, "--evade", tmp_path / "detector", "--out", tmp_path / "evading"),
        ("explain", *DIGITS, "--interpreter", "cam,lrp,captum:Saliency", "--count", 2, "--out", tmp_path / "maps"),
    ]
    for each in words:
        ended = command(*each)
        assert ended.code == 0, ended.err
    assert uf.Run(tmp_path / "run").record["starts"][0]["device"]["type"] == "cuda"


@pytest.mark.parametrize("recipe", ["int-adv", "ssr"])
def test_a_robust_training(recipe: str, gpu: torch.device, command: Command, tmp_path: Path) -> None:
    steps = ("--steps", 2, "--recipe", recipe, *(("--attack-steps", 1) if recipe == "int-adv" else ()))
    ended = command("train", "robust", *DIGITS, *steps, "--out", tmp_path / "trained")
    assert ended.code == 0, ended.err
