"""``underfire explain``: its files hold the predictions of the classifier and the maps of the interpreters."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import underfire as uf
from tests.runs.runs import MISLABELLED, Command, make_command, write_digits
from underfire.drawing.pictures import colour, fitted, overlay
from underfire.errors import InputError, StoreError
from underfire.reports.explain import classes_to_explain
from underfire.reports.explained import ExplainedFolder


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return make_command(monkeypatch, capsys)


def words(out: Path, *more: str, data: str = "digits:test") -> list[str]:
    return ["explain", "--data", data, "--classifier", "digits-resnet", "--out", str(out), *more]


def test_files_hold_honest_maps_of_right_and_wrong_images(command: Command, tmp_path: Path) -> None:
    shown = [MISLABELLED - 1, MISLABELLED]
    table = write_digits(tmp_path / "data", shown)
    ended = command(*words(tmp_path / "out", "--interpreter", "cam", "--interpreter", "grad", data=str(table)))
    assert ended.code == 0, ended.err
    assert "2 images, 1 of them classified correctly." in ended.out
    content = json.loads((tmp_path / "out" / "maps.json").read_text())
    maps = load_file(tmp_path / "out" / "maps.safetensors")

    classifier = uf.classifiers.load("digits-resnet")
    batch = uf.data.open_data(table).load((16, 16), 1)
    probability, predicted = classifier.logits(batch.images).softmax(1).max(1)
    assert [entry["label"] == entry["predicted"] for entry in content["images"]] == [True, False]
    assert len(maps) == 4
    for row, (image_id, entry) in enumerate(zip(batch.ids, content["images"], strict=True)):
        assert (entry["image_id"], entry["label"]) == (image_id, int(batch.labels[row]))
        assert (entry["predicted"], entry["explained"]) == (int(predicted[row]), int(predicted[row]))
        assert entry["confidence"] == pytest.approx(float(probability[row]))
        saved = np.array(Image.open(tmp_path / "out" / entry["image"]))
        assert (saved == (batch.images[row, 0] * 255).round().numpy()).all()
        for name in ("cam", "grad"):
            honest = uf.interpreters.create(name).maps(classifier, batch.images, predicted)[row]
            assert torch.allclose(maps[f"{name}/{image_id}"], honest, atol=1e-6)
            drawn = np.array(Image.open(tmp_path / "out" / entry["overlays"][name]))
            assert (drawn == overlay(fitted(colour(saved), 128), honest.numpy())).all()


def test_later_images_replace_broken_ones(command: Command, tmp_path: Path) -> None:
    """``--count`` counts readable images. If there are fewer, all readable images are explained."""
    table = write_digits(tmp_path / "data", range(40, 48))
    files = sorted((table.parent / "pictures").iterdir())
    for broken in (files[0], files[3], files[5]):
        broken.write_bytes(b"no picture")
    for count, shown in ((3, (1, 2, 4)), (6, (1, 2, 4, 6, 7))):
        ended = command(*words(tmp_path / "out", "--count", str(count), "--overwrite", data=str(table)))
        assert "cannot be read and are left out" in ended.said
        found = json.loads((tmp_path / "out" / "maps.json").read_text())
        paths = [entry["path"] for entry in found["images"]]
        assert [Path(path).name for path in paths] == [files[number].name for number in shown]
        broken = [files[number].name for number in ((0, 3) if count == 3 else (0, 3, 5))]
        assert [Path(entry["path"]).name for entry in found["unreadable"]] == broken


def test_another_class_can_be_explained(command: Command, tmp_path: Path) -> None:
    assert command(*words(tmp_path / "out", "--count", "3", "--class", "7")).code == 0
    content = json.loads((tmp_path / "out" / "maps.json").read_text())
    assert [entry["explained"] for entry in content["images"]] == [7, 7, 7]
    classifier = uf.classifiers.load("digits-resnet")
    batch = uf.data.open_data("digits:test").load((16, 16), 1, range(3))
    honest = uf.interpreters.CAM().maps(classifier, batch.images, torch.tensor([7, 7, 7]))
    maps = load_file(tmp_path / "out" / "maps.safetensors")
    assert torch.allclose(torch.stack([maps[f"cam/{i}"] for i in batch.ids]), honest, atol=1e-6)


def test_one_file_has_no_label(command: Command, tmp_path: Path) -> None:
    picture = write_digits(tmp_path / "data", [3]).parent / "pictures" / "003.png"
    ended = command(*words(tmp_path / "out", data=str(picture)))
    assert ended.code == 0, ended.err
    assert re.search(r"Classified as \d, confidence 0\.\d{3}\.", ended.out)
    (entry,) = json.loads((tmp_path / "out" / "maps.json").read_text())["images"]
    assert (entry["image_id"], entry["label"], entry["path"]) == ("003.png", None, str(picture))
    ended = command(*words(tmp_path / "more", "--class", "label", data=str(picture)))
    assert ended.code == 2
    assert ended.said == "error: class is 'label', but '003.png' has no label: give 'predicted', or a class."
    assert not (tmp_path / "more").exists()
    ended = command(*words(tmp_path / "more", "--class-map", "map.json", data=str(picture)))
    assert "the images have no class names to map" in ended.said
    (tmp_path / "broken.png").write_bytes(b"no picture")
    ended = command(*words(tmp_path / "more", data=str(tmp_path / "broken.png")))
    assert (ended.code, "Traceback" in ended.err) == (2, False)
    assert "is not an image that can be read" in ended.said


def test_a_folder_is_only_replaced_when_asked_and_ours(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert command(*words(out, "--count", "2")).code == 0
    before = (out / "maps.json").read_bytes()
    ended = command(*words(out, "--count", "1"))
    assert ended.code == 2
    assert "is not empty (images, maps.json, maps.png, ...): give --overwrite" in ended.said
    assert (out / "maps.json").read_bytes() == before
    ended = command(*words(out, "--count", "1", "--class", "77", "--overwrite"))
    assert "class is 77; the classifier has classes 0..9." in ended.said
    assert (out / "maps.json").read_bytes() == before  # earlier files are kept until there are new ones
    assert command(*words(out, "--count", "1", "--overwrite")).code == 0
    assert len(list((out / "images").iterdir())) == len(list((out / "overlays" / "cam").iterdir())) == 1
    (out / "mine.txt").write_text("keep")
    ended = command(*words(out, "--overwrite"))
    assert "holds mine.txt: --overwrite replaces only what 'underfire explain' wrote" in ended.said
    assert (out / "mine.txt").exists()


def test_interpreters_whose_names_are_no_folder_names(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    several = ("--interpreter", "gradcam++,lrp,lrp:z+", "--count", "1", "--overwrite")
    for _ in range(2):  # the second time, it replaces its own files
        assert command(*words(out, *several)).code == 0
        assert {entry.name for entry in (out / "overlays").iterdir()} >= {"gradcam++", "lrp", "lrp_z+"}


def test_a_masker_path_leads_nowhere(tmp_path: Path) -> None:
    """Regression: an interpreter name that holds a path led pictures out of the output folder."""
    store, pixels = ExplainedFolder(tmp_path / "out"), np.zeros((4, 4, 3), dtype=np.uint8)
    names = ("rts:../../a/b", "rts:../../a_b", "rts:/etc/x", "rts:" + "long/" * 60, "rts:..\\..\\c")
    files = [store.save_overlay(name, 0, "image", pixels) for name in names]
    assert len(set(files)) == len(names)
    for file in files:
        assert (tmp_path / "out" / file).resolve().is_relative_to(tmp_path / "out" / "overlays")
    store.finish({}, Image.new("RGB", (4, 4)))
    ExplainedFolder(tmp_path / "out", overwrite=True)


def test_a_folder_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "maps.json").write_text("[]")
    with pytest.raises(StoreError, match=r"holds no maps\.json of 'underfire explain'"):
        ExplainedFolder(tmp_path, overwrite=True)
    (tmp_path / "maps.json").unlink()
    (tmp_path / "images").symlink_to(tmp_path.parent)
    with pytest.raises(StoreError, match="holds images: --overwrite"):
        ExplainedFolder(tmp_path, overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is a file; give a folder"):
        ExplainedFolder(tmp_path / "file")


def test_the_class_to_explain() -> None:
    logits, labels = torch.tensor([[0.0, 3.0, 1.0], [2.0, 0.0, 1.0]]), torch.tensor([2, 0])

    def classes(wanted: str, names: tuple[str, ...] | None = ("ant", "bee", "2")) -> list[int]:
        return classes_to_explain(wanted, logits, labels, names).tolist()

    assert classes("predicted") == [1, 0]
    assert classes("label") == [2, 0]
    assert classes("bee") == [1, 1]
    assert classes("2") == [2, 2]
    assert classes("0", None) == [0, 0]
    with pytest.raises(InputError, match=re.escape("unknown class 'be'. Did you mean 'bee'?")):
        classes("be")
    with pytest.raises(InputError, match=re.escape("class is 3; the classifier has classes 0..2.")):
        classes("3")
    with pytest.raises(InputError, match=re.escape("the data has label 2; the classifier has classes 0..1.")):
        classes_to_explain("label", logits[:, :2], labels, None)


def test_help_shows_examples_and_errors_are_one_paragraph(command: Command, tmp_path: Path) -> None:
    ended = command("explain", "--help")
    assert ended.code == 0
    assert "underfire explain --data photo.jpg" in " ".join(ended.out.split())
    ended = command(*words(tmp_path / "out", "--count", "0"))
    assert ended.said == "error: count is 0; expected at least 1 image."
    ended = command(*words(tmp_path / "out", "--interpreter", "camm"))
    assert "Did you mean 'cam'?" in ended.said
    assert not (tmp_path / "out").exists()
