"""Images that nobody has sorted into classes."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from underfire.data import open_data
from underfire.data.sources import open_images
from underfire.data.unlabelled import NO_LABEL, UnlabelledData
from underfire.errors import DataError, InputError, UnderfireWarning


def picture(path: Path, grey: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), grey).save(path)
    return path


def test_a_folder_gives_all_of_its_images(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "deep/c.png", ".hidden.png", "__MACOSX/d.png"):
        picture(tmp_path / name)
    data = open_images(tmp_path)
    assert [data.record(index).image_id for index in range(len(data))] == ["a.png", "b.png", "deep/c.png"]
    assert data.used_labels() == {NO_LABEL}
    assert data.class_names == ()
    assert "images without classes" in data.describe()


def test_one_image(tmp_path: Path) -> None:
    data = open_data(picture(tmp_path / "a.png", 51), unlabelled=True, white=255)
    assert (len(data), data.record(0).image_id, data.white) == (1, "a.png", 255)
    assert float(data.load((8, 8), 1).images.mean()) == pytest.approx(0.2)


def test_a_table_and_folders_of_classes_have_precedence(tmp_path: Path) -> None:
    for name in ("table/a.png", "classes/ant/a.png", "classes/bee/b.png", "classes/preview.png", "readme/a.png"):
        picture(tmp_path / name)
    (tmp_path / "table" / "labels.csv").write_text("file,label\na.png,ant\n")
    (tmp_path / "readme" / "README.md").write_text("my pictures")
    assert open_data(tmp_path / "table", unlabelled=True).class_names == ("ant",)
    with pytest.warns(UnderfireWarning, match="1 image directly in"):
        assert open_data(tmp_path / "classes", unlabelled=True).class_names == ("ant", "bee")
    assert isinstance(open_data(tmp_path / "readme", unlabelled=True), UnlabelledData)


def test_where_labels_do_not_count_all_images_are_taken(tmp_path: Path) -> None:
    for name in (
        "classes/ant/a.png",
        "classes/b.png",
        "days/23/01/a.png",
        "days/23/02/b.png",
        "days/24/01/c.png",
    ):
        picture(tmp_path / name)
    for name in ("parts/train/a.png", "parts/val/b.png", "table/a.png", "table/other/b.png", "broken/a.png"):
        picture(tmp_path / name)
    (tmp_path / "table" / "labels.csv").write_text("file,label\na.png,ant\n")
    (tmp_path / "broken" / "labels.csv").write_text("file,label\na.png,ant\na.png,bee\n")
    found = {name: len(open_images(tmp_path / name)) for name in ("classes", "days", "parts", "table")}
    assert found == {"classes": 2, "days": 3, "parts": 2, "table": 1}
    with pytest.raises(DataError, match=r"both name 'a\.png'"):
        open_images(tmp_path / "broken")
    with pytest.raises(InputError, match="the name of the data set is empty"):
        open_images("")
    assert open_images("digits:test").name == open_data("digits:test").name
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        open_images(tmp_path / "empty")


def test_images_beside_folders_of_classes_are_not_lost_without_a_word(tmp_path: Path) -> None:
    for name in ("few/ant/a.png", "few/ant/b.png", "few/c.png", "many/old/a.png", "many/b.png", "many/c.png"):
        picture(tmp_path / name)
    for unlabelled in (False, True):
        with pytest.warns(UnderfireWarning, match=r"1 image directly in .* left out"):
            assert len(open_data(tmp_path / "few", unlabelled=unlabelled)) == 2
    assert len(open_data(tmp_path / "many", unlabelled=True)) == 3
    with pytest.warns(UnderfireWarning, match=r"2 images directly in .* left out"):
        assert len(open_data(tmp_path / "many")) == 1


def test_content_and_names_count_in_the_fingerprint(tmp_path: Path) -> None:
    before = UnlabelledData(picture(tmp_path / "one" / "a.png").parent).fingerprint()
    assert UnlabelledData(picture(tmp_path / "two" / "a.png").parent).fingerprint() == before
    assert UnlabelledData(picture(tmp_path / "two" / "a.png", 7).parent).fingerprint() != before


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(DataError, match="classes are not known \\(attack, check and audit take"):
        open_data(tmp_path)
    with pytest.raises(DataError, match="audit it without knowing its class, give --labels predicted there"):
        open_data(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"label_column is given, but .* is images without classes"):
        open_data(tmp_path, unlabelled=True, label_column="label")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        UnlabelledData(tmp_path / "empty")
