"""On a real GPU: no step waits, nothing is refused at torch's defaults, and bits do not depend on company.

Without a GPU these are skipped; ``test_gpu_numerics.py`` and ``attacks/test_no_sync.py`` test the same with imitations.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

import underfire as uf
from tests.conftest import smooth_images, tiny_network
from underfire.attacks import loop

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.fixture
def on_gpu() -> uf.Classifier:
    return uf.Classifier(tiny_network().cuda(), image_size=16)


@pytest.mark.parametrize("interpreter", ["cam", "grad", "gradcam", "lrp", "smoothgrad"])
def test_no_step_waits(on_gpu: uf.Classifier, monkeypatch: pytest.MonkeyPatch, interpreter: str) -> None:
    images = smooth_images(8).cuda()
    labels = on_gpu.logits(images).argmax(1)
    move = loop.Loop._move
    strict: list[int] = []

    def watched(self: loop.Loop, *rest: Any) -> None:
        if not self.step:  # the first step may fill caches
            return move(self, *rest)
        torch.cuda.set_sync_debug_mode("error")
        try:
            strict.append(self.step)
            return move(self, *rest)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(loop.Loop, "_move", watched)
    attack = uf.attacks.preset("adv2", eps=8 / 255, steps=(3, 3))
    attack(uf.System(on_gpu, interpreter), images, labels, control=False)
    assert len(strict) == 5


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_an_image_gets_the_same_bits_in_any_company(on_gpu: uf.Classifier, precision: str) -> None:
    images = smooth_images(20).cuda()
    labels = on_gpu.logits(images).argmax(1)
    attack, system = uf.attacks.preset("adv2", eps=16 / 255, steps=(3, 10)), uf.System(on_gpu, "cam")
    together = attack(system, images, labels, batch_size=16, precision=precision)
    alone = attack(system, images[17:19], labels[17:19], batch_size=16, precision=precision)
    assert torch.equal(together.adversarial[17:19], alone.adversarial)
    assert torch.equal(together.maps["cam"][17:19], alone.maps["cam"])


def test_the_copy_is_accepted_at_torchs_default_flags(on_gpu: uf.Classifier) -> None:
    assert torch.backends.cudnn.allow_tf32
    assert on_gpu.prepare(size=(16, 16)).deviation < 1e-4
    assert torch.backends.cudnn.allow_tf32
