"""Compiled passes give the attack of eager passes. The compiler here is one that needs no C++ compiler."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underfire as uf
from tests.conftest import smooth_images
from underfire.classifiers import Compiled, compiled
from underfire.errors import UnderfireWarning

EPS = 16 / 255


@pytest.fixture(autouse=True)
def _without_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")


@pytest.fixture
def compiled_passes(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Grows by one for each compiled pass; True if its features were needed."""
    made: list[bool] = []
    record = Compiled.record

    def watched(self: Compiled, images: Tensor, features: bool = False) -> Any:
        found = record(self, images, features)
        if found is not None:
            made.append(features)
        return found

    monkeypatch.setattr(Compiled, "record", watched)
    return made


def attacked(classifier: uf.Classifier, interpreters: Any, name: str = "adv2", **options: Any) -> Any:
    images = smooth_images(8)
    labels = classifier.logits(images).argmax(1)
    attack = uf.attacks.preset(name, eps=EPS, steps=(3, 6))
    return attack(uf.System(classifier, interpreters), images, labels, control=False, **options)


@pytest.mark.parametrize(("name", "interpreter", "maps"), [("pgd", "cam", 0), ("adv2", "cam", 6)])
def test_compiled_passes_give_the_same_attack(
    classifier: uf.Classifier, compiled_passes: list[bool], name: str, interpreter: str, maps: int
) -> None:
    eager = attacked(classifier, interpreter, name)
    assert not compiled_passes
    fast = attacked(classifier, interpreter, name, compile=True)
    assert compiled_passes.count(True) == maps
    assert compiled_passes.count(False) == 9 - maps
    # Last bits may differ, and with them single signs of a step of 1/255.
    assert float((eager.adversarial - fast.adversarial).abs().mean()) < 0.1 / 255
    assert float((eager.map_l1_target["cam"] - fast.map_l1_target["cam"]).abs().max()) < 0.01
    for cost in ("steps", "forwards", "backwards"):
        assert torch.equal(getattr(eager, cost), getattr(fast, cost))


def test_compiled_logits_features_and_gradients_are_those_of_the_copy(classifier: uf.Classifier) -> None:
    prepared = classifier.prepare(size=(16, 16))
    images = smooth_images(4).requires_grad_()
    found, expected = Compiled(prepared).record(images, features=True), prepared.record(images)
    assert found is not None
    assert found.features is not None
    assert expected.features is not None
    assert torch.allclose(found.logits, expected.logits, atol=1e-5)
    assert torch.allclose(found.features, expected.features, atol=1e-5)
    assert torch.equal(found.cam_weight(), expected.cam_weight())  # type: ignore[arg-type]
    total = [(each.features.square().sum() + each.logits[:, 0].sum()) for each in (found, expected)]  # type: ignore
    one, other = (torch.autograd.grad(value, images)[0] for value in total)
    assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)
    assert not any(part._forward_hooks for part in prepared.module.modules())


def test_interpreters_with_a_second_derivative_stay_eager_and_are_named(
    classifier: uf.Classifier, compiled_passes: list[bool]
) -> None:
    eager = attacked(classifier, ["cam", "grad"])
    with pytest.warns(UnderfireWarning, match="compile is set, and grad cannot use compiled passes"):
        fast = attacked(classifier, ["cam", "grad"], compile=True)
    # Three steps of the warm-up, and the logits and CAM's map of the joint steps.
    assert compiled_passes == [False] * 3 + [True] * 6
    assert float((eager.adversarial - fast.adversarial).abs().mean()) < 0.2 / 255


def test_a_network_that_cannot_be_compiled_is_attacked_eagerly(
    classifier: uf.Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise NotImplementedError("no such instruction\nand more")

    monkeypatch.setattr(compiled, "BACKEND", broken)
    eager = attacked(classifier, "cam")
    with pytest.warns(UnderfireWarning, match="cannot be compiled") as said:
        fallen = attacked(classifier, "cam", compile=True)
    assert len(said) == 1
    assert torch.equal(eager.adversarial, fallen.adversarial)
    assert torch.equal(eager.forwards, fallen.forwards)


def test_other_logits_are_refused(classifier: uf.Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(graph: Any, inputs: Any) -> Any:
        return lambda *given: [value * 1.01 for value in graph(*given)]

    monkeypatch.setattr(compiled, "BACKEND", wrong)
    with pytest.warns(UnderfireWarning, match=r"cannot be compiled \(its logits differ by 0.01"):
        attacked(classifier, "cam", compile=True)


def test_features_that_no_module_outputs(compiled_passes: list[bool]) -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 4)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(F.relu(self.first(images)).mean((2, 3)))

    torch.manual_seed(0)
    network = Bare().eval()
    network.head.weight.data.mul_(20)
    with pytest.warns(UnderfireWarning, match="the output of none of its modules"):
        attacked(uf.Classifier(network, image_size=16), "cam", compile=True)
    assert compiled_passes == [False] * 3


def test_a_run_records_that_it_was_compiled(tmp_path: Any) -> None:
    from tests.runs.conftest import small_config
    from underfire.runs import run_attack

    plain = run_attack(small_config(count=2, steps=(1, 1)), tmp_path / "plain")
    fast = run_attack(small_config(count=2, steps=(1, 1), compile=True), tmp_path / "fast")
    keys = [{cell["key"] for cell in uf.Run(tmp_path / name).record["cells"]} for name in ("plain", "fast")]
    assert plain
    assert fast
    assert not keys[0] & keys[1]
