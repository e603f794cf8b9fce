"""The memory format of a prepared copy: usual, measured, and with equal logits in both."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underfire as uf
from tests.conftest import smooth_images
from underfire.classifiers import Prepared, layout
from underfire.classifiers.layout import CHANNELS_LAST, CONTIGUOUS, fastest_format, time_of, usual_format

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_the_usual_format() -> None:
    assert usual_format(torch.float32, CPU) is usual_format(torch.bfloat16, CPU) is CHANNELS_LAST
    assert usual_format(torch.float32, GPU) is CONTIGUOUS
    assert usual_format(torch.bfloat16, GPU) is CHANNELS_LAST


@pytest.mark.parametrize(
    ("usual", "last", "contiguous", "chosen"),
    [
        (CHANNELS_LAST, 1.0, 2.0, CHANNELS_LAST),
        (CHANNELS_LAST, 1.0, 0.95, CHANNELS_LAST),  # not clearly faster: it could be chance
        (CHANNELS_LAST, 1.0, 0.8, CONTIGUOUS),
        (CONTIGUOUS, 0.8, 1.0, CHANNELS_LAST),
        (CONTIGUOUS, 0.95, 1.0, CONTIGUOUS),
    ],
)
def test_the_fastest_format(
    usual: torch.memory_format, last: float, contiguous: float, chosen: torch.memory_format
) -> None:
    assert fastest_format(lambda form: last if form is CHANNELS_LAST else contiguous, usual) is chosen


@pytest.mark.parametrize("fast", [CHANNELS_LAST, CONTIGUOUS])
def test_a_measured_copy(classifier: uf.Classifier, monkeypatch: pytest.MonkeyPatch, fast: torch.memory_format) -> None:
    """As on a GPU: both forms run, and the copy ends in the faster one, with the same logits and no passes counted."""
    monkeypatch.setattr(layout, "is_measured", lambda device: True)
    other = CONTIGUOUS if fast is CHANNELS_LAST else CHANNELS_LAST
    monkeypatch.setattr(layout, "usual_format", lambda dtype, device: other)
    ran: list[torch.memory_format] = []

    def timed(prepared: Prepared, memory_format: torch.memory_format, probe: torch.Tensor) -> float:
        ran.append(memory_format)
        assert seconds(prepared, memory_format, probe) > 0
        return 0.5 if memory_format is fast else 1.0

    seconds = Prepared._seconds
    monkeypatch.setattr(Prepared, "_seconds", timed)
    images = smooth_images(8)
    prepared = classifier.prepare(size=(16, 16))
    assert set(ran) == {CHANNELS_LAST, CONTIGUOUS}
    assert prepared.memory_format is fast
    assert prepared.forwards == prepared.backwards == 0
    weights = [weight for weight in prepared.module.parameters() if weight.ndim == 4 and weight.shape[1] > 1]
    assert all(weight.is_contiguous(memory_format=fast) for weight in weights)
    assert prepared.convert(images).is_contiguous(memory_format=fast)
    assert torch.allclose(prepared.run(images), classifier.logits(images), atol=1e-4)


def test_time_is_the_median_after_a_warm_up() -> None:
    calls: list[int] = []
    assert time_of(lambda: calls.append(1), CPU) >= 0
    assert len(calls) == layout.WARM_UP + layout.PASSES


class Called(nn.Module):
    """An instance norm that is called as a function."""

    def forward(self, values: Tensor) -> Tensor:
        return F.instance_norm(values)


def test_the_gradient_of_an_instance_norm_is_that_of_its_groups_for_a_single_image() -> None:
    """Regression: torch's is wrong for one image in ``channels_last``, more than its own size, so results depended on
    the batch."""
    torch.manual_seed(0)
    first, second, head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3), nn.Linear(8, 4)
    images = torch.rand(1, 3, 16, 16)
    gradients = []
    for norm in (nn.InstanceNorm2d(8), Called(), nn.GroupNorm(8, 8)):
        end = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
        network = nn.Sequential(first, norm, nn.Softplus(), second, nn.Softplus(), *end)
        given = images.clone().requires_grad_()
        logits = uf.Classifier(network, image_size=16).prepare().run(given)
        gradients.append(torch.autograd.grad(logits[0, 1], given)[0])
    assert torch.allclose(gradients[0], gradients[2], atol=1e-6)
    assert torch.allclose(gradients[1], gradients[2], atol=1e-6)
    assert float(gradients[0].abs().max()) > 1e-4
