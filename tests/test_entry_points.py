"""Entry points of installed packages: every kind of registry finds them, and a broken one breaks nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.conftest import tiny_network
from tests.runs.conftest import small_config
from underfire import attacks, registry
from underfire.attacks import Measure
from underfire.attacks.measures import chosen_measures
from underfire.classifiers.sources.loading import SOURCES
from underfire.cli import names, presets
from underfire.detectors import DETECTORS, Squeezing
from underfire.errors import InputError, UnderfireWarning, UserCodeError
from underfire.interpreters import CAM, REGISTRY
from underfire.registry import Registry
from underfire.reports.exports import EXPORTS, export
from underfire.reports.tracking import TRACKERS, TrackedRun
from underfire.runs import run_attack
from underfire.transforms.squeezers import SQUEEZERS, BitDepth


@dataclass(frozen=True)
class Theirs(attacks.PGD):
    name: ClassVar[str] = "theirs"


@dataclass(frozen=True)
class TheirTerm(attacks.Term):
    name: ClassVar[str] = "theirs"

    def __call__(self, point: attacks.Point) -> Tensor:
        return 0 * point.image.sum((1, 2, 3))


@dataclass(frozen=True)
class TheirShaping(attacks.Shaping):
    name: ClassVar[str] = "theirs"

    def weights(self, images: Tensor) -> Tensor:
        return images.new_ones(len(images), 1, *images.shape[2:])


@dataclass(frozen=True)
class TheirClass(attacks.LeastLikely):
    name: ClassVar[str] = "theirs"


@dataclass(frozen=True)
class TheirMap(attacks.BenignMap):
    name: ClassVar[str] = "theirs"


@dataclass(frozen=True)
class TheirMaps(CAM):
    name: ClassVar[str] = "theirs"


@dataclass(frozen=True)
class TheirDetector(Squeezing):
    name: ClassVar[str] = "theirs"


@dataclass(frozen=True)
class TheirSqueezer(BitDepth):
    name: ClassVar[str] = "theirs"


class TheirTracker:
    def log(self, run: TrackedRun) -> None:
        pass


def brightest(seen: attacks.Seen) -> Tensor:
    return seen.images.amax((1, 2, 3))


MEASURE = Measure("theirs", "image", "float", "max", "largest value of the image", compute=brightest)
NUMBER = 3


def network(name: str, options: Any) -> uf.Classifier:
    return uf.Classifier(tiny_network(), name=f"theirs:{name}")


def write(run: Any, path: Path) -> None:
    path.write_text(str(run.path))


KINDS: dict[str, tuple[Registry[Any], str]] = {
    "perturbations": (attacks.PERTURBATIONS, "Theirs"),
    "terms": (attacks.TERMS, "TheirTerm"),
    "shapings": (attacks.SHAPINGS, "TheirShaping"),
    "class_rules": (attacks.CLASS_RULES, "TheirClass"),
    "map_rules": (attacks.MAP_RULES, "TheirMap"),
    "measures": (attacks.MEASURES, "MEASURE"),
    "interpreters": (REGISTRY, "TheirMaps"),
    "classifiers": (SOURCES, "network"),
    "exports": (EXPORTS, "write"),
    "detectors": (DETECTORS, "TheirDetector"),
    "squeezers": (SQUEEZERS, "TheirSqueezer"),
    "trackers": (TRACKERS, "TheirTracker"),
}
Offer = Callable[..., None]


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Offer objects of this module as entry points: kinds and the objects' names."""

    def start(offered: Mapping[str, str], name: str = "theirs") -> None:
        points = [EntryPoint(name, f"{__name__}:{value}", f"underfire.{kind}") for kind, value in offered.items()]
        monkeypatch.setattr(registry, "entry_points", lambda group: [each for each in points if each.group == group])

    return start


