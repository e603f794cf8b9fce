"""Wrong input: exit code 2 and one paragraph that says what to change, or a warning where a run can go on."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.runs.runs import Command, Written, options, write_digits


def check_refused(ended: Any, *said: str) -> None:
    """One paragraph on stderr, nothing on stdout, no traceback."""
    assert ended.code == 2, ended.err
    assert ended.out == ""
    assert "Traceback" not in ended.err
    assert ended.err.startswith("error: ")
    assert "\n\n" not in ended.err.strip()
    assert not re.search("[│╭╰]", ended.err)
    for part in said:
        assert part in ended.said, ended.said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": "digitz:test"}, ["digitz:test", "Did you mean"]),
        ({"data": "digit"}, ["unknown data set 'digit'", "Did you mean 'digits'"]),
        ({"data": "no/such/folder"}, ["no/such/folder", "does not exist"]),
        ({"classifier": "digit-resnet"}, ["unknown classifier", "Did you mean 'digits-resnet'"]),
        ({"classifier": "nowhere.py:build"}, ["nowhere.py", "does not exist"]),
        ({"interpreter": "camm"}, ["unknown interpreter 'camm'", "Did you mean 'cam'"]),
        ({"interpreter": ["cam", "grat"]}, ["unknown interpreter 'grat'", "Did you mean 'grad'"]),
        ({"interpreter": ["cam", "cam"]}, ["interpreter has 'cam' twice in cam, cam; each can be given once."]),
        ({"interpreter": "grad,Grad-CAM,gradcam"}, ["has 'gradcam' twice", "each can be given once."]),
        ({"interpreter": "integrated-gradients"}, ["Did you mean 'ig'?"]),
        ({"perturbation": "linf"}, ["unknown perturbation 'linf'", "Did you mean 'pgd'?"]),
        ({"perturbation": "L2"}, ["Did you mean 'cw'?"]),
        ({"perturbation": "c&w"}, ["Did you mean 'cw'?"]),
        ({"perturbation": "carlini"}, ["Did you mean 'cw'?"]),
        ({"attack": "adv3"}, ["unknown attack 'adv3'", "Did you mean 'adv2'", "bim", "pgd"]),
        ({"target_class": "least-likly"}, ["unknown target_class", "Did you mean 'least-likely'"]),
        ({"target_class": "10"}, ["target_class is class 10", "0..9"]),
        ({"target_class": "-1"}, ["unknown target_class '-1'", "0..9"]),
        ({"eps": "0"}, ["eps is 0", "0 < eps <= 1"]),
        ({"eps": "8/255", "perturbation": "cw"}, ["eps is 0.03", "cw has no ball", "noise_eps"]),
        ({"eps": "8/255", "attack": "stadv"}, ["eps is 0.03", "stadv has no ball"]),
        ({"eps": "2"}, ["eps is 2", "0 < eps <= 1"]),
        ({"eps": "8"}, ["eps is 8;", "Did you mean 8/255?"]),
        ({"eps": "-8/255"}, ["0 < eps <= 1"]),
        ({"eps": "abc"}, ["eps is 'abc'", "8/255"]),
        ({"eps": "8/0"}, ["eps is '8/0'"]),
        ({"eps": "1e999"}, ["eps is '1e999'"]),
        ({"eps": "0.003"}, ["eps is 0.003", "one 8-bit level"]),
        ({"steps": "x"}, ["steps is 'x'", "WARMUP,JOINT"]),
        ({"steps": "40"}, ["steps is '40'", "WARMUP,JOINT"]),
        ({"steps": "1,2,3"}, ["steps is '1,2,3'"]),
        ({"steps": "-1,4"}, ["steps is (-1, 4)"]),
        ({"steps": "0,0"}, ["steps is (0, 0)"]),
        ({"count": 0}, ["count is 0; expected at least 1 image."]),
        ({"count": "many"}, ["count is 'many'; expected a whole number."]),
        ({"seed": 2**70}, ["seed is", "; expected at most 9223372036854775807."]),
        ({"batch_size": 0}, ["batch_size is 0; expected at least 1."]),
        ({"batch_size": "-8"}, ["batch_size is -8; expected at least 1."]),
        ({"batch_size": "²"}, ["batch_size is '²'; expected a whole number."]),
        ({"device": "cuda:99"}, ["device is 'cuda:99'; expected one of auto, cpu"]),
        ({"device": "quantum"}, ["device is 'quantum'; expected one of auto, cpu"]),
        ({"classes": 7}, ["classes is 7", "has 10"]),
        ({"features": "nosuch"}, ["unknown module of the classifier for its features 'nosuch'", "Known: "]),
        ({"std": "0"}, ["std is (0.0,), and mean is not given"]),
        ({"resize": 0}, ["resize is 0; expected at least 1."]),
        ({"precision": "int4"}, ["precision is 'int4'", "bf16"]),
        ({"variant": "papers"}, ["unknown variant 'papers'", "Did you mean 'paper'", "published"]),
        ({"data": None}, ["--data", "underfire attack --help"]),
        ({"out": None}, ["--out"]),
        ({"cuont": "4"}, ["--cuont", "--count"]),
    ],
)
def test_wrong_values(command: Command, tmp_path: Path, changes: dict[str, Any], said: list[str]) -> None:
    out = tmp_path / "out"
    ended = command(*options(**({"out": out} | changes)))
    check_refused(ended, *said)
    assert not re.search("Input should|Value error|[?]\\.", ended.said), "in words of our own"
    assert not out.exists(), "a run that cannot begin leaves no folder"


def test_unknown_commands_and_recipes(command: Command, tmp_path: Path) -> None:
    check_refused(command("atack"), "Did you mean 'attack'? See underfire --help.")
    check_refused(
        command("train", "classifier", "--recipe", "digit-resnet", "--out", tmp_path), "Did you mean 'digits-resnet'"
    )


def test_data_without_images(command: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    check_refused(command(*options(data=tmp_path / "empty", out=tmp_path / "out")), "is an empty folder")
    (tmp_path / "classes" / "cat").mkdir(parents=True)
    check_refused(command(*options(data=tmp_path / "classes", out=tmp_path / "out")), "no images")


def test_an_unreadable_image_is_named_skipped_and_counted(command: Command, tmp_path: Path) -> None:
    table = write_digits(tmp_path / "data", range(6))
    (tmp_path / "data" / "pictures" / "002.png").write_bytes(b"not a picture")
    (tmp_path / "data" / "pictures" / "004.png").unlink()
    ended = command(*options(data=table, count=None, out=tmp_path / "out"))
    assert ended.code == 0
    assert "warning: 2 images of " in ended.said
    assert "002.png is not an image" in "".join(ended.err.split("\n")) or "002.png" in ended.err
    assert "2 could not be read" in " ".join(ended.out.split())
    written = Written(tmp_path / "out")
    assert [Path(entry["path"]).name for entry in written.summary["images"]["unreadable"]] == ["002.png", "004.png"]
    assert written.summary["images"]["considered"] == 4
    assert {row["image_id"] for row in written.rows} == {f"pictures/00{index}.png" for index in (0, 1, 3, 5)}


def test_only_images_before_the_last_attacked_one_are_reported(command: Command, tmp_path: Path) -> None:
    table = write_digits(tmp_path / "data", range(6))
    for name in ("001", "004"):
        (tmp_path / "data" / "pictures" / f"{name}.png").write_bytes(b"not a picture")
    assert command(*options(data=table, count=2, out=tmp_path / "out")).code == 0
    unreadable = Written(tmp_path / "out").summary["images"]["unreadable"]
    assert [Path(entry["path"]).name for entry in unreadable] == ["001.png"]


def test_no_image_can_be_read(command: Command, tmp_path: Path) -> None:
    table = write_digits(tmp_path / "data", range(3))
    for picture in (tmp_path / "data" / "pictures").iterdir():
        picture.write_bytes(b"")
    check_refused(command(*options(data=table, out=tmp_path / "out")), "none of the 3 images", "can be read")


def write_model(folder: Path, change: str) -> str:
    """A classifier file: digits-resnet with something wrong."""
    lines = [
        "import torch, underfire as uf",
        "def build():",
        "    made = uf.classifiers.load('digits-resnet')",
        "    head = made.module.head",
        "    with torch.no_grad():",
        f"        {change}",
        "    return made",
    ]
    (folder / "model.py").write_text("\n".join(lines) + "\n")
    return f"{folder / 'model.py'}:build"


def test_a_classifier_that_gets_nothing_right(command: Command, tmp_path: Path, digits_table: Path) -> None:
    """Its classes are in another order: of 14 digits not one is where it belongs, and nothing is attacked."""
    roll = "head.weight.copy_(head.weight.roll(2, 0)); head.bias.copy_(head.bias.roll(2, 0))"
    model = write_model(tmp_path, roll)
    ended = command(*options(data=digits_table, classifier=model, count=None, out=tmp_path / "out"))
    check_refused(ended, "none of the 14 images", "classified correctly", "classifier's order", "normalisation")
    assert not (tmp_path / "out").exists()


def test_a_classifier_near_chance_is_warned_of(command: Command, tmp_path: Path) -> None:
    """It nearly always says 4, which is right for four of the 14 digits."""
    table = write_digits(tmp_path / "data", range(14))
    model = write_model(tmp_path, "head.weight.mul_(1e-3); head.bias.zero_(); head.bias[4] = 1")
    ended = command(*options(data=table, classifier=model, count=None, out=tmp_path / "out"))
    assert ended.code == 0
    assert "warning: only 4 of 14 images are classified correctly, which is near chance" in ended.said
    summary = Written(tmp_path / "out").summary
    assert summary["images"]["attacked"] == 4
    assert summary["interpreters"]["cam"]["attacks"]["adv2"]["success_over_all_images"]["n"] == 14
    good = command(*options(data=table, count=None, out=tmp_path / "good"))
    assert "chance" not in good.err


def test_a_classifier_that_fails_on_the_images(command: Command, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(
        "import torch\ndef build():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(7, 10))\n"
    )
    ended = command(*options(classifier=f"{tmp_path / 'model.py'}:build", out=tmp_path / "out"))
    check_refused(ended, "fails on images of 3 x 8 x 8", "image_size")


def test_an_image_that_vanishes_during_the_run(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from underfire.runs import shards

    table = write_digits(tmp_path / "data", range(3))
    original = shards.attack_shard

    def vanish(*arguments: Any) -> Any:
        shutil.rmtree(tmp_path / "data" / "pictures")
        return original(*arguments)

    monkeypatch.setattr("underfire.runs.work.attack_shard", vanish)
    check_refused(command(*options(data=table, count=None, out=tmp_path / "out")), "could be read when the run began")


def test_a_run_that_cannot_begin_leaves_the_folders_that_were_there(command: Command, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    wrong = options(data="no/such/folder", out=tmp_path / "runs" / "a" / "b")
    check_refused(command(*wrong), "does not exist")
    assert not list((tmp_path / "runs").iterdir())
    check_refused(command(*options(data="no/such/folder", out=tmp_path / "runs")), "does not exist")
    assert (tmp_path / "runs").is_dir()


def test_an_output_folder_that_is_a_file(command: Command, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    check_refused(command(*options(out=tmp_path / "notes.txt")), "is a file; give a folder.")
    words = ["train", "classifier", "--recipe", "digits-resnet", "--out", tmp_path / "notes.txt"]
    check_refused(command(*words), "is a file; give a folder.")
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("words", [["attack", "--out", "no"], ["check"], ["explain", "--out", "no"]])
def test_no_images_at_all(command: Command, words: list[str]) -> None:
    """The same words wherever images are counted."""
    ended = command(*words, "--data", "digits:test", "--classifier", "digits-resnet", "--count", 0)
    check_refused(ended, "error: count is 0; expected at least 1 image.")


def test_one_image_is_sent_to_explain(command: Command, tmp_path: Path) -> None:
    write_digits(tmp_path / "data", range(1))
    photo = tmp_path / "data" / "pictures" / "000.png"
    check_refused(command(*options(data=photo, out=tmp_path / "out")), "is one image", "underfire explain --data")


def test_classes_that_a_file_s_network_does_not_have(command: Command, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    (tmp_path / "model.py").write_text(
        "import underfire as uf\ndef build():\n    return uf.classifiers.load('digits-resnet').module\n"
    )
    for classes in ("7", tmp_path / "names.txt"):
        changes = {"classifier": f"{tmp_path / 'model.py'}:build", "image_size": 16, "classes": classes}
        check_refused(command(*options(**changes, out=tmp_path / "out")), "classes is", "has 10 outputs")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            KeyError("lost"),
            "unexpected KeyError: 'lost'. It should have been said in plain words: please report it with",
        ),
        (RuntimeError("a (4) must\nmatch b (2)"), "unexpected RuntimeError: a (4) must match b (2)."),
        (torch.OutOfMemoryError("full"), "out of memory: full. Fewer images at once need less of it: --batch-size"),
    ],
)
def test_an_error_that_nobody_expected_is_one_paragraph(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def fails(*given: Any, **named: Any) -> None:
        raise error

    monkeypatch.setattr("underfire.runs.inputs.InputSettings.create", fails)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = command("train", "rts", "--classifier", "digits-resnet", "--data", "digits", "--out", tmp_path / "out")
    assert ended.code == 1
    assert ended.err.startswith("error: ")
    assert "Traceback" not in ended.err
    assert said in ended.said
    for file in tmp_path.glob("underfire-*.txt"):
        assert file.name in "".join(ended.err.split())  # the terminal breaks long paths
        assert "Traceback" in file.read_text()
        assert "train rts --classifier digits-resnet" in file.read_text()
