"""The user's network is used as it is, and not changed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.conftest import smooth_images, tiny_network
from underfire.errors import ClassifierError, InputError, UnderfireWarning


def state_of(module: nn.Module) -> tuple[Any, ...]:
    """Collect everything about a network that its use must not change."""
    return (
        {name: value.clone() for name, value in module.state_dict().items()},
        [part.training for part in module.modules()],
        [(value.requires_grad, None if value.grad is None else value.grad.clone()) for value in module.parameters()],
        [
            (len(part._forward_hooks), len(part._forward_pre_hooks), len(part._backward_hooks))
            for part in module.modules()
        ],
    )


def same(before: tuple[Any, ...], after: tuple[Any, ...]) -> bool:
    weights = all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    gradients = all(
        a[0] == b[0] and (a[1] is None) == (b[1] is None) and (a[1] is None or torch.equal(a[1], b[1]))
        for a, b in zip(before[2], after[2], strict=True)
    )
    return weights and gradients and before[1] == after[1] and before[3] == after[3]


def test_normalisation_is_the_textbook_formula(images: Tensor) -> None:
    class First(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images[:, :, 0, 0]

    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 0.125)
    classifier = uf.Classifier(First(), mean=mean, std=std)
    expected = (images[:, :, 0, 0] - torch.tensor(mean)) / torch.tensor(std)
    assert torch.allclose(classifier(images), expected, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(images: Tensor, training: bool) -> None:
    network = tiny_network()
    network.train(training)
    network.norm.eval()
    network.second.weight.requires_grad_(False)
    network(images).sum().backward()
    before, passed = state_of(network), images.clone()
    system = uf.System(
        uf.Classifier(network), [uf.interpreters.CAM(), uf.interpreters.Grad(), uf.interpreters.GradCAM()]
    )
    labels = system.classifier.logits(images).argmax(1)
    uf.attacks.preset("adv2", eps=8 / 255, steps=(2, 3))(system, images, labels)
    assert same(before, state_of(network))
    assert torch.equal(images, passed)
    assert not images.requires_grad


def test_the_network_is_left_as_it_was_after_an_exception(images: Tensor) -> None:
    network = tiny_network()
    calls = 0

    class Breaks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            if calls > 30:
                raise RuntimeError("injected")
            return network(images) if self.training else self.network(images)

    module = Breaks().train()
    before = state_of(module)
    classifier = uf.Classifier(module, features="network.second")
    system = uf.System(classifier, [uf.interpreters.GradCAM(), uf.interpreters.Grad()])
    with pytest.raises(ClassifierError, match="injected"):
        uf.attacks.preset("adv2", eps=8 / 255, steps=(20, 40))(system, images, torch.zeros(6, dtype=torch.int64))
    assert same(before, state_of(module))


def test_verdicts_use_evaluation_mode(images: Tensor) -> None:
    network = tiny_network()
    expected = network(images)
    network.train()
    assert torch.allclose(uf.Classifier(network).logits(images), expected, atol=1e-5)
    assert network.training


def test_one_channel() -> None:
    classifier = uf.Classifier(tiny_network(channels=1), channels=1, mean=(0.5,), std=(0.5,))
    images = smooth_images(4, channels=1)
    system = uf.System(classifier, uf.interpreters.CAM())
    result = uf.attacks.preset("adv2", eps=0.1, steps=(2, 3))(system, images, classifier.logits(images).argmax(1))
    assert result.adversarial.shape == (4, 1, 16, 16)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_prepared_copy_gives_the_same_logits(classifier: uf.Classifier, precision: str) -> None:
    images = smooth_images(16, seed=3)
    prepared = classifier.prepare(precision)
    expected = classifier.logits(images)
    actual = prepared.run(images.to(prepared.dtype)).detach()
    assert float((actual - expected).abs().max()) < 1e-4 * max(1.0, float(expected.abs().max()))
    assert not any(isinstance(part, nn.BatchNorm2d) for part in prepared.module.modules())
    assert not any(value.requires_grad for value in prepared.parameters())


def test_the_prepared_copy_in_bfloat16_is_close(classifier: uf.Classifier) -> None:
    import warnings

    images = smooth_images(16, seed=3)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UnderfireWarning
        )  # processors without bfloat16 instructions are slow, not wrong
        prepared = classifier.prepare("bf16")
    expected = classifier.logits(images)
    logits = prepared.run(images)
    assert logits.dtype == torch.float32
    assert float((logits - expected).abs().max()) < 0.1 * max(1.0, float(expected.abs().max()))


def test_a_shared_convolution_is_not_folded(images: Tensor) -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.convolution = nn.Conv2d(3, 3, 3, padding=1)
            self.norm = nn.BatchNorm2d(3)
            self.norm.running_mean.copy_(torch.tensor([0.5, -0.5, 1.0]))
            self.head = nn.Linear(3, 4)

        def forward(self, images: Tensor) -> Tensor:
            inner = self.norm(self.convolution(images))
            return self.head(self.convolution(torch.relu(inner)).mean((2, 3)))

    network = Shared().eval()
    prepared = uf.Classifier(network).prepare()
    assert torch.allclose(prepared.run(images), network(images), atol=1e-5)


def test_a_convolution_whose_output_is_used_twice_is_not_folded(images: Tensor) -> None:
    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.convolution = nn.Conv2d(3, 8, 3, padding=1)
            self.norm = nn.BatchNorm2d(8)
            self.norm.running_var.fill_(4.0)
            self.head = nn.Linear(8, 4)

        def forward(self, images: Tensor) -> Tensor:
            features = self.convolution(images)
            return self.head((self.norm(features) + features).mean((2, 3)))

    network = Fork().eval()
    assert torch.allclose(uf.Classifier(network).prepare().run(images), network(images), atol=1e-5)


def test_an_in_place_activation_that_others_rely_on_stays(images: Tensor) -> None:
    class Relies(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.convolution = nn.Conv2d(3, 8, 3, padding=1)
            self.act = nn.ReLU(inplace=True)
            self.head = nn.Linear(8, 4)

        def forward(self, images: Tensor) -> Tensor:
            features = self.convolution(images)
            self.act(features)  # the result is dropped: what follows uses the changed input
            return self.head(features.mean((2, 3)))

    network = Relies().eval()
    assert torch.allclose(uf.Classifier(network).prepare().run(images), network(images), atol=1e-5)


@pytest.mark.parametrize("interpreter", ["cam", "grad"])
def test_a_network_may_normalise_its_input_in_place(images: Tensor, interpreter: str) -> None:
    """Regression: without mean and std, it was called random, or one that takes single images alone."""

    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.features, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 4)

        def forward(self, images: Tensor) -> Tensor:
            images.sub_(0.5).div_(0.25)
            return self.head(self.features(images).relu().mean((2, 3)))

    network, before = InPlace(), images.clone()
    classifier, expected = uf.Classifier(network), network(images.clone())
    assert torch.allclose(classifier.logits(images), expected, atol=1e-6)
    preset = uf.attacks.preset("adv2", steps=(1, 2), eps=8 / 255)
    found = preset(uf.System(classifier, interpreter), images, expected.argmax(1))
    assert torch.equal(images, before)
    assert 0 < float((found.adversarial - images).abs().max()) <= 8 / 255 + 1e-6


def test_a_compiled_network_is_unwrapped_with_a_warning(tiny: nn.Module, images: Tensor) -> None:
    with pytest.warns(UnderfireWarning, match="compiled"):
        classifier = uf.Classifier(torch.compile(tiny))
    assert classifier.module is tiny
    assert torch.equal(classifier.logits(images), uf.Classifier(tiny).logits(images))


def test_a_part_that_is_compiled_is_unwrapped_in_the_copy(tiny: nn.Module) -> None:
    tiny.second = torch.compile(tiny.second, backend="eager")
    prepared = None
    try:
        prepared = uf.Classifier(tiny).prepare()
    except ClassifierError:  # pragma: no cover
        pytest.fail("the copy must not depend on compiled code")
    except Exception:
        pytest.skip("torch.compile cannot run on this machine")
    assert not any(hasattr(part, "_orig_mod") for part in prepared.modules())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean": (0.5,) * 3}, "mean and std come together"),
        ({"mean": (0.5,), "std": (0.5,)}, "expected 3, one per channel"),
        ({"mean": (0.5,) * 3, "std": (0.5, 0.0, 0.5)}, "positive"),
        ({"mean": (123.7, 116.3, 103.5), "std": (58.4, 57.1, 57.4)}, "divide both by 255"),
        ({"channels": 0}, "expected a positive whole number"),
    ],
)
def test_arguments_that_cannot_be(tiny: nn.Module, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        uf.Classifier(tiny, **arguments)


def test_what_is_not_a_module() -> None:
    with pytest.raises(ClassifierError, match=r"expected a torch\.nn\.Module"):
        uf.Classifier(tiny_network)


def test_a_scripted_module(tiny: nn.Module, images: Tensor) -> None:
    with pytest.raises(ClassifierError, match="scripted"):
        uf.Classifier(torch.jit.trace(tiny, images))


def test_an_unknown_precision(classifier: uf.Classifier) -> None:
    with pytest.raises(InputError, match="expected 'float32'"):
        classifier.prepare("float16")


def test_channels_are_those_of_the_first_convolution() -> None:
    assert uf.Classifier(tiny_network(channels=1)).channels == 1
    assert uf.Classifier(tiny_network()).channels == 3
    assert uf.Classifier(nn.Flatten()).channels == 3


def test_it_is_known_by_what_its_normalisation_says_not_by_how_it_is_written() -> None:
    written = [(0, 1), (0.0, 1.0), (np.float32(0), np.float64(1)), (torch.tensor(0.0), torch.tensor(1))]
    found = {uf.Classifier(tiny_network(), mean=(low,) * 3, std=(high,) * 3).sha256() for low, high in written}
    assert len(found) == 1
    other = uf.Classifier(tiny_network(), mean=(0.1,) * 3, std=(1,) * 3)
    assert other.sha256() not in found
    json.dumps(uf.Classifier(tiny_network(), mean=torch.zeros(3), std=torch.ones(3)).preparation())
