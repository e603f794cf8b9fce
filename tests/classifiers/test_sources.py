"""Classifiers by name and by file."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

import underfire as uf
from tests.conftest import tiny_network
from underfire.classifiers.sources import SOURCES, Options, Source, shipped
from underfire.defenses.robust.measuring import robustness
from underfire.errors import ClassifierError, InputError
from underfire.zoo.recipes import DEFENDED


def card_of(name: str) -> str:
    return (Path(uf.__file__).parent / "zoo" / "weights" / f"{name}.md").read_text()


def measured(name: str, data: uf.data.ImageData) -> tuple[str, str]:
    """Return the accuracy on ``data`` in the format of the card, and the card."""
    classifier = uf.classifiers.load(name)
    batch = data.load(classifier.image_size, classifier.channels)
    accuracy = float((classifier.logits(batch.images).argmax(1) == batch.labels).float().mean())
    return f"{100 * accuracy:.2f} % of {len(data):,} images", card_of(name)


def test_the_shipped_digits_classifier_is_as_good_as_its_card_says() -> None:
    accuracy, card = measured("digits-resnet", uf.data.open_data("digits:test"))
    assert accuracy in card


@pytest.mark.parametrize("name", ["scenes-densenet", "scenes-resnet", "scenes-vit"])
def test_the_scenes_classifiers_are_as_good_as_their_cards_say(name: str) -> None:
    accuracy, card = measured(name, uf.data.open_data("scenes:test"))
    assert accuracy in card


@pytest.mark.parametrize(
    ("name", "least"), [("cifar10-densenet", 0.87), ("cifar10-resnet20", 0.87), ("cifar10-vit", 0.87)]
)
def test_the_cifar_classifiers_are_about_as_good_as_their_cards_say(
    name: str, least: float, cifar10: uf.data.ImageData
) -> None:
    """On the first 2,000 of the card's 10,000 images, the accuracy is within four standard errors of the card's."""
    classifier = uf.classifiers.load(name)
    batch = cifar10.load(classifier.image_size, classifier.channels, range(2000))
    accuracy = float((classifier.logits(batch.images).argmax(1) == batch.labels).float().mean())
    claimed = float(re.findall(r"test accuracy \| ([0-9.]+) % of 10,000", card_of(name))[0]) / 100
    assert claimed >= least
    assert abs(accuracy - claimed) < 4 * (claimed * (1 - claimed) / 2000) ** 0.5


def test_defended_classifiers_are_more_robust_than_the_plain_one(cifar10: uf.data.ImageData) -> None:
    """On 100 images, under 10 steps of PGD at 8/255."""
    left = {}
    for name in ("cifar10-resnet20", *DEFENDED):
        classifier = uf.classifiers.load(name)
        batch = cifar10.load(classifier.image_size, classifier.channels, range(100))
        ids = torch.arange(100)
        left[name] = float(
            robustness(classifier, batch.images, batch.labels, ids, "pgd", 8 / 255, steps=10).right.mean()
        )
    assert left.pop("cifar10-resnet20") < 0.05
    assert len(left) == 2
    assert min(left.values()) > 0.25, left


@pytest.mark.parametrize("name", ["digits-resnet", "imagenet-lite0"])
def test_shipped_networks_come_with_random_weights(name: str) -> None:
    """All else is that of the trained network, and the weights are the same each time, however they are asked for."""
    state = torch.random.get_rng_state()
    random = uf.classifiers.load(f"{name}:random")
    again = uf.classifiers.load(name, weights="random")
    assert torch.equal(state, torch.random.get_rng_state())
    assert random.sha256() == again.sha256()
    assert (random.name, random.class_names[3]) == (f"{name}:random", again.class_names[3])
    if name == "digits-resnet":
        trained = uf.classifiers.load(name)
        assert trained.sha256() != random.sha256()
        assert (trained.mean, trained.image_size) == (random.mean, random.image_size)


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'digits-resnet'"):
        uf.classifiers.load("digits-resnett")
    with pytest.raises(InputError, match="Did you mean 'digits-resnet'"):
        shipped.find("digits-resnett")


def write(folder: Path, text: str) -> Path:
    file = folder / "model.py"
    file.write_text(text)
    return file


def test_a_file_may_import_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "parts_beside.py").write_text(
        "import torch\n"
        "network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(12, 3))\n"
    )
    before = list(sys.path)
    classifier = uf.classifiers.load(
        f"{write(tmp_path, 'def build():' + chr(10) + '    import parts_beside; return parts_beside.network')}:build"
    )
    assert classifier.logits(torch.rand(2, 3, 8, 8)).shape == (2, 3)
    assert sys.path == before


def test_two_files_with_neighbours_of_one_name(tmp_path: Path) -> None:
    """Each file imports the module ``nets`` in its own folder."""
    for name, classes in (("a", 2), ("b", 5)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "nets.py").write_text(f"CLASSES = {classes}\n")
        write(
            folder,
            "import torch, nets\n"
            "def build():\n"
            "    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(),\n"
            "                               torch.nn.Linear(12, nets.CLASSES))\n",
        )
    for name, classes in (("a", 2), ("b", 5), ("a", 2)):
        classifier = uf.classifiers.load(f"{tmp_path / name / 'model.py'}:build")
        assert classifier.logits(torch.rand(2, 3, 8, 8)).shape == (2, classes)
    assert sys.modules["nets"].CLASSES == 2  # for whatever it imports later


def test_a_file_and_a_function(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "import torch\n"
        "def build():\n"
        "    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1),\n"
        "                               torch.nn.Flatten(), torch.nn.Linear(4, 5))\n",
    )
    classifier = uf.classifiers.load(f"{file}:build")
    assert classifier.name == "model:build"
    assert classifier.logits(torch.rand(2, 3, 8, 8)).shape == (2, 5)


@pytest.mark.parametrize(
    ("text", "spec", "error", "message"),
    [
        ("def build(): return 3\n", ":build", ClassifierError, "returned an object of type int"),
        ("def build(): raise KeyError('weights')\n", ":build", ClassifierError, "failed: KeyError"),
        ("import sys\ndef build(): sys.exit(2)\n", ":build", ClassifierError, "failed: SystemExit"),
        (
            "import sys\nsys.path.clear()\ndef build(): return 3\n",
            ":build",
            ClassifierError,
            "returned an object of type int",
        ),
        ("def build(: pass\n", ":build", ClassifierError, "cannot be run: SyntaxError"),
        ("def build(): pass\n", ":biuld", InputError, "Did you mean 'build'"),
        ("def build(): pass\n", "", InputError, "add the function"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, text: str, spec: str, error: type[Exception], message: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(error, match=message):
        uf.classifiers.load(f"{file}{spec}")


def test_what_underfire_refuses_in_a_users_file_keeps_its_own_words(tmp_path: Path) -> None:
    build = "import torch, underfire\ndef build(): return underfire.Classifier(torch.nn.Linear(2, 2), mean=(0.5,))\n"
    with pytest.raises(InputError) as said:
        uf.Classifier(torch.nn.Linear(2, 2), mean=(0.5,))
    for text in (build, f"{build}build()\n"):
        with pytest.raises(InputError) as met:
            uf.classifiers.load(f"{write(tmp_path, text)}:build")
        assert str(met.value) == str(said.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        uf.classifiers.load(f"{tmp_path / 'no.py'}:build")


def test_a_network_of_another_package_without_its_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed packages are asked for the name. For misspelled names of shipped classifiers, none is imported."""
    from underfire.classifiers.sources import timm_models, torchvision_models

    asked = []

    def knows(name: str) -> bool:
        asked.append(name)
        return name == "resnet50"

    def missing(name: str) -> bool:
        raise InputError("timm is not installed.")

    monkeypatch.setattr(torchvision_models, "knows", knows)
    monkeypatch.setattr(timm_models, "knows", knows)
    with pytest.raises(InputError, match="Did you mean 'torchvision:resnet50' or 'timm:resnet50'"):
        uf.classifiers.load("ResNet50")
    monkeypatch.setattr(timm_models, "knows", missing)
    with pytest.raises(InputError, match="Did you mean 'torchvision:resnet50'\\?"):
        uf.classifiers.load("resnet50")
    with pytest.raises(InputError, match=r"unknown classifier 'qqq'\. Known:"):
        uf.classifiers.load("qqq")
    asked.clear()
    with pytest.raises(InputError, match="Did you mean 'digits-resnet'"):
        uf.classifiers.load("digit-resnet")
    assert not asked


