"""Every way of asking for nonsense gets its own message, and costs nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.attacks.running import Wrapped
from tests.conftest import smooth_images, tiny_network
from underfire import attacks
from underfire.errors import ClassifierError, InputError, UnderfireWarning
from underfire.randomness import identities


def run(images: Tensor, labels: Tensor, network: nn.Module | None = None, **options: object) -> attacks.AttackResult:
    system = uf.System(network or tiny_network(), uf.interpreters.CAM())
    return attacks.preset("adv2", eps=8 / 255, steps=(1, 2))(system, images, labels, **options)


ZEROS = torch.zeros(4, dtype=torch.int64)

BAD: dict[str, tuple[Callable[[], tuple[Tensor, Tensor]], str]] = {
    "normalised": (lambda: (smooth_images(4) * 4 - 2, ZEROS), r"range over \[-2.*already normalised"),
    "255": (lambda: (smooth_images(4) * 255, ZEROS), "divide them by 255"),
    "nan": (lambda: (smooth_images(4) * torch.nan, ZEROS), "NaN or infinite"),
    "no batch": (lambda: (smooth_images(4)[0], ZEROS), r"shape \(3, 16, 16\); expected N x 3"),
    "channels": (lambda: (smooth_images(4)[:, :1], ZEROS), "expected N x 3"),
    "empty": (lambda: (smooth_images(4)[:0], ZEROS[:0]), "N >= 1"),
    "integers": (lambda: (smooth_images(4).long(), ZEROS), r"dtype torch\.int64"),
    "label too high": (lambda: (smooth_images(4), ZEROS + 4), r"4\.\.4; the classifier has classes 0\.\.3"),
    "label negative": (lambda: (smooth_images(4), ZEROS - 1), r"-1\.\.-1"),
    "labels from 1": (lambda: (smooth_images(4), torch.tensor([1, 2, 3, 4])), "count from 1"),
    "labels floating": (lambda: (smooth_images(4), ZEROS.float()), "integer class indices"),
    "labels too few": (lambda: (smooth_images(4), ZEROS[:3]), "expected 4 values"),
}


@pytest.mark.parametrize("name", BAD)
def test_images_and_labels(name: str) -> None:
    make, message = BAD[name]
    with pytest.raises(InputError, match=message):
        run(*make())


def test_eight_bit_images_are_taken_as_they_are() -> None:
    levels = smooth_images(4).mul(255).round().to(torch.uint8)
    assert torch.equal(run(levels, ZEROS).images, levels.float() / 255)


def test_a_hair_out_of_range_is_rounding() -> None:
    images = smooth_images(4).clamp(0, 1)
    images[0, 0, 0, 0], images[1, 0, 0, 0] = -5e-7, 1 + 5e-7
    assert float(run(images, ZEROS).images.min()) >= 0


CLASSIFIERS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "probabilities": (lambda z: z.softmax(1), "returns probabilities"),
    "nan": (lambda z: z * torch.nan, "NaN or infinite logits"),
    "random": (lambda z: z + torch.randn_like(z), "other logits for the same images"),
    "maps instead of logits": (lambda z: z.view(-1, 2, 2), "expected logits N x K"),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_that_cannot_carry_a_verdict(name: str) -> None:
    change, message = CLASSIFIERS[name]
    with pytest.raises(ClassifierError, match=message):
        run(smooth_images(4), ZEROS, Wrapped(change))


def test_log_probabilities_and_normalised_logits_are_fine() -> None:
    """log_softmax only shifts each row: the same verdicts, and the same Grad maps."""
    plain, logged = (
        attacks.preset("adv2", eps=8 / 255, steps=(1, 2))(
            uf.System(Wrapped(change), uf.interpreters.Grad()), smooth_images(4), ZEROS
        )
        for change in (lambda z: z, lambda z: z.log_softmax(1))
    )
    assert torch.equal(plain.success, logged.success)
    assert torch.allclose(plain.benign_maps["grad"], logged.benign_maps["grad"], atol=1e-4)


def test_a_target_that_is_the_label() -> None:
    system, images = uf.System(tiny_network(), uf.interpreters.CAM()), smooth_images(3)
    own = system.classifier.logits(images).argmax(1)
    wanted = int(own[1])
    attack = attacks.preset("adv2", steps=(1, 1), target_class=wanted)
    labels = torch.where(torch.arange(3) == 1, own, (wanted + 1) % 4)
    with pytest.raises(InputError, match=rf"image's own class for image 1 \(class {wanted}\)"):
        attack(system, images, labels)


def test_targets_that_do_not_fit() -> None:
    system = uf.System(tiny_network(), uf.interpreters.CAM())
    with pytest.raises(InputError, match=r"classes 0\.\.3"):
        attacks.preset("adv2", steps=(1, 1), target_class=4)(system, smooth_images(3), ZEROS[:3])
    rule = attacks.GivenClass((1, 2))
    with pytest.raises(InputError, match="2 classes for 3 images"):
        attacks.preset("adv2", steps=(1, 1), target_class=rule)(system, smooth_images(3), ZEROS[:3])


@pytest.mark.parametrize("interpreter", ["gradcam", "lrp:z+"])
def test_an_empty_map_of_the_target_does_not_refuse_an_image(interpreter: str) -> None:
    """Nothing speaks for class 3 before the warm-up: its map is empty, alone or among others."""
    network = tiny_network()
    with torch.no_grad():
        network.head.weight[3] = -network.head.weight[3].abs() - 1
        network.head.bias[3] = -1
    system = uf.System(uf.Classifier(network, image_size=16), interpreter)
    images = smooth_images(4)
    labels = system.classifier.logits(images).argmax(1)
    images, labels = images[labels != 3], labels[labels != 3]
    before = system.maps(images, torch.full_like(labels, 3))
    assert not any(bool(maps.any()) for maps in before.values())
    attack = attacks.preset("adv2", steps=(2, 3), target_class=3)
    together = attack(system, images, labels)
    alone = attack(system, images[:1], labels[:1], batch_size=1)
    assert torch.equal(together.adversarial[:1], alone.adversarial)


@pytest.mark.parametrize("seed", [1.5, "one", None])
def test_seeds_that_are_none(seed: object) -> None:
    with pytest.raises(InputError, match=r"seed is .*; expected a whole number"):
        run(smooth_images(4), ZEROS, seed=seed)


def test_two_interpreters_of_one_kind_need_names() -> None:
    pair = [uf.interpreters.Grad(pool=1), uf.interpreters.Grad(pool=4)]
    with pytest.raises(InputError, match="give them names"):
        uf.System(tiny_network(), pair)
    named = uf.System(tiny_network(), {"fine": pair[0], "coarse": pair[1]})
    result = attacks.preset("adv2", steps=(1, 1))(named, smooth_images(2), ZEROS[:2])
    assert result.maps["fine"].shape == (2, 16, 16)
    assert result.maps["coarse"].shape == (2, 4, 4)


def test_no_interpreter() -> None:
    with pytest.raises(InputError, match="at least one"):
        uf.System(tiny_network(), [])


def test_near_chance_is_said() -> None:
    from underfire.attacks.benign import warn_near_chance

    with pytest.warns(UnderfireWarning, match="near chance"):
        warn_near_chance(12, 100, 10)
    with pytest.warns(UnderfireWarning, match="near chance"):
        warn_near_chance(0, 10, 2)
    warn_near_chance(40, 100, 10)
    warn_near_chance(1, 5, 10)


@pytest.mark.parametrize("steps", [40, (40,), "40,160", (4.5, 1), (0, 0), (-1, 3)])
def test_steps_that_are_no_pair(steps: object) -> None:
    with pytest.raises(InputError, match="expected the numbers of warm-up and joint steps"):
        attacks.preset("adv2", steps=steps)


def test_interpreters_that_are_none() -> None:
    CAM = uf.interpreters.CAM
    for given in (CAM, [CAM], {"cam": CAM}):
        with pytest.raises(InputError, match=r"holds the class CAM; .* by calling it: CAM\(\)"):
            uf.System(tiny_network(), given)
    with pytest.raises(InputError, match="an object of type int; expected an interpreter, such as"):
        uf.System(tiny_network(), 3)


def test_images_of_another_size_than_the_classifiers() -> None:
    classifier = uf.Classifier(tiny_network(), image_size=(16, 24), name="tiny")
    labels = classifier.logits(smooth_images(4)).argmax(1)
    with pytest.warns(UnderfireWarning, match="images are 16 x 16 .* tiny is for images of 16 x 24"):
        attacks.preset("adv2", steps=(1, 1))(uf.System(classifier, "cam"), smooth_images(4), labels)


RUNNING: dict[str, tuple[object, str]] = {
    "batch_size": (4.5, "expected a whole number, at least 1, or None for what suits the device"),
    "noise_draws": ("3", "expected a whole number, at least 1"),
    "memory": (0, "expected at least 1 byte, or a text with a unit, such as 8GB"),
    "progress": (True, "expected None, or a function that is called with the steps done and their number"),
    "measures": (3, "an object of type int; expected a Measure"),
}


@pytest.mark.parametrize("name", RUNNING)
def test_options_of_a_call_with_values_that_are_none(name: str) -> None:
    value, message = RUNNING[name]
    with pytest.raises(InputError, match=message):
        run(smooth_images(4), ZEROS, **{name: value})


def test_one_measure_needs_no_list() -> None:
    with pytest.raises(InputError, match="unknown measure 'sharpness'"):
        run(smooth_images(4), ZEROS, measures="sharpness")


@pytest.mark.parametrize("attack", [None, 3, attacks.Preset])
def test_attacks_that_are_none(attack: object) -> None:
    for settings in ({}, {"eps": 8 / 255}):
        with pytest.raises(InputError, match=r"attack is .*; expected the name of an attack, such as 'adv2', or an"):
            uf.attack(tiny_network(), smooth_images(4), ZEROS, attack=attack, **settings)


def test_readers_that_are_none() -> None:
    with pytest.raises(InputError, match=r"readers is a mapping \(grad\); expected a list of interpreters"):
        uf.System(tiny_network(), "cam", readers={"grad": uf.interpreters.Grad(pool=8)})
    with pytest.raises(InputError, match="an object of type NoneType; expected an interpreter, such as"):
        uf.System(tiny_network(), "cam", readers=None)


def test_ids_of_maps_are_those_of_an_attack() -> None:
    system, images = uf.System(tiny_network(), "smoothgrad"), smooth_images(4)
    named = system.maps(images, ZEROS, ids=["a", "b", "c", "d"])["smoothgrad"]
    numbered = system.maps(images, ZEROS, ids=identities(images, ["a", "b", "c", "d"]))["smoothgrad"]
    assert torch.equal(named, numbered)
    with pytest.raises(InputError, match="ids has 2 names for 4 images"):
        system.maps(images, ZEROS, ids=torch.arange(2))


def test_class_names_that_are_too_few() -> None:
    classifier = uf.Classifier(tiny_network(), class_names=["cat", "dog"], name="tiny")
    labels = classifier.logits(smooth_images(4)).argmax(1)
    with pytest.warns(UnderfireWarning, match="class_names holds 2 names, and tiny has 4 classes: names in the"):
        attacks.preset("adv2", steps=(1, 1))(uf.System(classifier, "cam"), smooth_images(4), labels)
