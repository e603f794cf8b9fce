"""Attacks of other libraries beside ours: found, run, and judged by the same rules."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.attacks.running import run_alone
from tests.conftest import Tiny, smooth_images, tiny_network
from underfire import attacks
from underfire.attacks import ForeignAttack, GivenClass, Goal
from underfire.attacks.benign import read_benign
from underfire.errors import ClassifierError, InputError, UnderfireWarning

EPS = 16 / 255
SOURCES = {
    "torchattacks": ("torchattacks:PGD", {"alpha": 2 / 255, "random_start": False}),
    "foolbox": ("foolbox:LinfPGD", {"abs_stepsize": 2 / 255, "random_start": False}),
    "art": ("art:ProjectedGradientDescent", {"eps_step": 2 / 255}),
}


def available(library: str) -> tuple[str, dict[str, object]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(library)
    return SOURCES[library]


@pytest.fixture
def system(classifier: uf.Classifier) -> uf.System:
    return uf.System(classifier, "cam")


@pytest.mark.parametrize("library", SOURCES)
def test_their_pgd_is_ours(system: uf.System, library: str) -> None:
    """Signed steps of 2/255 on the cross-entropy from the image itself: the same images."""
    source, options = available(library)
    images = smooth_images(8, seed=2)
    labels = system.classifier.logits(images).argmax(1)
    theirs = ForeignAttack(source, options, eps=EPS, iterations=6, target_class=GivenClassOf(labels))
    found = theirs(system, images, labels)
    target = (labels + 1) % 4
    x = images.clone().requires_grad_()
    for _ in range(6):
        loss = torch.nn.functional.cross_entropy(system.classifier(x), target, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x)
        stepped = (x - 2 / 255 * gradient.sign()).detach()
        x = stepped.clamp(images - EPS, images + EPS).clamp(0, 1).requires_grad_()
    ours = (x.detach() * 255).round() / 255
    same = ((found.adversarial - ours).abs() < 1e-6).float().mean()
    assert float(same) > 0.99  # a gradient that is all but 0 may fall to either side
    assert torch.equal(found.target, target)
    logits = system.classifier.logits(found.adversarial)
    assert torch.equal(found.success, logits.argmax(1) == target)
    assert float(found.linf.max()) <= EPS + 1e-6
    assert set(found.map_l1) == {"cam"}
    assert found.backwards.tolist() == found.steps.tolist() == [6] * 8
    assert bool((found.forwards >= 6).all())


@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("foolbox:L2ProjectedGradientDescentAttack", {}),
        ("torchattacks:PGDL2", {}),
        ("torchattacks:APGD", {"norm": "L2"}),
        ("art:ProjectedGradientDescent", {"norm": 2}),
    ],
)
def test_what_has_no_linf_ball_gets_no_eps(system: uf.System, source: str, options: dict[str, object]) -> None:
    available(source.partition(":")[0])
    images = smooth_images(2, seed=2)
    labels = system.classifier.logits(images).argmax(1)
    with pytest.raises(InputError, match=r"its radius is in .*2, and eps is in L-inf"):
        ForeignAttack(source, options, eps=EPS)(system, images, labels)


def test_images_of_an_attack_without_a_radius_are_said_to_be_cut(system: uf.System) -> None:
    available("torchattacks")
    images = smooth_images(2, seed=2)
    labels = system.classifier.logits(images).argmax(1)
    options = {"steps": 2}
    with pytest.warns(UnderfireWarning, match=r"torchattacks:CW takes no radius, and eps is .*Give eps=None"):
        ForeignAttack("torchattacks:CW", options, eps=EPS)(system, images, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnderfireWarning)
        ForeignAttack("torchattacks:CW", options, eps=None)(system, images, labels)


def test_passes_are_counted_per_batch_and_hooks_removed(system: uf.System) -> None:
    available("torchattacks")
    images = smooth_images(5, seed=2)
    labels = system.classifier.logits(images).argmax(1)
    view, benign = system.view(), read_benign(system, images, labels)
    attack = ForeignAttack("torchattacks:PGD", iterations=3)
    _, outcome = run_alone(attack, view, benign, batch_size=2)
    assert outcome.backwards.tolist() == [3] * 5
    assert not view.prepared._forward_hooks
    with pytest.raises(InputError, match="cannot be made"):
        run_alone(ForeignAttack("torchattacks:PGD", {"nonsense": 1}), view, benign, batch_size=2)
    assert not view.prepared._forward_hooks


class GivenClassOf(GivenClass):
    """The class after each image's own."""

    def __init__(self, labels: Tensor) -> None:
        super().__init__(tuple(((labels + 1) % 4).tolist()))