def test_the_number_of_classes_of_a_network_that_is_there_cannot_be_chosen() -> None:
    with pytest.raises(InputError, match=r"classes is 7 \(7 classes\), and 'digits-resnet' has 10"):
        uf.classifiers.load("digits-resnet", classes=7)
    named = uf.classifiers.load("digits-resnet", classes=10)
    assert named.logits(torch.rand(1, 1, 16, 16)).shape == (1, 10)


class Point:
    """An entry point of an installed package."""

    def __init__(self, name: str, offered: object) -> None:
        self.name, self.value, self.offered = name, f"lab.models:{name}", offered

    def load(self) -> object:
        return self.offered


@pytest.fixture
def offers(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The functions that installed packages offer, by prefix; a test fills in some."""
    offered: dict[str, object] = {}

    def entry_points(*, group: str) -> list[Point]:
        return [Point(*item) for item in offered.items()] if group == "underfire.classifiers" else []

    monkeypatch.setattr("underfire.registry.entry_points", entry_points)
    return offered


def test_a_package_offers_classifiers_under_a_prefix(offers: dict[str, object]) -> None:
    asked: list[tuple[str, Options]] = []

    def find(name: str, options: Options) -> Source:
        asked.append((name, options))
        return Source(tiny_network(classes=options.class_count or 4), name=name, mean=(0.5,) * 3, std=(0.25,) * 3)

    offers["lab"] = find
    classifier = uf.classifiers.load("lab:some/net", classes=7, std=(0.5,) * 3, mean=(0.1,) * 3)
    assert (classifier.name, classifier.mean, classifier.std) == ("some/net", (0.1,) * 3, (0.5,) * 3)
    assert classifier.logits(torch.rand(1, 3, 16, 16)).shape == (1, 7)
    assert uf.classifiers.load("lab:net").mean == (0.5,) * 3
    uf.classifiers.load("lab:net:random")
    assert asked[2] == ("net", Options(weights="random"))
    assert list(SOURCES) == ["torchvision", "timm", "hf", "lab"]
    with pytest.raises(InputError, match=r"unknown classifier 'lob:net'.*lab:NAME"):
        uf.classifiers.load("lob:net")


def test_a_package_may_offer_networks_and_classifiers_as_they_are(offers: dict[str, object]) -> None:
    whole = uf.Classifier(tiny_network(), name="whole")
    offers["module"] = lambda name, options: tiny_network()
    offers["classifier"] = lambda name, options: whole
    offers["number"] = lambda name, options: 3
    offers["nothing"] = 3
    assert uf.classifiers.load("module:net").name == "net"
    assert uf.classifiers.load("classifier:net") is whole
    assert uf.classifiers.load("classifier:net", image_size=16).image_size == (16, 16)
    with pytest.raises(ClassifierError, match=r"number:net returned an object of type int; expected an underfire"):
        uf.classifiers.load("number:net")
    with pytest.raises(InputError, match=r"'entry point lab\.models:nothing'.*expected a function"):
        uf.classifiers.load("nothing:net")
