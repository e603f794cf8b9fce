"""Another training of the same network, whose maps are compared: what is none is named."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

import underfire as uf
from tests.audits.conftest import Given
from tests.conftest import tiny_network
from underfire.attacks.benign import read_benign
from underfire.audits import audit
from underfire.audits.quality import look
from underfire.errors import InputError, UnderfireWarning


def test_a_second_training_with_other_classes(digits: Given) -> None:
    other = uf.Classifier(tiny_network(channels=1), channels=1, name="tiny")
    with pytest.raises(InputError, match="again is tiny, which has 4 classes, and digits-resnet has 10"):
        audit(uf.System(digits.classifier, "cam"), digits.images[4:8], digits.labels[4:8], again=other)


@pytest.mark.parametrize(("moved", "known"), [(range(4), True), (range(10), False)])
def test_a_second_training_with_the_classes_in_another_order(digits: Given, moved: range, known: bool) -> None:
    """Its few right images would be those that it is right on by chance, and say nothing of the maps."""
    order = list(range(10))
    for place in moved:
        order[place] = moved[(place + 1) % len(moved)]
    network = digits.classifier.module

    class Other(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.inner(x)
            return logits[:, order]

    own = digits.classifier
    other = uf.Classifier(Other().eval(), mean=own.mean, std=own.std, channels=1, name="other")
    system = uf.System(own, "grad")
    benign = read_benign(system, digits.images, digits.labels)
    right = int(benign.correct.sum())
    both = benign.correct & ~torch.isin(benign.labels, torch.tensor(list(moved)))
    with nullcontext() if known else pytest.warns(UnderfireWarning, match="again is other: the second network gets"):
        line = look(system, "grad", benign, None, again=other).lines[-1]
    if known:
        assert both.sum() > right / 2
        assert line.startswith("reproducibility: rank correlation 1.00")
    else:
        assert f"gets {int(both.sum())} of the {right} images right that" in line
