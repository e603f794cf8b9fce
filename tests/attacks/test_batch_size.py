"""The batch size of an attack: what fits into memory, and what happens if it does not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.conftest import smooth_images
from underfire.attacks import attack as module
from underfire.attacks import batch_size
from underfire.attacks.batch_size import COPIES, SHARE, fitting_batch_size, step_bytes
from underfire.errors import InputError, UnderfireWarning

CPU = torch.device("cpu")
SHAPE = (3, 16, 16)


class Deep(torch.nn.Module):
    """Square layers, so that the memory of a step can be told: each keeps its input."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = layers
        self.head = torch.nn.Linear(3, 4)

    def forward(self, images: Tensor) -> Tensor:
        for _ in range(self.layers):
            images = images * images
        logits: Tensor = self.head(images.mean((2, 3)))
        return logits


def test_the_count_is_what_the_layers_keep() -> None:
    """Each further layer keeps one more tensor of the images' size."""
    per_image = 4 * 3 * 16 * 16
    found = []
    for layers in (2, 10):
        view = uf.System(uf.Classifier(Deep(layers), image_size=16), "grad").view()
        found.append(step_bytes(view, SHAPE, CPU, joint=False))
        assert view.prepared.forwards == view.prepared.backwards == 0
    assert found[1] - found[0] == 8 * per_image
    assert found[0] >= (COPIES + 2) * per_image


def test_maps_take_more_than_logits(classifier: uf.Classifier) -> None:
    view = uf.System(classifier, "grad").view()
    alone, joint = (step_bytes(view, SHAPE, CPU, joint=joint) or 0 for joint in (False, True))
    assert 0 < alone < joint


@pytest.mark.parametrize(("images", "expected"), [(1e6, 256), (40.5, 40), (47.9, 40), (8.1, 8)])
def test_the_batch_is_a_multiple_of_eight_that_fits(
    classifier: uf.Classifier, monkeypatch: pytest.MonkeyPatch, images: float, expected: int
) -> None:
    view = uf.System(classifier, "cam").view()
    each = step_bytes(view, SHAPE, CPU, joint=True) or 0
    monkeypatch.setattr(batch_size, "room", lambda device, memory: int(images * each / SHARE))
    assert fitting_batch_size(view, SHAPE, CPU, joint=True) == expected


def test_too_little_memory_is_refused_before_the_attack(classifier: uf.Classifier) -> None:
    images, labels = smooth_images(8), classifier.logits(smooth_images(8)).argmax(1)
    attack = uf.attacks.preset("adv2", eps=8 / 255, steps=(1, 1))
    system = uf.System(classifier, "cam")
    with pytest.raises(InputError, match=r"a step on 8 images of 16 x 16 pixels needs about .*left of memory=1 MB.*"):
        attack(system, images, labels, memory="1MB")
    forced = attack(system, images, labels, memory="1MB", batch_size=8)
    usual = attack(system, images, labels, memory="500GB")
    assert torch.equal(forced.adversarial, usual.adversarial)
    with pytest.raises(InputError, match="memory is 'much'"):
        attack(system, images, labels, memory="much")


def test_a_batch_that_does_not_fit_is_halved_with_equal_results(
    classifier: uf.Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of a GPU is imitated; on a CPU a result does not depend on the batch, so that it can be compared."""
    images, labels = smooth_images(20), classifier.logits(smooth_images(20)).argmax(1)
    attack, system = uf.attacks.preset("adv2", eps=8 / 255, steps=(2, 3)), uf.System(classifier, "cam")
    expected = attack(system, images, labels, batch_size=32)
    seen: list[int] = []

    class Narrow(module.Loop):
        def __init__(self, attack: Any, view: Any, images: Tensor, *rest: Any, **options: Any) -> None:
            seen.append(len(images))
            if len(images) > 8:
                raise torch.OutOfMemoryError("CUDA out of memory")
            super().__init__(attack, view, images, *rest, **options)

    monkeypatch.setattr(module, "Loop", Narrow)
    with pytest.warns(UnderfireWarning) as caught:
        found = attack(system, images, labels, batch_size=32)
    assert "out of memory with 32 images at once: going on with 16" in str(caught[0].message)
    assert seen[:5] == [20, 16, 8, 8, 4]
    assert torch.equal(found.adversarial, expected.adversarial)
    assert torch.equal(found.steps, expected.steps)


def test_a_system_that_cannot_be_attacked_has_no_count() -> None:
    class Flat(torch.nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.detach().mean((2, 3))

    view = uf.System(uf.Classifier(Flat(), image_size=16), "grad").view()
    assert step_bytes(view, SHAPE, CPU, joint=True) is None
