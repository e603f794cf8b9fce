"""Networks and maskers that are being trained: gradients flow through the views into their parameters."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

import underfire as uf
from tests.conftest import smooth_images, tiny_network
from tests.interpreters.rts.makers import pyramid, random_masker, shape_of, write_masker
from underfire.interpreters import CAM, RTS
from underfire.interpreters.rts.network import Masker
from underfire.system import SystemView


def map_loss(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> Tensor:
    """Compute the distance of the network's own CAM from a ramp, through the view of the live network."""
    view = SystemView(classifier.live(), {"cam": CAM().view()})
    variable = images.clone().requires_grad_()
    states = view.begin(variable.detach(), labels, torch.arange(len(images)))
    reading, _ = view.read(variable, lambda _: labels, states, graph=True)
    maps = reading.maps["cam"]
    ramp = torch.linspace(0, 1, maps[0].numel(), dtype=maps.dtype).view_as(maps[0])
    return (maps - ramp).square().mean()


def test_the_gradient_of_a_networks_own_map_reaches_its_parameters() -> None:
    """Against finite differences in float64, for the head and for the first convolution."""
    network = tiny_network().double()
    classifier = uf.Classifier(network, image_size=16)
    images, labels = smooth_images(3).double(), torch.tensor([0, 1, 2])
    for parameter in (network.head.weight, network.first.weight):
        parameter.requires_grad_(True)
        (gradient,) = torch.autograd.grad(map_loss(classifier, images, labels), parameter)
        place, step = gradient.abs().flatten().argmax(), 1e-6
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.view(-1)[place] += sign * step
            values.append(float(map_loss(classifier, images, labels).detach()))
            with torch.no_grad():
                parameter.view(-1)[place] -= sign * step
        slope = (values[0] - values[1]) / (2 * step)
        assert abs(slope - float(gradient.flatten()[place])) < 1e-5 * max(1.0, abs(slope))


def test_training_against_its_own_map_moves_the_map() -> None:
    network = tiny_network().train()
    classifier = uf.Classifier(network, image_size=16)
    images, labels = smooth_images(4), torch.tensor([0, 1, 2, 3])
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05)
    losses = []
    for _ in range(10):
        loss = map_loss(classifier, images, labels)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    assert network.training, "the mode is the user's"


def live_setting() -> tuple[uf.Classifier, Masker, Tensor, Tensor]:
    classifier = pyramid()
    return classifier, random_masker(shape_of(classifier)), smooth_images(2, 32), torch.tensor([1, 2])


def test_the_gradient_of_a_map_reaches_the_masker() -> None:
    """Against the chain rule, written out for the last layer m = |a| / (|a| + |b| + 1e-8); autograd for all layers."""
    classifier, masker, images, classes = live_setting()
    masker.requires_grad_(True)
    view = uf.System(classifier, RTS(masker)).view()
    variable = images.clone().requires_grad_()
    states = view.begin(images, classes, torch.arange(2))
    reading, _ = view.read(variable, lambda _: classes, states, graph=True)
    found = torch.autograd.grad(reading.maps["rts"].square().sum(), list(masker.parameters()))

    last: list[Tensor] = []
    handle = masker.blocks[-1].register_forward_hook(lambda _part, _given, output: last.append(output.detach()))
    recorded = view.prepared.record(images, scales=True)
    maps, _ = masker(masker.scales_of(recorded, (32, 32)), classes, 0.0)
    handle.remove()
    for ours, expected in zip(found, torch.autograd.grad(maps.square().sum(), list(masker.parameters())), strict=True):
        assert torch.allclose(ours, expected, rtol=1e-4, atol=1e-5)
        assert float(expected.abs().max()) > 0
    weight, bias = masker.to_map.weight.detach()[:, :, 0, 0], masker.to_map.bias.detach()
    a, b = (torch.einsum("kc,nchw->nkhw", weight, last[0]) + bias.view(1, 2, 1, 1)).unbind(1)
    total = a.abs() + b.abs() + 1e-8
    by_a = 2 * maps.detach() * a.sign() * (total - a.abs()) / total.square()
    by_b = -2 * maps.detach() * b.sign() * a.abs() / total.square()
    by_hand = torch.einsum("nkhw,nchw->kc", torch.stack([by_a, by_b], 1), last[0])
    place = [name for name, _ in masker.named_parameters()].index("to_map.weight")
    assert torch.allclose(found[place][:, :, 0, 0], by_hand, rtol=1e-4, atol=1e-5)


def test_a_live_masker_is_not_copied_and_keeps_its_mode() -> None:
    classifier, masker, images, classes = live_setting()
    masker.train()
    interpreter = RTS(masker)
    before = interpreter.maps(classifier, images, classes)
    assert masker.training
    assert all(part.training for part in masker.modules() if isinstance(part, nn.BatchNorm2d))
    view = interpreter.view()
    view.begin(classifier.prepare(), images, classes, torch.arange(2))
    assert interpreter.identity(classifier) == RTS(masker).identity(classifier)
    first = interpreter.identity(classifier)
    with torch.no_grad():
        masker.to_map.weight.add_(torch.linspace(-1, 1, masker.to_map.weight.numel()).view_as(masker.to_map.weight))
    assert interpreter.identity(classifier) != first, "the record knows its present weights"
    assert not torch.equal(interpreter.maps(classifier, images, classes), before)
    assert RTS(masker) == RTS(masker)
    assert hash(RTS(masker)) == hash(RTS(masker))
    assert RTS(masker) != RTS(random_masker(masker.shape, seed=2))


def test_a_live_masker_reads_what_its_file_reads(tmp_path: Path) -> None:
    classifier = pyramid()
    folder = write_masker(tmp_path, classifier)
    saved = RTS(str(folder)).open(classifier.sha256()).masker
    images, classes = smooth_images(3, 32), torch.tensor([0, 1, 2])
    assert torch.equal(RTS(saved).maps(classifier, images, classes), RTS(str(folder)).maps(classifier, images, classes))
