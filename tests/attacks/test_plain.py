"""The attack in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.conftest import Tiny
from underfire import attacks
from underfire.errors import InputError

MEAN, STD = (0.5, 0.4, 0.6), (0.2, 0.3, 0.25)


def test_one_call_is_system_and_preset(tiny: Tiny, classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    system = uf.System(classifier, "grad")
    expected = attacks.preset("advedge", eps=0.1, steps=(3, 5))(system, images, labels, seed=4)
    settings = {"eps": 0.1, "steps": (3, 5), "seed": 4}
    for model in (system, classifier, tiny):
        given = {"mean": MEAN, "std": STD} if model is tiny else {}
        found = uf.attack(model, images, labels, "advedge", None if model is system else "grad", **given, **settings)
        assert torch.equal(found.adversarial, expected.adversarial)
        assert torch.equal(found.maps["grad"], expected.maps["grad"])
    made = attacks.preset("advedge", eps=0.1, steps=(3, 5))
    assert torch.equal(uf.attack(system, images, labels.tolist(), made, seed=4).adversarial, expected.adversarial)


def test_defaults_and_running_options(tiny: Tiny, images: Tensor, labels: Tensor) -> None:
    seen: list[int] = []
    found = uf.attack(
        tiny, images, labels, steps=(1, 2), mean=MEAN, std=STD, batch_size=8, progress=lambda done, _: seen.append(done)
    )
    assert seen == [1, 2, 3, 4, 5, 6], "the control's steps, and the attack's"
    assert set(found.maps) == {"cam"}
    by_name = uf.attack(tiny, images, labels, steps=(1, 2), mean=MEAN, std=STD, ids=[f"{i}.png" for i in range(6)])
    by_number = uf.attack(tiny, images, labels, steps=(1, 2), mean=MEAN, std=STD, ids=[5, 6, 7, 8, 9, 10])
    assert not torch.equal(by_name.target, by_number.target)


def test_published_is_the_interpreters_too(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    settings = {"eps": 0.1, "steps": (3, 5)}
    found = uf.attack(classifier, images, labels, "adv2", "grad", variant="published", **settings)
    system = uf.System(classifier, uf.interpreters.create("grad", "published"))
    expected = attacks.preset("adv2", variant="published", **settings)(system, images, labels)
    assert torch.equal(found.adversarial, expected.adversarial)
    other = attacks.preset("adv2", variant="published", **settings)(uf.System(classifier, "grad"), images, labels)
    assert not torch.equal(found.adversarial, other.adversarial)


def test_readers_are_measured_alone(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    found = uf.attack(classifier, images, labels, steps=(2, 3), eps=0.1, readers=["grad", "gradcam"])
    assert list(found.maps) == ["cam", "grad", "gradcam"]
    alone = uf.attack(classifier, images, labels, steps=(2, 3), eps=0.1)
    assert torch.equal(found.adversarial, alone.adversarial)
    both = uf.attack(classifier, images, labels, interpreters=["cam", "grad"], steps=(2, 3), eps=0.1)
    assert not torch.equal(found.adversarial, both.adversarial)


@pytest.mark.parametrize("kind", [list, tuple, torch.tensor, np.array])
def test_a_target_class_for_each_image(
    classifier: uf.Classifier, images: Tensor, labels: Tensor, kind: Callable[[list[int]], Any]
) -> None:
    wanted = ((labels + 1) % 4).tolist()
    found = uf.attack(classifier, images, labels, "pgd", target_class=kind(wanted), steps=(1, 1))
    assert found.target.tolist() == wanted
    others = labels != 2
    found = uf.attack(classifier, images[others], labels[others], "pgd", target_class=np.int64(2), steps=(1, 1))
    assert set(found.target.tolist()) == {2}


def test_errors(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    system = uf.System(classifier, "cam")
    with pytest.raises(InputError, match="has its own"):
        uf.attack(system, images, labels, mean=MEAN)
    with pytest.raises(InputError, match="this System has its own"):
        uf.attack(system, images, labels, interpreters="grad")
    with pytest.raises(InputError, match="this System has its own"):
        uf.attack(system, images, labels, readers="grad")
    with pytest.raises(InputError, match="made already"):
        uf.attack(system, images, labels, attacks.preset("pgd"), eps=0.1)
    words = {"targets": "target_class", "epsilon": "eps", "preset": "variant", "step": "steps"}
    words |= {"interpreter": "interpreters", "iterations": "steps", "label": "labels"}
    for wrong, meant in words.items():
        with pytest.raises(InputError, match=f"unknown setting '{wrong}'. Did you mean '{meant}'"):
            uf.attack(system, images, labels, **{wrong: labels})
    with pytest.raises(InputError, match="unknown setting 'name'"):
        uf.attack(system, images, labels, name="adv2")
    with pytest.raises(InputError, match=r"class_names is the classifier's.*Classifier\(network, class_names="):
        uf.attack(system, images, labels, class_names=["a"])
    with pytest.raises(InputError, match=r"ids is a tensor of torch\.float32"):
        uf.attack(system, images, labels, ids=torch.rand(6))
    with pytest.raises(InputError, match="ids holds"):
        uf.attack(system, images, labels, ids=[None] * 6)
    with pytest.raises(InputError, match="labels is"):
        uf.attack(system, images, ["cat"] * 6)
