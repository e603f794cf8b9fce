"""Networks and interpreters without a gradient that an attack could follow are refused; others are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.attacks.running import Wrapped
from tests.conftest import Squaring, smooth_images, tiny_network
from underfire import attacks
from underfire.errors import ClassifierError, InterpreterError, NoGradientError
from underfire.interpreters import State, View


def test_an_interpreter_whose_maps_have_no_gradient() -> None:
    """The log-odds of a linear network have the same gradient everywhere."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2))
    system, images = uf.System(uf.Classifier(network, image_size=16), "grad"), smooth_images(4)
    with pytest.raises(InterpreterError, match="gradient of grad's maps is zero everywhere"):
        attacks.preset("adv2", steps=(1, 1))(system, images, system.classifier.logits(images).argmax(1))


class Steps(nn.Module):
    """Sees nothing but the eighths that pixels lie in."""

    def __init__(self) -> None:
        super().__init__()
        self.network = tiny_network()

    def forward(self, images: Tensor) -> Tensor:
        return self.network((images * 8).round() / 8 + 0 * images)


@pytest.mark.parametrize("name", ["adv2", "pgd", "cw", "stadv"])
@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda: Wrapped(lambda z: z.detach()), "cannot be differentiated in the image: its forward cuts the graph"),
        (lambda: Wrapped(lambda z: torch.from_numpy(z.detach().numpy())), "on its way through NumPy"),
        (Steps, "gradient of the classifier's logits in the image is zero everywhere"),
    ],
)
def test_logits_that_do_not_follow_the_image(network: Callable[[], nn.Module], message: str, name: str) -> None:
    """Regression: C&W went on with its penalty alone, and called that a failed attack; PGD gave torch's words."""
    system, images = uf.System(network(), "cam"), smooth_images(4)
    with pytest.raises(ClassifierError, match=message):
        attacks.preset(name, steps=(1, 1))(system, images, system.classifier.logits(images).argmax(1))


class Dead(nn.Module):
    """Without biases, and rectified: no slope at black images."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features, self.head = nn.Conv2d(3, 8, 3, bias=False), nn.Linear(8, 4, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).relu().mean((2, 3)))


@pytest.mark.parametrize("black", [range(8), range(8, 16), range(16)])
def test_images_where_the_logits_stand_still_refuse_nobody(black: range) -> None:
    """Regression: whether the first eight images were black decided whether an attack could begin."""
    system, images = uf.System(uf.Classifier(Dead(), image_size=16), "cam"), smooth_images(16)
    images[list(black)] = 0
    labels = system.classifier.logits(images).argmax(1)
    result = attacks.preset("pgd", eps=0.2, steps=(0, 20), targeted=False)(system, images, labels)
    assert bool(result.success[list(black)].any()), "the random start leaves where there is no slope"


def test_logits_whose_gradient_is_nan() -> None:
    network = Wrapped(lambda z: z + (0 * z.detach().sum(1, keepdim=True) + 0 * z.sum(1, keepdim=True)).sqrt())
    system, images = uf.System(network, "cam"), smooth_images(4)
    with pytest.raises(ClassifierError, match="holds NaN or infinite values, which nothing can follow"):
        attacks.preset("pgd", steps=(1, 1))(system, images, system.classifier.logits(images).argmax(1))


class Standardised(nn.Module):
    """Divides by the image's own contrast: no slope, and no number for one, where it has none."""

    def __init__(self) -> None:
        super().__init__()
        self.network = tiny_network()

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images / (images.flatten(1).var(1).sqrt() + 1e-5).view(-1, 1, 1, 1))