@pytest.mark.parametrize("library", SOURCES)
def test_untargeted_and_nothing_left_behind(system: uf.System, tiny: Tiny, library: str) -> None:
    source, options = available(library)
    images = smooth_images(4, seed=2)
    labels = system.classifier.logits(images).argmax(1)
    tiny.train()
    before = {name: value.clone() for name, value in tiny.state_dict().items()}
    torch.manual_seed(3)
    np.random.seed(3)
    expected, expected_numpy = torch.rand(2), np.random.rand(2)
    torch.manual_seed(3)
    np.random.seed(3)
    attack = ForeignAttack(source, options, eps=EPS, iterations=4, goal=Goal(targeted=False))
    found = attack(system, images, labels)
    assert torch.equal(torch.rand(2), expected)
    assert (np.random.rand(2) == expected_numpy).all()
    assert tiny.training
    assert all(torch.equal(value, before[name]) for name, value in tiny.state_dict().items())
    assert all(weight.requires_grad and weight.grad is None for weight in tiny.parameters())
    assert torch.equal(found.success, system.classifier.logits(found.adversarial).argmax(1) != labels)
    assert torch.equal(found.success, found.untargeted_success)
    again = attack(system, images, labels)
    assert torch.equal(again.adversarial, found.adversarial)


def test_without_a_ball(system: uf.System) -> None:
    available("torchattacks")
    images = smooth_images(6, seed=2)
    labels = system.classifier.logits(images).argmax(1)
    found = ForeignAttack("torchattacks:CW", {"c": 5.0}, eps=None, iterations=60)(system, images, labels)
    assert bool(found.success.any())
    assert float(found.linf.max()) > 0
    attack = ForeignAttack("torchattacks:CW", eps=None)
    noise = attack.perturbation.noise(found.images, torch.arange(6), 0)
    assert float((noise - found.images).abs().max()) <= attacks.perturbations.EPS, "not of every pixel to 0 or 1"
    with pytest.raises(InputError, match="eps is 0"):
        ForeignAttack("torchattacks:PGD", eps=0.0)


@pytest.mark.parametrize(
    ("source", "advice"),
    [
        ("torchattacks:PGD", "torchattacks:CW"),
        ("torchattacks:PIFGSM", "torchattacks:CW"),
        ("foolbox:LinfPGD", "foolbox:L2CarliniWagnerAttack"),
        ("foolbox:L2AdditiveGaussianNoiseAttack", "foolbox:L2CarliniWagnerAttack"),
        ("art:ProjectedGradientDescent", "art:CarliniL2Method"),
    ],
)
def test_a_ball_of_no_known_size_is_refused(source: str, advice: str) -> None:
    """Regression: torchattacks took its own eps without a word, and Foolbox failed in words of its own."""
    available(source.partition(":")[0])
    with pytest.raises(InputError, match=f"baseline.*eps is None.*such as {advice}; or attack with --perturbation pgd"):
        ForeignAttack(source, eps=None)
    ForeignAttack(advice, eps=None)
    assert ForeignAttack(source).eps == 0.031