def test_these_are_all_registries() -> None:
    sources = "".join(file.read_text() for file in Path(uf.__file__).parent.rglob("*.py"))
    assert {*re.findall(r'= Registry\(\s*"[^"]+",\s*"underfire\.(\w+)"', sources)} == {*KINDS}
    assert {f"underfire.{kind}" for kind in KINDS} == {part.group for part, _ in KINDS.values()}


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_package_offers_is_found(offer: Offer, kind: str) -> None:
    parts, value = KINDS[kind]
    count = len(parts)
    offer({kind: value})
    expected = globals()[value]
    made = expected() if isinstance(expected, type) else expected
    found = parts.find("theirs")
    assert found is expected or found == made
    assert parts.find("Theirs") == parts["theirs"] == dict(parts.items())["theirs"] == found
    assert "theirs" in parts
    assert [*parts][-1] == "theirs"
    assert len(parts) == len(parts.values()) == count + 1
    assert "other" not in parts


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_package_breaks_only_its_own_part(offer: Offer, kind: str) -> None:
    """Regression: an ImportError in one measure of a package ended every attack."""
    parts, _ = KINDS[kind]
    shipped = dict(parts.items())
    offer({kind: "not_there"})
    message = rf"{parts.kind} 'theirs' is the entry point .*:not_there of an installed package, .*AttributeError"
    for ask in (lambda: parts["theirs"], lambda: parts.find("theirs")):
        with pytest.raises(UserCodeError, match=message):
            ask()
    with pytest.warns(UnderfireWarning, match=f"{parts.kind} 'theirs' cannot be used and is left out: .*not_there"):
        assert dict(parts.items()) == shipped
    with pytest.raises(InputError, match="unknown"):
        raise registry.unknown_name(parts.kind, "nothing", parts)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_part_is_refused_when_it_is_named(offer: Offer, kind: str) -> None:
    parts, _ = KINDS[kind]
    offer({kind: "NUMBER"})
    with pytest.raises(InputError, match=r"is 'entry point .*:NUMBER', which is an object of type int; expected"):
        parts.find("theirs")


def test_an_attack_with_parts_of_a_package_alone(offer: Offer, images: Tensor) -> None:
    offer({kind: value for kind, (_, value) in KINDS.items()})
    classifier = uf.classifiers.load("theirs:one")
    labels = classifier.logits(images).argmax(1)
    settings: dict[str, Any] = {"interpreters": "theirs", "steps": (1, 2), "eps": 0.1}
    settings |= dict.fromkeys(("perturbation", "shaping", "target_class", "target_map"), "theirs")
    found = uf.attack(classifier, images, labels, "adv2", terms="theirs=0.5", trace_every=1, **settings)
    assert torch.equal(found.theirs, found.adversarial.amax((1, 2, 3)))
    assert found.attack == "adv2-theirs"
    assert set(found.controls) == {"clean", "theirs-theirs", "noise"}
    assert found.trace is not None
    assert "loss_theirs" in found.trace.columns
    usual: dict[str, Any] = {"steps": (1, 2), "eps": 0.1, "target_class": "least-likely"}
    assert torch.equal(found.adversarial, uf.attack(classifier, images, labels, "adv2", **usual).adversarial)


def test_attacks_lists_and_runs_beside_broken_packages(
    offer: Offer, classifier: uf.Classifier, images: Tensor, labels: Tensor, tmp_path: Path
) -> None:
    offer(dict.fromkeys(KINDS, "not_there"))
    with pytest.warns(UnderfireWarning, match="measure 'theirs' cannot be used"):
        uf.attack(classifier, images, labels, steps=(1, 1))
    with pytest.warns(UnderfireWarning, match="measure 'theirs' cannot be used"):
        run_attack(small_config(), tmp_path / "run")
    assert "theirs" in names.names()["measures"]
    with pytest.warns(UnderfireWarning) as said:
        known = presets.known()
    assert {"perturbation", "interpreter"} <= {str(each.message).split()[0] for each in said}
    assert "theirs" not in known["attacks"]
    export(tmp_path / "run", "csv", tmp_path / "run.csv")


TAKEN = Measure("label", "image", "float", "label", "a name of a column", compute=brightest)


def test_a_measure_with_a_name_that_is_taken_is_left_out(offer: Offer) -> None:
    offer({"measures": "TAKEN"})
    with pytest.warns(UnderfireWarning, match="measure 'theirs' .* left out: measure 'label' has a name that results"):
        assert chosen_measures() == attacks.measures.BUILT_IN


class Unmakeable(CAM):
    def __init__(self) -> None:
        raise RuntimeError("no device")


def test_an_interpreter_that_cannot_be_made_is_left_out_of_lists(offer: Offer) -> None:
    offer({"interpreters": "Unmakeable"})
    with pytest.warns(UnderfireWarning, match="interpreter 'theirs' cannot be used and is left out: .*no device"):
        assert all("theirs" not in members for members in presets.known()["families"].values())
