"""Captum's methods as interpreters: their maps, their random numbers, and which of them can be attacked."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import underfire as uf
from tests.conftest import smooth_images
from underfire import attacks
from underfire.errors import InputError, InterpreterError
from underfire.interpreters import Captum
from underfire.interpreters.agreement import agreement

captum = pytest.importorskip("captum.attr")
CLASSES = torch.tensor([0, 1, 2, 3, 1, 0])
IDS = torch.arange(6)


def min_max(values: Tensor) -> Tensor:
    low, high = values.amin((1, 2), keepdim=True), values.amax((1, 2), keepdim=True)
    return (values - low) / (high - low)


def test_gradients_are_captums(classifier: uf.Classifier, images: Tensor) -> None:
    theirs = captum.InputXGradient(classifier).attribute(images.clone().requires_grad_(), target=CLASSES)
    found = Captum("InputXGradient").maps(classifier, images, CLASSES)
    assert torch.allclose(found, min_max(theirs.abs().amax(1)), atol=1e-5)
    steps = captum.IntegratedGradients(classifier).attribute(images, target=CLASSES, n_steps=7)
    found = Captum("IntegratedGradients", {"n_steps": 7}).maps(classifier, images, CLASSES)
    assert torch.allclose(found, min_max(steps.abs().amax(1)), atol=1e-5)


def test_occlusion_by_the_definition(classifier: uf.Classifier, images: Tensor) -> None:
    found = Captum("Occlusion", cells=4).maps(classifier, images, CLASSES)
    before = classifier.logits(images)
    drops = torch.zeros(6, 4, 4)
    for i in range(4):
        for j in range(4):
            hidden = images.clone()
            hidden[:, :, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4] = 0
            drops[:, i, j] = (before - classifier.logits(hidden)).gather(1, CLASSES[:, None]).squeeze(1)
    expected = min_max(F.interpolate(drops.clamp_min(0)[:, None], scale_factor=4).squeeze(1))
    assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("method", ["Lime", "KernelShap", "GradientShap", "ShapleyValueSampling"])
def test_random_methods_depend_on_the_image_and_the_seed_alone(
    classifier: uf.Classifier, images: Tensor, method: str
) -> None:
    interpreter = Captum(method, {"n_samples": 12}, cells=3)
    torch.manual_seed(5)
    np.random.seed(5)
    expected, expected_numpy = torch.rand(3), np.random.rand(3)
    torch.manual_seed(5)
    np.random.seed(5)
    found = interpreter.maps(classifier, images, CLASSES, ids=IDS)
    assert torch.equal(torch.rand(3), expected)
    assert (np.random.rand(3) == expected_numpy).all()
    alone = interpreter.maps(classifier, images[3:4], CLASSES[3:4], ids=IDS[3:4])
    assert torch.allclose(alone[0], found[3], atol=1e-4)
    twin = int(found.flatten(1).std(1).argmax())  # not one whose map is empty
    twins, classes = images[[twin, twin]], CLASSES[[twin, twin]]
    one, other = interpreter.maps(classifier, twins, classes, ids=torch.stack([IDS[twin], IDS[twin] + 1]))
    assert torch.allclose(one, found[twin], atol=1e-4)
    assert not torch.allclose(other, one, atol=1e-3), "another image, which looks the same, has draws of its own"
    again = interpreter.reseeded()
    assert again is not None
    assert not torch.allclose(again.maps(classifier, images, CLASSES, ids=IDS), found, atol=1e-3)
    assert Captum("Saliency").reseeded() is None


def test_shap_finds_the_square_that_decides() -> None:
    """The logit is the brightness of one square, so every other square contributes nothing (the dummy axiom)."""

    class Square(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            bright = x[:, :, 4:8, 8:12].mean((1, 2, 3))
            return torch.stack([bright, -bright], 1)

    for method in ("KernelShap", "ShapleyValueSampling", "Lime"):
        interpreter = Captum(method, {"n_samples": 60}, cells=4)
        found = interpreter.maps(uf.Classifier(Square()), smooth_images(3), torch.zeros(3).long(), ids=torch.arange(3))
        cells = found.view(3, 4, 4, 4, 4).mean((2, 4))
        assert bool((cells[:, 1, 2] > 0.99).all()), method
        cells[:, 1, 2] = 0
        assert float(cells.max()) < 0.1, method


def test_layers_need_to_be_named(tiny: torch.nn.Module, images: Tensor) -> None:
    with pytest.raises(InterpreterError, match="features='layer4'"):
        Captum("LayerGradCam").maps(uf.Classifier(tiny), images, CLASSES)
    named = uf.Classifier(tiny, features="act")
    found = Captum("LayerGradCam").maps(named, images, CLASSES)
    assert torch.allclose(found, uf.interpreters.GradCAM().maps(named, images, CLASSES), atol=1e-5)


@pytest.mark.parametrize("method", ["Saliency", "InputXGradient"])
def test_joint_attacks_on_differentiable_methods(classifier: uf.Classifier, method: str) -> None:
    images = smooth_images(11, seed=4)
    labels = classifier.logits(images).argmax(1)
    joint = attacks.preset("adv2", eps=0.1, steps=(10, 50), early_stop=False)
    system = uf.System(classifier, Captum(method))
    found, alone = (each(system, images, labels, control=False) for each in (joint, joint.control()))
    (name,) = system.interpreters
    assert name == f"captum:{method}"
    both = found.success & alone.success
    assert int(both.sum()) >= 5
    assert float(found.map_l1[name][both].mean()) < 0.85 * float(alone.map_l1[name][both].mean())


@pytest.mark.parametrize("method", ["Lime", "Occlusion", "GuidedBackprop", "DeepLift"])
def test_joint_attacks_on_other_methods_are_refused(classifier: uf.Classifier, method: str) -> None:
    images = smooth_images(4, seed=4)
    labels = classifier.logits(images).argmax(1)
    system = uf.System(classifier, Captum(method, {"n_samples": 5} if method == "Lime" else {}, cells=2))
    before = {name: value.clone() for name, value in classifier.module.state_dict().items()}
    with pytest.raises(InterpreterError, match=r"cosine of 0\.\d\d") as refused:
        attacks.preset("adv2", eps=0.1, steps=(2, 4))(system, images, labels)
    assert float(re.findall(r"cosine of (\d\.\d\d)", str(refused.value))[0]) < 0.99
    result = attacks.preset("pgd", eps=0.1, steps=(0, 4))(system, images, labels)  # it can still read
    assert float(result.map_l1[f"captum:{method}"].max()) > 0
    assert all(torch.equal(value, before[name]) for name, value in classifier.module.state_dict().items())
    joint = attacks.preset("adv2", eps=0.1, steps=(2, 4))  # and beside an attack on another one
    ids = torch.arange(4)
    both = uf.System(classifier, "cam", readers=list(system.interpreters.values()))
    read = joint(both, images, labels, ids=ids)
    assert torch.equal(read.adversarial, joint(uf.System(classifier, "cam"), images, labels, ids=ids).adversarial)
    honest = system.interpreters[f"captum:{method}"].maps(classifier, read.adversarial, read.target, ids=ids)
    assert torch.equal(read.maps[f"captum:{method}"], honest)
    kept = read.success & (read.map_l1["cam"] < read.map_limit["cam"])
    assert torch.equal(read.joint_success_all, kept), "no reader's map is asked for"
    for part in classifier.module.modules():
        assert not any((part._forward_hooks, part._forward_pre_hooks, part._backward_hooks))


@pytest.mark.parametrize("cosine", [0.985, 0.995])
def test_a_cosine_of_99_percent_is_needed(
    classifier: uf.Classifier, monkeypatch: pytest.MonkeyPatch, cosine: float
) -> None:
    monkeypatch.setattr("underfire.interpreters.captum.agreement", lambda *_: cosine)
    images = smooth_images(4, seed=4)
    system, labels = uf.System(classifier, Captum("Saliency")), classifier.logits(images).argmax(1)
    attack = attacks.preset("adv2", eps=0.1, steps=(1, 1))
    if cosine > 0.99:
        attack(system, images, labels)
    else:
        with pytest.raises(InterpreterError, match=r"cosine of 0\.98, and 0\.99 is needed"):
            attack(system, images, labels)


def test_agreement_of_right_and_wrong_derivatives() -> None:
    x = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    assert agreement(lambda x: x.square().sum(1), x) == pytest.approx(1, abs=1e-6)
    assert agreement(lambda x: x.detach().square().sum(1), x) == 0
    half = agreement(lambda x: x[:, 0].square() + x[:, 1].detach().square(), x)
    assert 0.1 < half < 0.98


def test_names_and_errors() -> None:
    assert uf.interpreters.create("captum:Lime") == Captum("Lime")
    assert hash(Captum("Lime", {"n_samples": 3})) == hash(Captum("Lime", [("n_samples", 3)]))
    with pytest.raises(InputError, match="after a colon"):
        uf.interpreters.create("captum")
    with pytest.raises(InputError, match="Did you mean 'Lime'"):
        uf.interpreters.create("captum:Lim")
    with pytest.raises(InputError, match="cells is 0"):
        Captum("Lime", cells=0)


@pytest.mark.parametrize(
    ("name", "meant"), [("lime", "Lime"), ("Kernel-SHAP", "KernelShap"), ("saliency", "Saliency"), ("Lime", "Lime")]
)
def test_a_method_name_without_the_prefix_captum(name: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"unknown .* Did you mean 'captum:{meant}'[?] Known: .*cam, captum"):
        uf.interpreters.create(name)
