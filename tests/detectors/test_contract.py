"""The contract, over all detectors of the registry: fitted, saved, read back, and refused where they mean nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.detectors.conftest import Digits, changed
from underfire.detectors import DETECTORS, Detector, FittedDetector, Squeezing, State, fit, load
from underfire.detectors.folder import RECORD, TENSORS
from underfire.errors import InputError, StoreError, UnderfireWarning, UserCodeError

OWN = """
from dataclasses import dataclass
from typing import ClassVar

from underfire.detectors import Detector


@dataclass(frozen=True)
class Bright(Detector):
    power: float = 1.0
    name: ClassVar[str] = "bright"

    def measure(self, system, state, images):
        return images.mean((1, 2, 3)) ** self.power
"""


def fitted(digits: Digits, detector: Any, **changes: Any) -> FittedDetector:
    calibration, calibration_ids = digits.part(80, 120)
    benign, benign_ids = digits.part(0, 80)
    usual: dict[str, Any] = {
        "calibration": calibration,
        "benign": benign,
        "attacked": digits.attacked,
        "calibration_ids": calibration_ids,
        "benign_ids": benign_ids,
        "attacked_ids": digits.ids[:40],
    }
    return fit(detector, digits.system, **(usual | changes))


@pytest.mark.parametrize("name", DETECTORS)
def test_what_is_read_back_scores_the_same_bit_for_bit(digits: Digits, name: str, tmp_path: Path) -> None:
    made = fitted(digits, name)
    made.save(tmp_path / "detector")
    assert sorted(path.name for path in (tmp_path / "detector").iterdir()) == [RECORD, TENSORS]
    again = load(tmp_path / "detector", digits.system)
    assert again.detector == made.detector
    assert (again.threshold, again.false_positives) == (made.threshold, made.false_positives)
    assert again.members == made.members
    assert torch.equal(again.scores(digits.attacked), made.scores(digits.attacked))
    assert torch.equal(again.calibration, made.scores(digits.images[80:]))


@pytest.mark.parametrize("name", DETECTORS)
def test_an_image_has_its_score_whatever_else_is_in_the_batch(digits: Digits, name: str) -> None:
    made = fitted(digits, name)
    every = made.scores(digits.attacked[:11])
    alone = torch.cat([made.scores(digits.attacked[place : place + 1]) for place in range(11)])
    assert torch.equal(every, alone)
    assert len({*every.tolist()}) > 1


@pytest.mark.parametrize("name", DETECTORS)
def test_the_threshold_raises_as_many_false_alarms_as_asked(digits: Digits, name: str) -> None:
    made = fitted(digits, name, false_positives=0.1)
    assert int(made.flags(digits.images[80:]).sum()) <= 0.1 * 41 - 1 + 1e-9
    assert int((made.calibration >= made.threshold).sum()) >= 1


@pytest.mark.parametrize("name", DETECTORS)
def test_the_network_is_left_as_it_was(digits: Digits, name: str) -> None:
    network = digits.system.classifier.module
    network.train()
    before = [part.training for part in network.modules()]
    try:
        fitted(digits, name).scores(digits.attacked[:3])
        assert [part.training for part in network.modules()] == before
    finally:
        network.eval()
    assert all(not part._forward_hooks for part in network.modules())
    assert all(weight.grad is None for weight in network.parameters())


@pytest.mark.parametrize("name", DETECTORS)
def test_another_classifier_is_refused(digits: Digits, name: str, tmp_path: Path) -> None:
    fitted(digits, name).save(tmp_path / "detector")
    with pytest.raises(InputError, match=r"was fitted for another system: the classifier .* has other weights"):
        load(tmp_path / "detector", changed(digits.system))


def test_other_interpreters_are_refused(digits: Digits, tmp_path: Path) -> None:
    fitted(digits, "map-agreement").save(tmp_path / "detector")
    classifier = digits.system.classifier
    with pytest.raises(InputError, match="the interpreter grad is missing"):
        load(tmp_path / "detector", uf.System(classifier, ["cam", "lrp"]))
    other = {"cam": uf.interpreters.CAM(), "grad": uf.interpreters.Grad(pool=2)}
    with pytest.raises(InputError, match=r"the interpreter grad is Grad\(pool=2"):
        load(tmp_path / "detector", uf.System(classifier, other))
    more = uf.System(classifier, ["cam", "grad", "lrp"])
    assert list(load(tmp_path / "detector", more).system.interpreters) == ["cam", "grad"]


def test_images_of_another_size_are_refused(digits: Digits) -> None:
    made = fitted(digits, "squeezing:median:2")
    with pytest.raises(InputError, match=r"images are 1 x 20 x 20 .* was fitted for 1 x 16 x 16"):
        made.scores(torch.rand(2, 1, 20, 20))


def test_splits_that_overlap_are_refused(digits: Digits) -> None:
    benign, ids = digits.part(0, 81)
    with pytest.raises(
        InputError, match=f"1 of the calibration images are among the benign images.*: {digits.ids[80]}"
    ):
        fitted(digits, "class-map", benign=benign, benign_ids=ids)
    with pytest.raises(InputError, match="are among the benign images"):  # by pixels, whatever they are called
        fitted(digits, "class-map", benign=benign, benign_ids=[f"other/{place}" for place in range(81)])
    with pytest.raises(InputError, match="40 of the calibration images are among the attacked images"):
        fitted(digits, "maps", attacked_ids=digits.ids[80:])


def test_too_few_calibration_images(digits: Digits) -> None:
    few, ids = digits.part(80, 98)
    with pytest.raises(InputError, match=r"calibration holds 18 images.* of 0.05: at least 19 are needed"):
        fitted(digits, "squeezing", calibration=few, calibration_ids=ids)


@pytest.mark.parametrize(
    ("detector", "changes", "message"),
    [
        ("maps", {"attacked": None}, "attacked is missing; detector maps learns from attacked images"),
        ("class-map", {"benign": None}, "benign is missing"),
        ("maps", {"attacked_ids": None}, "ids of attacked are missing"),
        ("class-map", {"benign_ids": ["a"]}, "ids of benign has 1 entries; expected 80"),
        ("class-map", {"benign_ids": ["a"] * 80}, "holds the id 'a' twice"),
        ("sqeezing", {}, "unknown detector 'sqeezing'. Did you mean 'squeezing'"),
        ("class-map:3", {}, "class-map takes nothing after a colon"),
        ("maps:sum", {}, "expected maps, or maps:product"),
        ("lid:x", {}, "expected a number of neighbours"),
        ("squeezing:bit-depth:9", {}, "expected 1 to 7"),
        (Squeezing, {}, "detector is the class Squeezing"),
    ],
)
def test_bad_input(digits: Digits, detector: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fitted(digits, detector, **changes)


def test_a_detector_of_maps_needs_enough_interpreters(digits: Digits) -> None:
    images, ids = digits.part(80, 120)
    one = uf.System(digits.system.classifier, "cam")
    with pytest.raises(InputError, match="reads maps of at least 2 interpreters; the system has 1"):
        fit("map-agreement", one, images, digits.images[:80], calibration_ids=ids)
    with pytest.raises(InputError, match="the system has 0"):
        fit("map-agreement", digits.system.classifier, images, digits.images[:80], calibration_ids=ids)
    fit("squeezing:median:2", digits.system.classifier, images)


@dataclass(frozen=True)
class Constant(Detector):
    value: float = 1.0
    name: ClassVar[str] = "constant"

    def measure(self, system: uf.System, state: State, images: Tensor) -> Tensor:
        return images.new_full((len(images),), self.value)


def test_a_constant_score_is_said(digits: Digits) -> None:
    with pytest.warns(UnderfireWarning, match="the score of constant is 1 for all 40 calibration images"):
        made = fitted(digits, Constant())
    assert not bool(made.flags(digits.attacked).any())


def test_scores_that_are_none_are_refused(digits: Digits) -> None:
    with pytest.raises(UserCodeError, match="'constant' gives NaN or infinite scores"):
        fitted(digits, Constant(float("nan")))


@dataclass(frozen=True)
class Outdated(Constant):
    """A detector whose methods take other arguments than they get."""

    def knows(self, attack: str) -> bool:  # type: ignore[override]  # the signature of an earlier version
        return True

    def differentiable(self, system: uf.System, state: State) -> Any:
        return lambda: torch.zeros(1)


def test_mistakes_in_what_evasions_ask_for_are_named(digits: Digits) -> None:
    """Regression: both ended with an error of Python's that names no detector."""
    with pytest.warns(UnderfireWarning, match="the score of constant"):
        made = fitted(digits, Outdated())
    with pytest.raises(UserCodeError, match=r"detector 'constant' fails: TypeError: .*knows\(\) takes 2 positional"):
        made.knows("Attack()")
    system = uf.System(digits.system.classifier, "cam")
    with pytest.raises(UserCodeError, match=r"score of detector 'constant' fails: TypeError: .* takes 0 positional"):
        uf.attack(system, digits.images[:1], torch.tensor([0]), steps=(1, 1), evade=made.term())


