"""On a real GPU: no step waits, nothing is refused at torch's defaults, and bits do not depend on company.

Without a GPU these are skipped; ``test_gpu_numerics.py`` and ``attacks/test_no_sync.py`` test the same with imitations.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

import underfire as uf
from tests.attacks.test_captured import CASES, attacked, check_equal
from tests.audits.conftest import SHORT
from tests.conftest import smooth_images, tiny_network
from underfire.attacks import captured, loop
from underfire.errors import UnderfireWarning
from underfire.system import SystemView

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
@pytest.mark.parametrize("case", CASES)
def test_recorded_steps_give_the_bits_of_eager_steps(
    on_gpu: uf.Classifier, monkeypatch: pytest.MonkeyPatch, case: str, precision: str
) -> None:
    interpreters, name, settings = CASES[case]
    monkeypatch.setattr(captured, "LEAST_STEPS", 3)
    repeats: list[int] = []
    choose = captured.NumberTable.choose

    def counted(self: captured.NumberTable, index: int) -> None:
        repeats.append(index)
        choose(self, index)

    monkeypatch.setattr(captured.NumberTable, "choose", counted)
    recorded = attacked(on_gpu, interpreters, name, precision=precision, **settings)
    assert len(repeats) >= sum(settings["steps"]) - 2
    monkeypatch.setattr(captured, "may_be_recorded", lambda *_: False)
    check_equal(attacked(on_gpu, interpreters, name, precision=precision, **settings), recorded)


@pytest.mark.parametrize("interpreter", ["cam", "grad", "smoothgrad"])
def test_no_recorded_step_waits(on_gpu: uf.Classifier, monkeypatch: pytest.MonkeyPatch, interpreter: str) -> None:
    monkeypatch.setattr(captured, "LEAST_STEPS", 3)
    call = captured.RecordedStep.__call__
    strict: list[int] = []

    def watched(self: captured.RecordedStep, index: int) -> Any:
        if index < 2:  # the first step may fill caches, and before the second one the step is recorded
            return call(self, index)
        torch.cuda.set_sync_debug_mode("error")
        try:
            strict.append(index)
            return call(self, index)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(captured.RecordedStep, "__call__", watched)
    attacked(on_gpu, interpreter, "adv2", eps=8 / 255, steps=(4, 6))
    assert strict.count(3) >= 2


def test_a_step_that_waits_is_not_recorded_and_said(on_gpu: uf.Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "LEAST_STEPS", 3)
    look = SystemView.read

    def waiting(self: SystemView, images: torch.Tensor, *rest: Any, **named: Any) -> Any:
        assert float(images.detach().sum()) > 0
        return look(self, images, *rest, **named)

    expected = attacked(on_gpu, "cam", "adv2", eps=8 / 255, steps=(0, 6))
    monkeypatch.setattr(SystemView, "read", waiting)
    with pytest.warns(UnderfireWarning, match="cannot be recorded"):
        check_equal(expected, attacked(on_gpu, "cam", "adv2", eps=8 / 255, steps=(0, 6)))
    monkeypatch.undo()
    with warnings.catch_warnings():  # nothing is left behind: the next attack is recorded again
        warnings.simplefilter("error")
        monkeypatch.setattr(captured, "LEAST_STEPS", 3)
        check_equal(expected, attacked(on_gpu, "cam", "adv2", eps=8 / 255, steps=(0, 6)))


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


def test_an_audit_runs_and_records_its_steps(on_gpu: uf.Classifier) -> None:
    """Its findings are on the CPU, its attacks on the GPU; a step that waits would be said in a warning."""
    images = smooth_images(8).cuda()
    labels = on_gpu.logits(images).argmax(1)
    system = uf.System(on_gpu, ["cam", "grad"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnderfireWarning)
        found = uf.audit(system, images, labels, eps=(0.05, 0.2), ensemble=SHORT)
    assert [each.interpreter for each in found.results] == ["cam", "cam", "grad", "grad", "cam+grad", "cam+grad"]
    assert any(each.wrong.any() for each in found.results)
