"""Honest maps against closed forms and captum; views against finite differences."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underfire as uf
from tests.conftest import Tiny, smooth_images, tiny_network
from underfire.errors import InputError
from underfire.interpreters import CAM, Grad, GradCAM, Interpreter, Smoothing, SmoothRectifiers, named
from underfire.interpreters.maps import log_odds, min_max


def scaled(raw: Tensor) -> Tensor:
    """Scale each image to [0, 1], one at a time."""
    return torch.stack([(one - one.min()) / max(float(one.max() - one.min()), 1e-8) for one in raw])


def test_grad_of_a_linear_classifier_is_known() -> None:
    """z = W x: d(log odds)/dx = W_c - the mean of W_k, k != c, weighted with a softmax."""
    torch.manual_seed(0)
    linear = nn.Linear(3 * 4 * 4, 3)
    network = nn.Sequential(nn.Flatten(), linear)
    images, classes = torch.rand(5, 3, 4, 4), torch.tensor([0, 1, 2, 0, 1])
    maps = Grad(pool=2).maps(uf.Classifier(network), images, classes)
    logits = network(images).detach()
    expected = []
    for row, c in enumerate(classes.tolist()):
        others = [k for k in range(3) if k != c]
        share = logits[row, others].softmax(0)
        gradient = linear.weight[c] - sum(share[i] * linear.weight[k] for i, k in enumerate(others))
        strength = gradient.detach().view(3, 4, 4).abs().max(0).values
        expected.append(strength.view(2, 2, 2, 2).mean((1, 3)))
    assert torch.allclose(maps, scaled(torch.stack(expected)), atol=1e-6)


def test_grad_is_the_map_of_the_cross_entropy(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    x = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(classifier(x), labels, reduction="sum"), x)
    expected = scaled(gradient.abs().amax(1))
    assert torch.allclose(Grad().maps(classifier, images, labels), expected, atol=1e-4)


def test_grad_does_not_vanish_if_the_classifier_is_certain(tiny: Tiny, images: Tensor) -> None:
    """With logits 200,000 times as large, the gradient of the cross-entropy underflows to zero."""
    labels = uf.Classifier(tiny).logits(images).argmax(1)
    gentle = Grad().maps(uf.Classifier(tiny), images, labels)
    with torch.no_grad():
        tiny.head.weight.mul_(2e5)
        tiny.head.bias.mul_(2e5)
    x = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(tiny(x), labels, reduction="sum"), x)
    assert not gradient.flatten(1).any(1).all()
    certain = Grad().maps(uf.Classifier(tiny), images, labels)
    assert certain.isfinite().all()
    assert bool((certain.amax((1, 2)) == 1).all())
    assert gentle.shape == certain.shape


@pytest.mark.parametrize(("size", "side"), [(16, 16), (32, 16), (64, 32), (224, 56), (33, 17)])
def test_grad_map_sizes(size: int, side: int) -> None:
    maps = Grad().maps(uf.Classifier(tiny_network()), smooth_images(1, size), torch.zeros(1, dtype=torch.int64))
    assert maps.shape == (1, side, side)


def test_grad_cam_is_cam_before_its_relu(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    with torch.no_grad():
        recorded = classifier.record(images)
    assert recorded.weight is not None
    raw = torch.einsum("nc,nchw->nhw", recorded.weight[labels], recorded.features)
    assert torch.allclose(GradCAM().maps(classifier, images, labels), scaled(raw.clamp_min(0)), atol=1e-5)
    assert torch.allclose(CAM().maps(classifier, images, labels), scaled(raw), atol=1e-5)


def test_parity_with_captum(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    attr = pytest.importorskip("captum.attr", reason="captum is not installed")
    grad_cam = attr.LayerGradCam(classifier, classifier.module.second).attribute(images, labels)
    # captum's layer is the convolution, before the ReLU that our features have passed; pass it likewise
    saliency = attr.Saliency(lambda x: log_odds(classifier(x), labels)).attribute(images.clone())
    assert torch.allclose(Grad().maps(classifier, images, labels), scaled(saliency.amax(1)), atol=1e-4)
    named = uf.Classifier(classifier.module, mean=classifier.mean, std=classifier.std, features="second")
    ours = GradCAM().maps(named, images, labels)
    assert torch.allclose(ours, scaled(grad_cam.squeeze(1).clamp_min(0).detach()), atol=1e-4)


def read(interpreter: Interpreter, classifier: uf.Classifier, images: Tensor, classes: Tensor, graph: bool) -> Tensor:
    view, prepared = interpreter.view(), classifier.prepare("float64")
    mode = None if view.smoothing is None else SmoothRectifiers(view.smoothing)
    recorded = prepared.record(images, mode)
    return view.read(prepared, recorded, images, classes, {}, graph)[0]


@pytest.mark.parametrize("interpreter", [CAM(), GradCAM(), Grad(smoothing=Smoothing("softplus", 0.1))])
def test_views_pass_finite_differences(interpreter: Interpreter) -> None:
    """d(weighted sum of the map)/dx in float64, along random directions."""
    torch.manual_seed(1)
    classifier = uf.Classifier(tiny_network().double())
    images, classes = smooth_images(3).double(), torch.tensor([0, 2, 3])
    x = images.clone().requires_grad_()
    maps = read(interpreter, classifier, x, classes, graph=True)
    weights = torch.randn_like(maps)
    (gradient,) = torch.autograd.grad((weights * maps).sum(), x)
    for _ in range(5):
        direction = torch.randn_like(images)
        ends = [
            read(
                interpreter,
                classifier,
                (images + sign * 1e-6 * direction).requires_grad_(),
                classes,
                graph=False,
            )
            for sign in (1, -1)
        ]
        numeric = float((weights * (ends[0] - ends[1])).sum()) / 2e-6
        assert numeric == pytest.approx(float((gradient * direction).sum()), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("interpreter", [CAM(), GradCAM()])
def test_views_of_exact_interpreters_are_the_honest_maps(
    interpreter: Interpreter, classifier: uf.Classifier, images: Tensor, labels: Tensor
) -> None:
    view = read(interpreter, classifier, images.double().requires_grad_(), labels, graph=True)
    assert torch.allclose(view.float(), interpreter.maps(classifier, images, labels), atol=1e-4)


def test_the_plain_relu_has_no_second_derivative(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    """The reason for smoothing: with exact rectifiers and one logit, the map's gradient is zero."""
    x = images.clone().requires_grad_()
    prepared = classifier.prepare()
    logit = prepared.run(x).gather(1, labels.unsqueeze(1)).sum()
    (gradient,) = torch.autograd.grad(logit, x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), x, allow_unused=True)
    assert second is None or not second.any()
    maps = read(Grad(), classifier, images.double().requires_grad_(), labels, graph=True)
    assert maps.requires_grad


