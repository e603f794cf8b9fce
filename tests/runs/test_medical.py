"""The medical use case of ADV2, as its how-to shows it: HAM10000's layout, an own checkpoint, balanced classes."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import underfire as uf
from tests.classifiers.sources.models import package
from tests.runs.runs import Command, Written

PAGE = (Path(__file__).parents[2] / "docs" / "howto-medical.md").read_text(encoding="utf-8")
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
NUMBERS = {"akiec": 3, "bcc": 3, "bkl": 3, "df": 1, "mel": 3, "nv": 12, "vasc": 3}
SHORT, SIDE = 36, 32
"""The sizes in place of 450 and 224."""


def lesion(number: int, label: int) -> Image.Image:
    """A spot on skin, 48 x 36 pixels; its colour tells the class."""
    generator = np.random.default_rng(number)
    pixels = np.full((SHORT, 48, 3), (220, 180, 160), dtype=np.float64) + generator.normal(0, 4, (SHORT, 48, 3))
    rows, columns = np.mgrid[:SHORT, :48]
    spot = (rows - 18) ** 2 + (columns - 24) ** 2 < 11**2
    pixels[spot] = [(label & 1) * 150 + 40, (label >> 1 & 1) * 150 + 40, (label >> 2 & 1) * 150 + 40]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def write_ham(root: Path, numbers: dict[str, int], scale: int = 1) -> Path:
    """A folder in HAM10000's layout: its table is by lesion, its images lie in two folders."""
    lines = ["lesion_id,image_id,dx,dx_type,age,sex,localization"]
    wanted = [name for name, count in numbers.items() for _ in range(count)]
    for number, name in enumerate(wanted):
        folder = root / f"HAM10000_images_part_{1 + number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        picture = lesion(number, CLASSES.index(name))
        picture = picture.resize((scale * picture.width, scale * picture.height))
        picture.save(folder / f"ISIC_{24306 + number:07d}.jpg", quality=95)
        lines.append(f"HAM_{number // 2:07d},ISIC_{24306 + number:07d},{name},histo,{40 + number},male,back")
    (root / "HAM10000_metadata.csv").write_text("\n".join(lines) + "\n")
    return root


def smaller(text: str, scale: int = 1) -> str:
    """The how-to's commands and file, for pictures of 48 x 36 pixels (times ``scale``) and in a few steps."""
    text = text.replace("450", str(scale * SHORT)).replace("224", str(scale * SIDE))
    return text.replace("--count 70", "--count 14 --steps 2,4 --no-page") if "attack" in text else text


def own_file() -> str:
    (found,) = re.findall(r"^```python\n(# my_lesions\.py\n.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return smaller(found)


def command_lines(*parts: str, scale: int = 1) -> list[list[str]]:
    lines = re.findall(r"^underfire .*$", PAGE.replace("\\\n", ""), re.MULTILINE)
    return [shlex.split(smaller(line, scale))[1:] for line in lines if any(part in line for part in parts)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data, the user's file, and a checkpoint as a training script writes it."""
    place = tmp_path_factory.mktemp("medical")
    write_ham(place / "ham10000", NUMBERS)
    (place / "my_lesions.py").write_text(own_file())
    spec = importlib.util.spec_from_file_location("my_lesions_to_train", place / "my_lesions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    torch.manual_seed(0)
    spec.loader.exec_module(module)
    classifier = module.build()
    data = uf.data.open_data(str(place / "ham10000")).load((SIDE, SIDE), resizing=classifier.resizing)
    network = classifier.module.requires_grad_(True).train()
    optimiser = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(150):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(data.images), data.labels).backward()
        optimiser.step()
    right = network(data.images).argmax(1) == data.labels
    assert bool(right.all())
    torch.save({"epoch": 3, "state_dict": network.state_dict()}, place / "lesions.pt")
    return place


def test_the_how_to_runs(place: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    monkeypatch.chdir(place)
    monkeypatch.delitem(sys.modules, "my_lesions", raising=False)
    for words in command_lines("my_lesions.py", "underfire report"):
        ended = command(*words)
        assert ended.code == 0, ended.err
        if words[0] == "check":
            assert "HAM10000 metadata, 7 classes, 28 images" in " ".join(ended.out.split())
    assert "By class" in ended.out
    written = Written(place / "runs" / "lesions")
    rows = written.of("adv2")
    assert all(row["correct_before"] for row in rows)
    taken = Counter(CLASSES[row["label"]] for row in rows)
    assert sum(taken.values()) == 14
    assert taken.pop("df") == 1
    assert sorted(taken.values()) == [2, 2, 2, 2, 2, 3]
    assert {Path(row["path"]).parent.name for row in rows} == {f"HAM10000_images_part_{n}" for n in (1, 2)}
    (block,) = [b for b in re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE) if "by_class" in b]
    exec(compile(block, "howto-medical.md", "exec"), {})
    by_class = uf.Run("runs/lesions").by_class()
    assert {entry["class_name"]: entry["n"] for entry in by_class} == {**taken, "df": 1}


def test_the_images_are_the_centres_of_the_files(place: Path) -> None:
    """No pixel is resized, and none is normalised before it is judged."""
    classifier = uf.classifiers.load(f"{place / 'my_lesions.py'}:build", weights=str(place / "lesions.pt"))
    data = uf.data.open_data(str(place / "ham10000"))
    batch = data.load(classifier.image_size, classifier.channels, resizing=classifier.resizing)
    for record, image in zip(batch.records, batch.images, strict=True):
        with Image.open(record.path) as file:
            centre = torch.from_numpy(np.array(file)[2 : 2 + SIDE, 8 : 8 + SIDE]).permute(2, 0, 1)
        assert torch.equal(image, centre.float() / 255)
    assert torch.allclose(classifier.logits(batch.images), classifier.module(batch.images), atol=1e-5)


def test_a_resnet50_checkpoint_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    """Random weights call every picture the same, so that all get the class that the network says."""
    torchvision = package("torchvision")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    network = torchvision.models.resnet50(weights=None, num_classes=len(CLASSES)).eval()
    torch.save({"model": network.state_dict()}, "resnet50.pt")
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    write_ham(tmp_path / "ham10000", {"nv": 3, "mel": 3}, scale=2)  # smaller ones would leave features of one cell
    batch = uf.data.open_data("ham10000").load((2 * SIDE, 2 * SIDE), resizing=uf.data.Resizing(2 * SHORT))
    said = {
        Path(record.path).stem: CLASSES[label]
        for record, label in zip(batch.records, network(batch.images).argmax(1).tolist(), strict=True)
    }
    table = tmp_path / "ham10000" / "HAM10000_metadata.csv"
    lines = [line.split(",") for line in table.read_text().splitlines()]
    table.write_text("\n".join(",".join([a, b, said.get(b, c), *rest]) for a, b, c, *rest in lines) + "\n")
    (words,) = command_lines("resnet50.pt", scale=2)
    ended = command(*words, "--count", "2", "--steps", "1,1", "--batch-size", "2")
    assert ended.code == 0, ended.err
    (entry, *_) = uf.Run("runs/resnet50").by_class()
    assert entry["class_name"] in said.values()
    assert len(Written(tmp_path / "runs" / "resnet50").of("adv2")) == 2
