"""Recorded steps give the bits of eager steps. The recordings are imitations on the CPU, see ``imitated_graph.py``."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.attacks.imitated_graph import FailingRecorder, ImitatedRecorder, Tape
from tests.conftest import smooth_images
from underfire.attacks import captured
from underfire.attacks.loop import Loop
from underfire.attacks.numbers import NumberTable, StepNumbers
from underfire.attacks.pricing import Pricing
from underfire.errors import UnderfireWarning
from underfire.system import SystemView

EPS = 16 / 255

pytestmark = pytest.mark.skipif(
    "UNDERFIRE_TEST_DEVICE" in os.environ, reason="imitates a GPU on a CPU; test_on_gpu.py makes real recordings"
)


def use(monkeypatch: pytest.MonkeyPatch, recorder: Any) -> Any:
    monkeypatch.setattr(captured, "recorder_for", lambda device: recorder)
    monkeypatch.setattr(captured, "LEAST_STEPS", 3)
    return recorder


def attacked(classifier: uf.Classifier, interpreters: Any, name: str, precision: str = "float32", **more: Any) -> Any:
    images = smooth_images(8).to(classifier.device)
    labels = classifier.logits(images).argmax(1)
    attack, system = uf.attacks.preset(name, **more), uf.System(classifier, interpreters)
    return attack(system, images, labels, trace_every=3, batch_size=16, precision=precision)


def tensors(value: Any, path: str = "") -> dict[str, Tensor]:
    """All tensors of a result, by path; seconds are no tensors."""
    if isinstance(value, Tensor):
        return {path: value}
    if isinstance(value, dict):
        return {key: each for name, part in value.items() for key, each in tensors(part, f"{path}/{name}").items()}
    if hasattr(value, "columns") and hasattr(value, "steps"):
        return tensors(value.columns, path) | {f"{path}/steps": torch.tensor(value.steps)}
    return {}


def check_equal(one: Any, other: Any) -> None:
    first, second = (
        tensors(dict(vars(result)) | {f"control {name}": vars(part) for name, part in result.controls.items()})
        for result in (one, other)
    )
    assert first.keys() == second.keys()
    assert {"/adversarial", "/values/forwards", "/values/backwards", "/trace/success"} <= first.keys()
    for name, values in first.items():
        if name.endswith("/seconds"):
            continue
        assert torch.equal(values.double().nan_to_num(-7), second[name].double().nan_to_num(-7)), name


CASES: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "pgd": ("cam", "pgd", {"eps": EPS, "steps": (0, 8)}),
    "cw": ("cam", "cw", {"steps": (0, 8)}),
    "stadv": ("cam", "stadv", {"steps": (0, 8)}),
    "adv2 on cam": ("cam", "adv2", {"eps": EPS, "steps": (4, 9)}),
    "adv2 on grad": ("grad", "adv2", {"eps": EPS, "steps": (4, 9)}),
    "adv2 on grad, published": ("grad", "adv2", {"eps": EPS, "steps": (4, 9), "variant": "published"}),
    "adv2 on cam by cw": ("cam", "adv2", {"perturbation": "cw", "steps": (4, 9)}),
    "adv2 on grad by stadv": ("grad", "adv2", {"perturbation": "stadv", "steps": (4, 9)}),
    "adv2 on cam by cw, searched": ("cam", "adv2", {"perturbation": "cw", "steps": (3, 5), "search": 2}),
    "adv2, untargeted": ("cam", "adv2", {"eps": EPS, "steps": (4, 9), "targeted": False}),
    "adv2 on two": (["cam", "grad"], "adv2", {"eps": EPS, "steps": (3, 6)}),
    "advedge": ("cam", "advedge", {"eps": EPS, "steps": (4, 9)}),
    "advedge+": ("cam", "advedge+", {"eps": EPS, "steps": (4, 9)}),
    "auto": ("cam", "auto", {"eps": EPS, "budget": 9}),
    "auto by stadv": ("grad", "auto", {"perturbation": "stadv", "budget": 7}),
    **{f"adv2 on {name}": (name, "adv2", {"eps": EPS, "steps": (3, 6)}) for name in ("gradcam", "lrp", "smoothgrad")},
}


@pytest.mark.parametrize("case", CASES)
def test_recorded_steps_give_the_bits_of_eager_steps(
    classifier: uf.Classifier, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    interpreters, name, settings = CASES[case]
    eager = attacked(classifier, interpreters, name, **settings)
    recorder = use(monkeypatch, ImitatedRecorder())
    recorded = attacked(classifier, interpreters, name, **settings)
    check_equal(eager, recorded)
    assert recorder.tapes
    stages = settings.get("steps") or (settings["budget"],)
    assert recorder.repeats >= sum(stages) - len(stages)  # all but the first step of each stage


def test_when_images_leave_the_step_is_recorded_again(
    classifier: uf.Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, system = smooth_images(16), uf.System(classifier, "cam")
    labels = classifier.logits(images).argmax(1)
    built = uf.attacks.preset("adv2", eps=64 / 255, steps=(5, 40)).build(system)
    attack = replace(built, early_stop=uf.attacks.EarlyStop(after=0.2, patience=0.05, tolerance=0.5))
    eager = attack(system, images, labels, trace_every=3, batch_size=16)
    assert 8 <= (eager.values["steps"] < 45).sum() < 16  # a group of eight leaves
    recorder = use(monkeypatch, ImitatedRecorder())
    check_equal(eager, attack(system, images, labels, trace_every=3, batch_size=16))
    sizes = {args[0].shape[0] for tape in recorder.tapes for func, args, *_ in tape.calls if "convolution" in str(func)}
    assert sizes == {8, 16}


def test_the_state_stays_in_the_same_tensors(classifier: uf.Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so do the values of the state while the step is recorded."""
    use(monkeypatch, ImitatedRecorder())
    places: list[dict[str, int]] = []
    call = captured.RecordedStep.__call__

    def watched(self: captured.RecordedStep, index: int) -> Any:
        found = call(self, index)
        if index:
            places.append({name: tensor.data_ptr() for name, tensor in self._carried.leaves().items()})
        return found

    record = captured.RecordedStep._record

    def keeping(self: captured.RecordedStep) -> None:
        before = {name: tensor.clone() for name, tensor in self._carried.leaves().items()}
        passes = self._view.prepared.forwards, self._view.prepared.backwards
        record(self)
        assert passes == (self._view.prepared.forwards, self._view.prepared.backwards)
        after = self._carried.leaves()
        assert before.keys() == after.keys()
        assert all(torch.equal(values, after[name]) for name, values in before.items())

    monkeypatch.setattr(captured.RecordedStep, "__call__", watched)
    monkeypatch.setattr(captured.RecordedStep, "_record", keeping)
    attacked(classifier, "cam", "adv2", eps=EPS, steps=(0, 7))
    assert len(places) == 12  # six of the joint attack, six of its control
    assert all(found == places[0] for found in places[:6])
    assert all(found == places[6] for found in places[6:])


