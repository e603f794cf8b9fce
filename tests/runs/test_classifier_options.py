"""What is said about a classifier on the command line belongs to the run: recorded, used, and the same on resuming."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import underfire as uf
from tests.runs.runs import Command, Written, make_command, options, write_digits
from underfire.runs import RunConfig

MODEL = (
    "import underfire as uf\n"
    "def build(): return uf.classifiers.load('digits-resnet').module\n"
    "def untrained():\n"
    "    network = build()\n"
    "    for value in network.parameters(): value.data.zero_()\n"
    "    return network\n"
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model.py").write_text(MODEL)
    return tmp_path / "model.py"


def test_a_run_with_everything_said_equals_the_shipped_one(command: Command, tmp_path: Path, model: Path) -> None:
    torch.save({"state_dict": uf.classifiers.load("digits-resnet").module.state_dict()}, tmp_path / "net.pth")
    said = {
        "classifier": f"{model}:untrained",
        "weights": tmp_path / "net.pth",
        "mean": "0.305",
        "std": "0.345",
        "image_size": "16",
        "classes": 10,
    }
    assert command(*options(out=tmp_path / "said", **said)).code == 0
    assert command(*options(out=tmp_path / "shipped")).code == 0
    mine, shipped = Written(tmp_path / "said"), Written(tmp_path / "shipped")
    assert all(torch.equal(value, shipped.maps[name]) for name, value in mine.maps.items())
    assert mine.run["classifier_sha256"] == shipped.run["classifier_sha256"]
    expected = {"image_size": [16, 16], "resize": None, "interpolation": "bicubic", "channels": 1}
    assert mine.run["preparation"] == shipped.run["preparation"] == {**expected, "mean": [0.305], "std": [0.345]}
    configuration = mine.run["configuration"]
    assert (configuration["mean"], configuration["image_size"], configuration["classes"]) == ([0.305], [16, 16], "10")
    assert RunConfig.from_values(configuration).to_dict() == configuration


def test_another_preparation_is_another_run(command: Command, tmp_path: Path) -> None:
    assert command(*options(out=tmp_path / "out")).code == 0
    again = command(*options(out=tmp_path / "out", resize=20, resume=True))
    assert again.code == 2
    assert "resize was None, is 20" in again.said


def test_the_class_map_puts_labels_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = make_command(monkeypatch, capsys)
    table = write_digits(tmp_path / "data", range(8))
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    lines = [line.split(",") for line in table.read_text().splitlines()[1:]]
    table.write_text("file,label\n" + "".join(f"{file},{words[int(label)]}\n" for file, label in lines))
    (tmp_path / "map.csv").write_text("name,class\n" + "".join(f"{word},{n}\n" for n, word in enumerate(words)))
    ended = command(*options(data=table, class_map=tmp_path / "map.csv", count=None, out=tmp_path / "out"))
    assert ended.code == 0, ended.err
    rows = {Path(row["image_id"]).stem: row["label"] for row in Written(tmp_path / "out").of("clean")}
    assert rows == {Path(file).stem: int(label) for file, label in lines}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mean": "0.1,x", "std": "1"}, "mean is '0.1,x'; expected one number per channel"),
        ({"mean": "0.1"}, "mean is (0.1,), and std is not given: give both"),
        ({"image_size": "16x16x3"}, "image-size is '16x16x3'; expected 224, or HEIGHTxWIDTH"),
        ({"image_size": "0"}, "image-size is '0'"),
        ({"resize": 8}, "resize is 8, smaller than the image size 16 x 16"),
        ({"interpolation": "cubic"}, "Did you mean 'bicubic'"),
        ({"weights": "trained"}, "'digits-resnet' has its own, so expected a file"),
        ({"classifier": "digits-resnet:random", "weights": "IMAGENET1K_V1"}, "asks for random weights, and weights is"),
        ({"weights": "none.pth"}, "weights file 'none.pth' does not exist"),
        ({"classes": "some"}, "classes is 'some'; expected a number, or a text file"),
        ({"channels": 0, "mean": None}, "channels is 0; expected a positive whole number"),
        ({"weights_key": "ema"}, "weights-key is 'ema', and weights is None; expected a file"),
        ({"class_map": "none.json"}, "class map none.json cannot be read"),
    ],
)
def test_wrong_values(command: Command, tmp_path: Path, changes: dict[str, object], said: str) -> None:
    ended = command(*options(out=tmp_path / "out", **changes))
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.said
