"""torchvision's networks: transforms, class names, a broken compiled extension, checks and attacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import underfire as uf
from tests.classifiers.sources.models import PHOTOS, attack, package
from underfire.check import run_check, trials
from underfire.data import Resizing
from underfire.errors import InputError
from underfire.interpreters import REGISTRY
from underfire.runs.inputs import InputSettings


@pytest.mark.parametrize(("name", "interpreter"), [("resnet50", "cam"), ("densenet169", "cam")])
def test_networks_of_the_papers(name: str, interpreter: str) -> None:
    package("torchvision")
    classifier = uf.classifiers.load(f"torchvision:{name}:random", image_size=64)
    assert (classifier.name, len(classifier.class_names or ())) == (name, 1000)
    assert (classifier.class_names or ())[:2] == ("tench", "goldfish")
    attack(classifier, interpreter)


def test_the_transforms_are_those_of_the_weights() -> None:
    package("torchvision")
    second = uf.classifiers.load("torchvision:resnet50:random")
    assert (second.image_size, second.resizing) == ((224, 224), Resizing(232, "bilinear"))
    assert second.mean == (0.485, 0.456, 0.406)
    # At another size, in proportion: 232 / 224 * 56 = 58.
    assert uf.classifiers.load("torchvision:resnet18:random", image_size=56).resizing == Resizing(64, "bilinear")
    asked = uf.classifiers.load("torchvision:resnet18:random", image_size=(37, 53), resize=60, interpolation="bicubic")
    assert (asked.image_size, asked.resizing) == ((37, 53), Resizing(60, "bicubic"))


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (231, 517), (40, 90), (224, 224)])
def test_images_are_prepared_to_the_bit_as_torchvision_does(size: tuple[int, int]) -> None:
    transforms = package("torchvision").models.get_model_weights("resnet50").DEFAULT.transforms()
    transforms.mean, transforms.std = [0.0] * 3, [1.0] * 3
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (*size[::-1], 3), dtype=torch.uint8)
    image = Image.fromarray(pixels.numpy())
    expected = (transforms(image) * 255).round().to(torch.uint8)
    assert torch.equal(uf.data.prepare(image, (224, 224), 3, Resizing(232, "bilinear")), expected)


def test_random_weights_are_the_same_each_time_and_disturb_nobody() -> None:
    package("torchvision")
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one = uf.classifiers.load("torchvision:squeezenet1_1:random", classes=4)
    assert torch.equal(torch.rand(3), expected)
    two = uf.classifiers.load("torchvision:squeezenet1_1", weights="random", classes=4)
    assert all(torch.equal(a, b) for a, b in zip(one.module.parameters(), two.module.parameters(), strict=True))
    assert one.logits(torch.rand(1, 3, 64, 64)).shape == (1, 4)
    assert one.class_names is None


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("torchvision:resnet5", {}, "Did you mean 'resnet50'"),
        ("torchvision:fasterrcnn_resnet50_fpn", {}, "unknown torchvision classifier"),
        ("torchvision:resnet18", {"weights": "IMAGENET1K_V9"}, "Known: DEFAULT, IMAGENET1K_V1"),
        ("torchvision:resnet18", {"classes": 10}, "classes is 10, and torchvision's weights for resnet18 have 1000"),
        ("torchvision:resnet18:random", {"weights": "DEFAULT"}, "drop one"),
        ("torchvision:resnet18", {"weights": "nowhere.pth"}, "'nowhere.pth' does not exist"),
        ("torchvision:resnet18:random", {"resize": 20}, "resize is 20, smaller than the image size 224 x 224"),
    ],
)
def test_what_cannot_be_had(spec: str, options: dict[str, Any], message: str) -> None:
    package("torchvision")
    with pytest.raises(InputError, match=message):
        uf.classifiers.load(spec, **options)


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    models = package("torchvision").models

    def refuse(*_: object, **options: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(models, "get_model", refuse)
    with pytest.raises(InputError, match=r"cannot be downloaded \(Name or .*resnet18-\w+\.pth.*--weights FILE"):
        uf.classifiers.load("torchvision:resnet18")


def test_it_imports_beside_a_broken_extension() -> None:
    """In a fresh process, where no operator is declared yet. If the real import works, nothing breaks either."""
    package("torchvision")
    code = (
        "from underfire.classifiers.sources import packages\n"
        "models = packages.torchvision().models\n"
        "assert packages.torchvision().models is models\n"
        "import torch, torchvision.transforms\n"
        "assert models.resnet18(num_classes=3).eval()(torch.rand(1, 3, 32, 32)).shape == (1, 3)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


FAKE = """
import torch
if not hasattr(torch.ops.torchvision, "nms"):
    raise RuntimeError("in words that nobody reads")