@pytest.mark.parametrize("place", [0, 9])
def test_one_image_without_a_slope_refuses_nobody(place: int) -> None:
    system, images = uf.System(uf.Classifier(Standardised(), image_size=16), "cam"), smooth_images(16)
    images[place] = 128 / 255
    labels = system.classifier.logits(images).argmax(1)
    flat = images[place : place + 1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(system.classifier(flat).sum(), flat)
    assert not bool(torch.isfinite(gradient).any())
    for name in ("bim", "cw"):
        result = attacks.preset(name, steps=(0, 30), targeted=False)(system, images, labels)
        assert torch.equal(result.adversarial[place], result.images[place]), "there is nowhere to go"
        rest = torch.arange(16) != place
        others = attacks.preset(name, steps=(0, 30), targeted=False)(system, images[rest], labels[rest])
        assert torch.equal(result.adversarial[rest], others.adversarial)
        assert bool(others.success.any())


def test_what_has_no_derivative_is_said() -> None:
    network = Wrapped(lambda z: z + 0 * torch.igamma(z.abs() + 1, z.abs() + 1))
    system, images = uf.System(uf.Classifier(network, image_size=16), "cam"), smooth_images(4)
    with pytest.raises(ClassifierError, match=r"cannot be differentiated in the image: the derivative for .*igamma"):
        attacks.preset("pgd", steps=(1, 1))(system, images, system.classifier.logits(images).argmax(1))


def test_inference_mode_cuts_nothing() -> None:
    attack, images = attacks.preset("adv2", eps=8 / 255, steps=(1, 2)), smooth_images(4)
    labels = uf.Classifier(tiny_network()).logits(images).argmax(1)
    expected = attack(uf.System(tiny_network(), "cam"), images, labels)
    with torch.inference_mode():
        found = attack(uf.System(tiny_network(), "cam"), smooth_images(4), labels.clone())
    assert torch.equal(found.adversarial, expected.adversarial)
    assert bool((found.linf > 0).all())


@pytest.mark.parametrize("interpreter", ["grad", "ig", "lrp"])
def test_maps_that_need_gradients_of_such_a_network(interpreter: str) -> None:
    classifier, images = uf.Classifier(Wrapped(lambda z: z.detach()), image_size=16), smooth_images(2)
    with pytest.raises(InterpreterError, match="differentiates the network, which cannot be: its forward cuts"):
        uf.interpreters.create(interpreter).maps(classifier, images, torch.zeros(2, dtype=torch.int64))


class After(nn.Module):
    """A tiny network after a function of somebody's own."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.function = tiny_network(), function

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.function(images))


def test_a_network_without_second_derivative() -> None:
    system, images = uf.System(After(Squaring.apply), uf.interpreters.Grad()), smooth_images(4)
    with pytest.raises(InterpreterError, match="A part of this network has no second derivative"):
        attacks.preset("adv2", steps=(1, 1))(system, images, system.classifier.logits(images).argmax(1))


class Detaching(View):
    """A user's view whose maps have no gradient."""

    def read(
        self, prepared: Any, recorded: Any, images: Tensor, classes: Tensor, state: State, graph: bool
    ) -> tuple[Tensor, State]:
        return images.detach().mean(1)[:, ::2, ::2], state


class Mine(uf.interpreters.CAM):
    name = "mine"

    def view(self) -> View:
        return Detaching()


@pytest.mark.filterwarnings("ignore:the view of interpreter 'mine' gives other maps")
def test_a_view_of_the_users_own_may_be_to_blame() -> None:
    """Regression: the network was blamed."""
    system, images = uf.System(tiny_network(), Mine()), smooth_images(4)
    with pytest.raises(InterpreterError, match="A part of this network, or the view of mine, has no second derivative"):
        attacks.preset("adv2", steps=(1, 1))(system, images, system.classifier.logits(images).argmax(1))


class Forgetful(nn.Module):
    """A last layer of zeros, as in transformers before their training."""

    def __init__(self) -> None:
        super().__init__()
        self.network = tiny_network()

    def forward(self, images: Tensor) -> Tensor:
        return 0 * self.network(images)


def test_a_network_that_says_the_same_of_every_image() -> None:
    """Regression: that its gradient is zero was blamed on a rounding in its forward."""
    system, images = uf.System(Forgetful(), "grad"), smooth_images(4)
    with pytest.raises(NoGradientError, match=r"the same logits for all images.*are its weights loaded"):
        attacks.preset("pgd", steps=(0, 1))(system, images, torch.zeros(4, dtype=torch.int64))


def test_black_maps_are_not_blamed_on_activations() -> None:
    """Regression: "the network's activations are piecewise linear in a way that the interpreter's view ..."."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))
    with torch.no_grad():
        for part in (network[0], network[4]):
            part.weight.mul_(1e-12)
            part.bias.zero_()
    system, images = uf.System(network, "lrp"), smooth_images(4)
    with pytest.raises(
        NoGradientError, match=r"lrp's maps of these images are 0 everywhere.* deviation of \d\.\de-\d\d"
    ):
        attacks.preset("adv2", steps=(1, 1))(system, images, system.classifier.logits(images).argmax(1))


class Called(torch.autograd.Function):
    """A function whose author calls its context something."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.name = "mine"
        return values * 1

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> Tensor:
        return outer


def test_a_function_of_the_users_may_be_called_anything() -> None:
    """Regression: its name hid the method that was asked."""
    system, images = uf.System(After(Called.apply), "grad"), smooth_images(4)
    result = attacks.preset("adv2", steps=(1, 1))(system, images, system.classifier.logits(images).argmax(1))
    assert bool((result.linf > 0).all())