def test_a_detector_of_the_users_own(digits: Digits, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    made = fitted(digits, f"{tmp_path}/own.py:Bright")
    assert torch.allclose(made.scores(digits.attacked), digits.attacked.mean((1, 2, 3)).double())
    made.save(tmp_path / "detector")
    again = load(tmp_path / "detector", digits.system)
    assert torch.equal(again.scores(digits.attacked), made.scores(digits.attacked))
    (tmp_path / "own.py").write_text(OWN.replace("mean", "amax"))
    with pytest.raises(InputError, match="the code of detector bright has changed since it was fitted"):
        load(tmp_path / "detector", digits.system)
    (tmp_path / "own.py").write_text(OWN.replace('"bright"', '""'))
    with pytest.raises(InputError, match="detector is a Bright with the name ''"):
        fitted(digits, f"{tmp_path}/own.py:Bright")


def test_a_detector_without_a_name_is_read_back_with_its_object(digits: Digits, tmp_path: Path) -> None:
    with pytest.warns(UnderfireWarning, match="constant score"):
        fitted(digits, Constant(3.0)).save(tmp_path / "detector")
    with pytest.raises(InputError, match="unknown detector 'constant'"):
        load(tmp_path / "detector", digits.system)
    assert load(tmp_path / "detector", digits.system, Constant(3.0)).threshold == 3
    with pytest.raises(InputError, match="has the settings"):
        load(tmp_path / "detector", digits.system, Constant(4.0))


def test_damaged_folders_are_refused(digits: Digits, tmp_path: Path) -> None:
    place = tmp_path / "detector"
    with pytest.raises(StoreError, match="holds no detector"):
        load(place, digits.system)
    fitted(digits, "class-map").save(place)
    content = (place / TENSORS).read_bytes()
    (place / TENSORS).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(StoreError, match="is damaged"):
        load(place, digits.system)
    (place / TENSORS).write_bytes(content)
    record = json.loads((place / RECORD).read_text())
    (place / RECORD).write_text(json.dumps(record | {"format": 99}))
    with pytest.raises(StoreError, match="has folder format 99"):
        load(place, digits.system)
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "photo.png").touch()
    with pytest.raises(StoreError, match=r"holds other files, such as photo\.png"):
        fitted(digits, "class-map").save(tmp_path / "else")


def test_a_score_is_a_measure_of_attacks(digits: Digits) -> None:
    made = fitted(digits, "squeezing:median:2")
    labels = digits.system.classifier.logits(digits.images[:4]).argmax(1)
    given: dict[str, Any] = {"eps": 0.2, "steps": (1, 2), "noise_draws": 1, "measures": [made.measure()]}
    found = uf.attack(digits.system, digits.images[:4], labels, "adv2", **given)
    assert torch.equal(found.score_squeezing_median_2, made.scores(found.adversarial).float())
    assert torch.equal(found.controls["clean"].score_squeezing_median_2, made.scores(digits.images[:4]).float())