def test_constant_maps_are_zero() -> None:
    assert torch.equal(min_max(torch.full((2, 3, 3), 0.7)), torch.zeros(2, 3, 3))


def test_maps_do_not_depend_on_the_batch(classifier: uf.Classifier) -> None:
    images = smooth_images(19, seed=5)
    classes = torch.arange(19) % 4
    for interpreter in (CAM(), GradCAM(), Grad()):
        together = interpreter.maps(classifier, images, classes)
        for cut in (1, 7, 16):
            parts = [interpreter.maps(classifier, images[i : i + cut], classes[i : i + cut]) for i in range(0, 19, cut)]
            assert torch.equal(together, torch.cat(parts)), (interpreter.name, cut)


def test_an_unknown_interpreter() -> None:
    with pytest.raises(uf.errors.InputError, match="Did you mean 'gradcam'"):
        uf.interpreters.create("gradcan")


def test_the_published_view_differentiates_by_normalised_pixels(tiny: Tiny, images: Tensor, labels: Tensor) -> None:
    """d/d((x - mean) / std) = std * d/dx, channel by channel, before the largest is taken."""
    std = (0.5, 0.1, 0.25)
    classifier = uf.Classifier(tiny, mean=(0.5, 0.5, 0.5), std=std)
    x = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(log_odds(classifier(x), labels).sum(), x)
    for pixels, factor in (("raw", torch.ones(3)), ("normalised", torch.tensor(std))):
        interpreter = Grad(view_pixels=pixels)
        expected = scaled((gradient * factor.view(1, 3, 1, 1)).abs().amax(1))
        system = uf.System(classifier, interpreter)
        view = system.view()
        inputs = images.clone().requires_grad_()
        reading, _ = view.read(inputs, lambda logits: labels, view.begin(inputs, labels, labels), graph=False)
        honest = scaled(gradient.abs().amax(1))
        assert torch.allclose(interpreter.maps(classifier, images, labels), honest, atol=1e-4)  # never the honest map
        assert torch.allclose(interpreter.map_of(gradient * factor.view(1, 3, 1, 1)), expected, atol=1e-4)
        assert float((reading.maps["grad"] - expected).abs().mean()) < 0.05  # the view's rectifiers are smoothed
    apart = scaled((gradient * torch.tensor(std).view(1, 3, 1, 1)).abs().amax(1)) - honest
    assert float(apart.abs().mean()) > 0.05
    assert uf.interpreters.create("grad", "published") == Grad(view_pixels="normalised")
    assert uf.interpreters.create("cam", "published") == CAM()
    with pytest.raises(uf.errors.InputError, match=r"view_pixels is 'grey'; expected 'raw' or 'normalised'"):
        Grad(view_pixels="grey")


