"""Attacks on what is being trained: a network against ADV2 on its own CAM, and a masker against ADV2 on RTS.

Nothing here is known to the package: attacks run on a ``SystemView`` over the live network, on a prepared copy that is
refreshed from it, or on ``RTS`` with a live masker.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

import underfire as uf
from tests.attacks.running import run_alone
from tests.conftest import Tiny, smooth_images, tiny_network
from tests.interpreters.rts.makers import pyramid, shape_of
from underfire import attacks
from underfire.attacks.arms import Asked
from underfire.attacks.benign import read_benign
from underfire.interpreters import CAM, RTS
from underfire.interpreters.rts.losses import MaskLoss
from underfire.interpreters.rts.network import Masker
from underfire.system import Reading, SystemView

EPS = 0.1


def classifier_of(network: Tiny) -> uf.Classifier:
    return uf.Classifier(network, mean=(0.3,), std=(0.35,), image_size=16)


def digits(count: int) -> tuple[Tensor, Tensor]:
    """Images of the digits 0 to 3."""
    batch = uf.data.open_data("digits:train").load((16, 16), 1, range(3 * count))
    rows = (batch.labels < 4).nonzero().flatten()[:count]
    assert len(rows) == count
    return batch.images[rows], batch.labels[rows]


def attack_on(system: uf.System, steps: tuple[int, int] = (1, 3)) -> attacks.Attack:
    return attacks.preset("adv2", eps=EPS, steps=steps, early_stop=False).build(system)


def train_network(network: Tiny, images: Tensor, labels: Tensor, gamma: float, steps: int = 80) -> None:
    """Interpretation-robust training: cross-entropy + gamma * |CAM(x') - CAM(x)|_1, with x' from ADV2 on the live
    network."""
    classifier = classifier_of(network)
    system = uf.System(classifier, "cam")
    view = SystemView(classifier.live(), {"cam": CAM().view()})
    attack = attack_on(system)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        rows = torch.randperm(len(images), generator=generator)[:32]
        clean, own = images[rows], labels[rows]
        benign = read_benign(system, clean, own)
        aim = attack.aim(view, benign, step)
        found = attack.run(view, benign, aim, seed=step, batch_size=len(clean))

        def read(pixels: Tensor, classes: Tensor = own, ids: Tensor = benign.ids) -> Reading:
            states = view.begin(pixels, classes, ids)
            return view.read(pixels.clone().requires_grad_(), lambda _: classes, states, graph=True)[0]

        before, after = read(clean), read(found.images)
        loss = F.cross_entropy(before.logits, own) + F.cross_entropy(after.logits, own)
        loss = loss + gamma * (after.maps["cam"] - before.maps["cam"]).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def test_a_network_against_its_own_cam() -> None:
    images, labels = digits(288)
    moved = {}
    for gamma in (0.0, 20.0):
        network = tiny_network(channels=1).train()
        train_network(network, images[:256], labels[:256], gamma)
        assert all(part.training for part in network.modules()), "its mode stays its own"
        classifier = classifier_of(network)
        assert float((classifier.logits(images).argmax(1) == labels).float().mean()) > 0.4
        result = attack_on(uf.System(classifier, "cam"), (4, 16))(
            uf.System(classifier, "cam"), images[256:], labels[256:], seed=1
        )
        own = CAM().maps(classifier, result.adversarial, labels[256:])
        moved[gamma] = float((own - result.benign_maps["cam"]).abs().mean())
    assert moved[20.0] < 0.8 * moved[0.0], moved


def test_an_attack_on_the_live_network_is_one_on_its_weights() -> None:
    """On the present weights, as on a copy that was made just now, and without a trace in the network."""
    images, labels = digits(24)
    network = tiny_network(channels=1).train()
    classifier = classifier_of(network)
    system = uf.System(classifier, "cam")
    view = SystemView(classifier.live(), {"cam": CAM().view()})
    attack = attack_on(system, (3, 8))
    copies = []
    for step in range(3):
        _, live = run_alone(attack, view, read_benign(system, images, labels), 24)
        _, copied = run_alone(attack, system.view(), read_benign(system, images, labels), 24)
        assert float((live.last - copied.last).abs().gt(1e-6).float().mean()) < 0.01
        assert torch.equal(live.forwards, copied.forwards)
        assert torch.equal(live.backwards, copied.backwards)
        assert all(weight.grad is None and weight.requires_grad for weight in network.parameters())
        assert all(part.training for part in network.modules())
        assert not any(part._forward_hooks for part in network.modules())
        copies.append(copied.last)
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(step)))
    assert not torch.equal(copies[0], copies[1])


def test_an_experiment_follows_the_network_by_refreshing() -> None:
    """One ``Experiment`` for a whole training, with its controls: the same as a new one for the present weights."""
    images, labels = digits(16)
    network = tiny_network(channels=1).train()
    system = uf.System(classifier_of(network), "cam")
    preset = attacks.preset("adv2", eps=EPS, steps=(2, 5))
    attack, control = preset.build(system), preset.control().build(system)

    def experiment() -> attacks.Experiment:
        arms = attacks.arms_of(system, [Asked(attack, ("cam",), control)])
        return attacks.Experiment(system, arms, seed=3, batch_size=16, size=(16, 16))

    kept = experiment()
    stale = kept(read_benign(system, images, labels))["adv2"].judgement.images
    train_network(network, images, labels, gamma=1.0, steps=5)
    benign = read_benign(system, images, labels)
    kept.view.prepared.refresh_from(network)
    found, fresh = kept(benign), experiment()(benign)
    assert set(found) == {"clean", "bim", "adv2", "noise"}
    for label, finding in found.items():
        assert torch.equal(finding.judgement.images, fresh[label].judgement.images), label
        assert torch.equal(finding.judgement.map_l1["cam"], fresh[label].judgement.map_l1["cam"]), label
    assert not torch.equal(found["adv2"].judgement.images, stale)


# A masker against ADV2 ([ADV2] section 6.2)


def map_loss(classifier: uf.Classifier, maps: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    """A masker's training loss: the marked part of the image keeps its class, and the rest of it does not."""
    mask = F.interpolate(maps.unsqueeze(1), images.shape[2:], mode="bilinear", align_corners=False)
    blurred = F.avg_pool2d(images, 9, 1, 4)
    kept, rest = (classifier.run(m * images + (1 - m) * blurred) for m in (mask, 1 - mask))
    loss = MaskLoss(area=0.3)  # the published 8 leaves nothing of a map that has been trained for so few steps
    return loss.total(loss.parts(mask.squeeze(1), kept, rest, labels, torch.ones_like(labels, dtype=torch.bool)))


def train_masker(
    classifier: uf.Classifier, masker: Masker, images: Tensor, labels: Tensor, weight: float, steps: int = 20
) -> None:
    """AID: l_map - weight * |g(x) - g(x')|_1, with x' from ADV2 on the masker as it is now."""
    system = uf.System(classifier, RTS(masker=masker, confidence=0.0))
    attack, prepared = attack_on(system, (2, 4)), classifier.prepare()
    optimiser = torch.optim.Adam(masker.parameters(), 3e-3)
    for step in range(steps):
        view = SystemView(prepared, {name: part.view() for name, part in system.attacked.items()})
        benign = read_benign(system, images, labels)
        aim = attack.aim(view, benign, step)
        adversarial = attack.run(view, benign, aim, seed=step, batch_size=len(images)).images

        def maps_of(pixels: Tensor) -> Tensor:
            recorded = prepared.record(pixels, scales=True)
            return masker(masker.scales_of(recorded, (32, 32)), labels, 0.0)[0]

        before, after = maps_of(images), maps_of(adversarial)
        loss = map_loss(classifier, before, images, labels) - weight * (before - after).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def test_a_masker_against_adv2() -> None:
    """Maps of what ADV2 changed lie farther from the benign ones, and those explain the image as well as before."""
    classifier = pyramid()
    classifier.module.requires_grad_(False)
    images = smooth_images(16, 32, seed=5)
    labels = classifier.logits(images).argmax(1)
    gaps, losses = {}, {}
    for weight in (0.0, 10.0):
        torch.manual_seed(1)
        masker = Masker(shape_of(classifier)).eval()
        before = [value.clone() for value in masker.parameters()]
        train_masker(classifier, masker, images, labels, weight)
        assert not any(torch.equal(old, new) for old, new in zip(before, masker.parameters(), strict=True))
        assert all(value.requires_grad for value in masker.parameters()), "nobody froze what is being trained"
        interpreter = RTS(masker=masker, confidence=0.0)
        system = uf.System(classifier, interpreter)
        found = attack_on(system, (4, 12))(system, images, labels, seed=2)
        own = interpreter.maps(classifier, found.adversarial, labels)
        gaps[weight] = float((own - found.benign_maps["rts"]).abs().mean())
        losses[weight] = float(map_loss(classifier, found.benign_maps["rts"], images, labels))
    assert gaps[10.0] > 2 * gaps[0.0], gaps
    assert losses[10.0] < 1.1 * losses[0.0], losses


def test_an_attack_sees_the_masker_as_it_is_now() -> None:
    classifier = pyramid()
    images = smooth_images(8, 32, seed=5)
    labels = classifier.logits(images).argmax(1)
    torch.manual_seed(1)
    masker = Masker(shape_of(classifier)).eval()
    interpreter = RTS(masker=masker, confidence=0.0)
    system = uf.System(classifier, interpreter)
    first = attack_on(system)(system, images, labels)
    again = attack_on(system)(system, images, labels)
    assert torch.equal(first.adversarial, again.adversarial)
    with torch.no_grad():
        for value in masker.parameters():
            value.mul_(-0.7)
    changed = attack_on(system)(system, images, labels)
    assert not torch.equal(first.maps["rts"], changed.maps["rts"])
    assert not torch.equal(first.benign_maps["rts"], changed.benign_maps["rts"])
    assert all(value.grad is None for value in masker.parameters())