def test_a_ball_may_have_its_size_among_the_options(system: uf.System) -> None:
    available("torchattacks")
    images = smooth_images(2, seed=2)
    labels = system.classifier.logits(images).argmax(1)
    found = ForeignAttack("torchattacks:PGD", {"eps": EPS}, eps=None, iterations=20)(system, images, labels)
    assert EPS - 1e-6 <= float(found.linf.max()) <= EPS + 1e-6


def test_errors_name_what_is_wrong(system: uf.System) -> None:
    with pytest.raises(InputError, match="torchattacks:NAME"):
        ForeignAttack("PGD")
    available("torchattacks")
    with pytest.raises(InputError, match="Did you mean 'PGD'"):
        ForeignAttack("torchattacks:PGDD")
    images = smooth_images(2)
    labels = system.classifier.logits(images).argmax(1)
    with pytest.raises(InputError, match="cannot be made with"):
        ForeignAttack("torchattacks:PGD", {"nonsense": 1})(system, images, labels)
    with pytest.raises(InputError, match="eps is 2"):
        ForeignAttack("torchattacks:PGD", eps=2.0)
    assert attacks.ForeignAttack("torchattacks:PGD").name == "torchattacks-pgd"


@pytest.mark.parametrize("library", SOURCES)
def test_our_own_copy_stays_in_evaluation_mode(library: str) -> None:
    """A library that puts the mode back as it found it must not leave a batch norm in training mode."""
    source, options = available(library)
    network = torch.nn.Sequential(
        torch.nn.BatchNorm2d(3), torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Dropout(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 4),
    )  # fmt: skip
    system = uf.System(network, "grad")
    images = smooth_images(4)
    benign = attacks.benign.read_benign(system, images, system.classifier.logits(images).argmax(1))
    view = system.view()
    before = view.prepared.run(images)
    run_alone(ForeignAttack(source, options, eps=EPS, iterations=2), view, benign)
    assert not any(part.training for part in view.prepared.modules())
    assert torch.equal(view.prepared.run(images), before)


def test_a_radius_of_its_own_in_another_norm(system: uf.System, images: Tensor, labels: Tensor) -> None:
    """A network whose gradients lie channels last: its ``view`` of them would fail."""
    available("torchattacks")
    found = ForeignAttack("torchattacks:PGDL2", {"eps": 2.0}, eps=None, iterations=10)(system, images, labels)
    assert float(found.l2.max()) < 2.1
    assert float(found.l2.min()) > 1


def test_what_comes_back_black_was_left_alone(system: uf.System, images: Tensor, labels: Tensor) -> None:
    """Foolbox's C&W hands back black images where it found nothing, which two steps are too few for."""
    available("foolbox")
    options = {"binary_search_steps": 1, "initial_const": 1e-6}
    found = ForeignAttack("foolbox:L2CarliniWagnerAttack", options, eps=None, iterations=2)(system, images, labels)
    assert not bool(found.success.any())
    assert torch.equal(found.adversarial, found.images)


def test_what_leaves_the_ball_is_put_back(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    pytest.importorskip("torchattacks")
    far = attacks.ForeignAttack("torchattacks:PGD", {"eps": 0.5, "alpha": 0.1, "steps": 5}, eps=4 / 255)
    result = far(uf.System(classifier, "cam"), images, labels)
    levels = (result.adversarial - result.images) * 255
    assert float(levels.abs().max()) == pytest.approx(4, abs=1e-3)
    assert torch.allclose(levels, levels.round(), atol=1e-3)


def test_a_network_that_cuts_the_graph_is_said_to(images: Tensor, labels: Tensor) -> None:
    """And not in torch's words: a run's baseline goes first."""
    pytest.importorskip("torchattacks")

    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = tiny_network()

        def forward(self, pixels: Tensor) -> Tensor:
            return self.network(pixels).detach()

    system = uf.System(uf.Classifier(Cut(), image_size=16), "cam")
    own = system.classifier.logits(images).argmax(1)
    with pytest.raises(ClassifierError, match=r"torchattacks:PGD differentiates the classifier.* cuts the graph"):
        ForeignAttack("torchattacks:PGD", iterations=2)(system, images, own)