def test_names_in_results() -> None:
    """The label; if several have one label, each is called as it is written."""
    assert list(named(["CAM", "lrp"])) == ["cam", "lrp"]
    assert list(named(["lrp:z+", "cam"])) == ["lrp", "cam"]
    several = named(["lrp", "cam", "LRP:z+", "captum:Saliency", "captum:InputXGradient", Grad()])
    assert list(several) == ["lrp", "cam", "lrp:z+", "captum:Saliency", "captum:InputXGradient", "grad"]
    assert several["lrp"] != several["lrp:z+"]
    assert list(uf.System(tiny_network(), ["lrp", "lrp:z+"]).interpreters) == ["lrp", "lrp:z+"]
    with pytest.raises(InputError, match="two of one kind"):
        named([Grad(), Grad(pool=1)])
    with pytest.raises(InputError, match=r"give a list of names: \['cam', 'grad'\]"):
        uf.System(tiny_network(), "cam,grad")
    for twice in (["lrp", "LRP"], ["lrp:z+", "lrp:z+"]):
        with pytest.raises(InputError, match=f"holds '{re.escape(twice[0])}' twice"):
            named(twice)


@pytest.mark.parametrize("name", ["cam", "grad", "gradcam", "lrp"])
def test_maps_of_wrong_arguments_are_refused(classifier: uf.Classifier, name: str) -> None:
    interpreter, images = uf.interpreters.create(name), smooth_images(4)
    classes = torch.tensor([0, 1, 2, 3])
    wrong: list[tuple[Any, object, str]] = [
        (images * 255, classes, "divide them by 255"),
        (images.permute(0, 2, 3, 1), classes, "images has shape"),
        (images, classes.float(), "classes has dtype torch.float32"),
        (images, classes[:2], "classes has shape"),
        (images, [0, 1, "cat", 3], "classes is"),
        (images, classes + 74, "classes go up to 77; the classifier has classes 0..3"),
        (images, classes - 1, "classes holds -1"),
    ]
    for given, explained, message in wrong:
        with pytest.raises(InputError, match=re.escape(message)):
            interpreter.maps(classifier, given, explained)
    with pytest.raises(InputError, match="expected a Classifier, such as Classifier"):
        interpreter.maps(classifier.module, images, classes)
    levels = (images * 255).round().byte()
    expected = interpreter.maps(classifier, levels / 255, classes)
    assert torch.equal(interpreter.maps(classifier, levels, [0, 1, 2, 3]), expected)