def test_the_imitation_notices_numbers_that_a_recording_would_not_repeat(
    classifier: uf.Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"eps": EPS, "steps": (0, 12)}
    eager = attacked(classifier, "cam", "adv2", **settings)
    use(monkeypatch, ImitatedRecorder())
    monkeypatch.setattr(NumberTable, "__init__", lambda self, stage, before, device: vars(self).update(stage=stage))
    monkeypatch.setattr(NumberTable, "choose", lambda self, index: None)
    monkeypatch.setattr(NumberTable, "read", lambda self: StepNumbers.of(self.stage, 1, 0))
    wrong = attacked(classifier, "cam", "adv2", **settings)
    assert not torch.equal(eager.trace.columns["loss_interpretation"], wrong.trace.columns["loss_interpretation"])


def test_a_step_that_cannot_be_recorded_is_eager_and_said_once(
    classifier: uf.Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    eager = attacked(classifier, "cam", "adv2", eps=EPS, steps=(4, 9))
    recorder = use(monkeypatch, FailingRecorder())
    with pytest.warns(UnderfireWarning, match=r"cannot be recorded .*not permitted when stream is capturing\)") as said:
        failed = attacked(classifier, "cam", "adv2", eps=EPS, steps=(4, 9))
    check_equal(eager, failed)
    assert len(said) == recorder.attempts == 1


@pytest.mark.parametrize(
    ("interpreter", "settings"),
    [
        ("mask:quick", {"eps": EPS, "steps": (4, 6)}),
        ("cam", {"eps": EPS, "steps": (2, 2)}),
    ],
)
def test_stages_that_need_python_between_steps_are_eager(
    classifier: uf.Classifier, monkeypatch: pytest.MonkeyPatch, interpreter: str, settings: dict[str, Any]
) -> None:
    """MASK is refreshed, and its moves have guards; its warm-up reads no maps. Short stages are not worth it."""
    recorder = use(monkeypatch, ImitatedRecorder())
    stages: list[str] = []
    record = captured.RecordedStep._record

    def watched(self: captured.RecordedStep) -> None:
        stages.append(self._stage.name)
        record(self)

    monkeypatch.setattr(captured.RecordedStep, "_record", watched)
    attacked(classifier, interpreter, "adv2", **settings)
    assert "joint" not in stages
    assert bool(recorder.tapes) == bool(stages)


def test_parts_of_the_users_own_are_eager(classifier: uf.Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(uf.attacks.PGD):
        pass

    recorder = use(monkeypatch, ImitatedRecorder())
    attacked(classifier, "cam", "adv2", perturbation=Own(EPS), steps=(4, 9))
    assert not recorder.tapes

    class OwnView(uf.interpreters.View):
        steps_alike = True

        def read(self, prepared: Any, recorded: Any, images: Any, classes: Any, state: Any, graph: bool) -> Any:
            return images.mean(1), state

    class OwnCAM(uf.interpreters.CAM):
        def view(self) -> uf.interpreters.View:
            return OwnView()

    class OwnMap(uf.interpreters.CAM):
        def map_of(self, recorded: Any, classes: Tensor, graph: bool = False) -> Tensor:
            return super().map_of(recorded, classes, graph)

    stage = _stage(9, uf.attacks.Interpretation())
    for interpreter in (OwnCAM(), OwnMap(), uf.interpreters.CAM()):
        view = uf.System(classifier, {"a": interpreter}).view()
        shipped = type(interpreter) is uf.interpreters.CAM
        assert captured.may_be_recorded(stage, view, True, [uf.attacks.PGD()]) == shipped
        assert captured.may_be_recorded(stage, view, False, [uf.attacks.PGD()])


def test_recording_can_be_turned_off(classifier: uf.Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = use(monkeypatch, ImitatedRecorder())
    begin = SystemView.__init__

    def without(self: SystemView, *rest: Any) -> None:
        begin(self, *rest)
        self.records_steps = False

    monkeypatch.setattr(SystemView, "__init__", without)
    attacked(classifier, "cam", "adv2", eps=EPS, steps=(4, 9))
    assert not recorder.tapes


def test_nothing_is_recorded_on_a_cpu(classifier: uf.Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "LEAST_STEPS", 1)
    monkeypatch.setattr(captured.RecordedStep, "_record", None)
    attacked(classifier, "cam", "adv2", eps=EPS, steps=(4, 9))


def test_the_table_holds_the_numbers_of_every_step() -> None:
    stage = _stage()
    table = NumberTable(stage, 5, torch.device("cpu"))
    for index in range(stage.steps):
        table.choose(index)
        expected, found = StepNumbers.of(stage, index, 5), table.read()
        assert int(found.step) == expected.step == 5 + index
        assert [[float(w) for w in weights] for weights in found.weights] == [list(w) for w in expected.weights]
        assert [float(size) for size in found.sizes] == list(expected.sizes)


def _stage(steps: int = 7, term: uf.attacks.Term | None = None) -> uf.attacks.Stage:
    weights = uf.attacks.Linear(0.1, 0.7), uf.attacks.Phases((1.0, 0.3), (2, 1))
    terms = tuple(uf.attacks.Weighted(term or uf.attacks.Prediction(), weight) for weight in weights)
    return uf.attacks.Stage("joint", steps, (uf.attacks.Move(terms, 1 / 255), uf.attacks.Move(terms[:1], weights[0])))


def test_the_gradient_of_a_flow_needs_no_operation_without_a_deterministic_form() -> None:
    """StAdv reads pixels by place and weighs them; only the weights are differentiated, and nothing is scattered."""
    images, tape = smooth_images(2), Tape()
    perturbation = uf.attacks.StAdv()
    theta = perturbation.start(images, torch.ones(2, 1, 16, 16), torch.arange(2), 0)
    flow = theta["flow"].clone().requires_grad_()
    with tape:
        image = perturbation.image(theta, flow)
        torch.autograd.grad(image.square().sum() + perturbation.penalty(theta, flow, image).sum(), flow)
    made = {str(func) for func, *_ in tape.calls}
    assert any("gather" in name for name in made)
    assert not [name for name in made if "scatter" in name or "index_" in name or "grid_sampler" in name]


def test_a_loop_has_no_step_of_its_own_for_recordings() -> None:
    """The recorded step is the eager one: there is one function that makes moves."""
    assert [name for name in vars(Loop) if "step" in name.lower()] == ["_step"]


def test_pricings_of_the_users_own_are_not_recorded(classifier: uf.Classifier) -> None:
    """Regression: a recording copied a price over the one that the user's pricing had kept from before."""

    class OwnPricing(Pricing):
        pass

    system = uf.System(classifier, "cam")
    auto = uf.attacks.preset("auto", eps=EPS, budget=captured.LEAST_STEPS).build(system)
    view = system.view()
    for attack, recorded in ((auto, True), (replace(auto, pricing=OwnPricing()), False)):
        assert captured.may_be_recorded(attack.stages[0], view, True, attack.acting) is recorded