"""


@pytest.mark.parametrize(("source", "works"), [(FAKE, True), ("raise RuntimeError('its own trouble')", False)])
def test_operators_are_declared_where_they_are_missing(tmp_path: Path, source: str, works: bool) -> None:
    """The remedy depends on which operators are missing, not on the text of the error. Other errors stay errors."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(source)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from underfire.classifiers.sources import packages\n"
        "from underfire.errors import InputError\n"
        "for _ in range(2):\n"
        "    try:\n"
        "        packages.torchvision(); sys.stdout.write('works ')\n"
        "    except InputError as error:\n"
        "        sys.stdout.write(f'{error} ')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == 2 * ("works " if works else "torchvision cannot be imported: its own trouble ")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(InputError, match=r"torchvision is not installed.*underfire\[vision\]"):
        uf.classifiers.load("torchvision:resnet18")


def test_photos_by_wordnet_id_are_in_the_networks_order_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    package("torchvision")
    slow = {"mask", "smoothgrad", "ig", "metfa", "sparsified"}  # many passes each, and tried on other networks
    monkeypatch.setattr(trials, "REGISTRY", {name: made for name, made in REGISTRY.items() if name not in slow})
    if not PHOTOS.is_dir():
        pytest.skip("the shared photos are not there")
    config = InputSettings.create(
        data=str(PHOTOS), classifier="torchvision:squeezenet1_1:random", image_size="64", features="features"
    )
    inputs = config.open(torch.device("cpu"))
    first = inputs.data.record(0)
    assert (inputs.classifier.class_names or ())[first.label] == first.image_id.split("_")[-1].split(".")[0] == "tench"
    found = run_check(config, 4, torch.device("cpu"))
    failed = {trial.name for trial in found.trials if not trial.works}
    # Its head is no linear layer, no masker ships for it, and it is no transformer.
    assert failed == {"cam", "rts", "attention", "rollout", "chefer", "chefer-lrp"}
    assert {"grad", "gradcam", "lrp", "layercam"} <= {trial.name for trial in found.trials}


@pytest.mark.parametrize("inside", [False, True])
def test_a_file_of_the_users_may_import_a_torchvision_that_does_not_fit(tmp_path: Path, inside: bool) -> None:
    """Regression: "model.py cannot be run: RuntimeError: operator torchvision::nms does not exist"."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(FAKE)
    network = "torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 3))"
    first, later = ("", "    import torchvision\n") if inside else ("import torchvision\n", "")
    (tmp_path / "model.py").write_text(f"import torch\n{first}def build():\n{later}    return {network}\n")
    (tmp_path / "other.py").write_text("def build():\n    raise KeyError('mine')\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import underfire as uf\n"
        f"print(uf.classifiers.load({str(tmp_path / 'model.py:build')!r}, channels=3, image_size=4).channels)\n"
        "try:\n"
        f"    uf.classifiers.load({str(tmp_path / 'other.py:build')!r})\n"
        "except uf.errors.UserCodeError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("3\n"), done.stderr
    assert "other.py:build failed: KeyError: 'mine'" in done.stdout
