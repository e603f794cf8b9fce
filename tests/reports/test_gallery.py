"""The pictures of the gallery, and its data."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.reports.fakes import Fake
from underfire.drawing.pictures import ANCHORS, veil
from underfire.errors import StoreError
from underfire.reports.account import accounts_of
from underfire.reports.gallery import Gallery, far_limit, gallery
from underfire.reports.thumbnails import PictureFolder, data_uri, map_picture, thumbnail
from underfire.runs import Run


def decoded(uri: str) -> Image.Image:
    head, _, content = uri.partition(",")
    assert re.fullmatch(r"data:image/(png|webp|jpeg);base64", head)
    return Image.open(io.BytesIO(base64.b64decode(content)))


def opened(found: tuple[bytes, str]) -> Image.Image:
    return Image.open(io.BytesIO(found[0]))


def test_small_images_are_exact_and_large_ones_small() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    assert (np.array(decoded(data_uri(picture))) == picture).all()
    large = np.tile(np.arange(0, 255, dtype=np.uint8)[None, :, None], (600, 4, 3))
    assert decoded(data_uri(large)).size == (256, 151)


def test_maps_keep_their_colours_and_how_clear_they_are() -> None:
    values = np.array([[0.0, 1.0], [0.5, 0.25]], dtype=np.float32)
    shown = np.array(opened(map_picture(values)).convert("RGBA"))
    assert shown[0, 0, 3] == 0
    assert shown[0, 1].tolist() == [*ANCHORS[-1], 217]
    assert np.abs(shown[1].astype(int) - veil(values)[1]).max() <= 5
    assert len(map_picture(np.random.default_rng(0).random((8, 8), dtype=np.float32))[0]) < 600
    assert max(opened(map_picture(np.zeros((224, 112), dtype=np.float32))).size) == 96


def test_a_thumbnail_has_an_image_and_its_maps() -> None:
    picture = np.zeros((224, 112, 3), dtype=np.uint8)
    assert opened(thumbnail(picture, [(picture, np.eye(4))] * 2)).size == (120, 80)


def made(folder: Path, fake: Fake, count: int = 100) -> Gallery:
    accounts = accounts_of(Run(fake.write(folder / "run")))
    labels = [account.part.title for account in accounts]
    return gallery(accounts, labels, count, PictureFolder(folder / "page.html"))


def files_of(shown: Gallery) -> set[str]:
    found = {item["thumb"] for item in shown.data["items"]} | {image["outline"] for image in shown.data["images"]}
    return found | {path for item in shown.data["items"] for path in item["maps"].values()}


def test_images_are_those_of_the_run_and_maps_lie_beside_the_page(tmp_path: Path) -> None:
    shown = made(tmp_path, Fake(count=3, interpreters=("cam", "grad"), each=True, masks=True))
    groups, images, items = shown.data["groups"], shown.data["images"], shown.data["items"]
    assert [(group["interpreter"], group["attack"]) for group in groups] == [("cam", "adv2"), ("grad", "adv2")]
    assert [image["id"] for image in images] == ["set/000", "set/001", "set/002"]
    assert [(item["group"], item["image"]) for item in items] == [(g, i) for g in (0, 1) for i in range(3)]
    for item in items:
        for path in (item["adversarial"], item["control"], images[item["image"]]["clean"]):
            assert path.startswith("run/images/")
            assert (tmp_path / path).is_file()
    written = {f"page_files/{entry.name}" for entry in (tmp_path / "page_files").iterdir()}
    assert files_of(shown) == written


def test_an_item_says_what_became_of_its_image(tmp_path: Path) -> None:
    shown = made(tmp_path, Fake(count=8))
    items = shown.data["items"]
    assert [item["verdict"] for item in items] == ["joint"] * 3 + ["failed"] + ["class"] * 3 + ["failed"]
    assert [item["distance"] for item in items] == [pytest.approx(0.02 * (i + 1)) for i in range(8)]
    assert all(item["limit"] == pytest.approx(0.1) for item in items)
    assert items[0]["distances"] == {"control": 0.3, "attack": 0.02}
    assert (items[0]["before"], items[0]["after"]) == (0.75, 0.75)
    assert shown.data["images"][4]["label"] == "bee"
    assert items[4]["target"] == "cat"
    assert shown.data["groups"][0]["factor"] == 64  # the largest change is 3 levels


class Outlying(Fake):
    def distance(self, i: int, attack: str, reader: int = 0) -> float:
        return 0.5 if i == 3 and attack == self.attack else super().distance(i, attack, reader)


def test_outliers_are_beyond_the_upper_fence(tmp_path: Path) -> None:
    assert far_limit(np.array([1.0, 2.0, 3.0, 4.0, 5.0])) == pytest.approx(4 + 1.5 * 2)
    assert far_limit(np.array([np.nan])) == float("inf")
    shown = made(tmp_path, Outlying(count=8))
    far = shown.data["groups"][0]["far"]
    assert [item["distance"] > far for item in shown.data["items"]] == [i == 3 for i in range(8)]


def test_images_that_a_browser_would_show_differently_are_copied(tmp_path: Path) -> None:
    folder = Fake(count=1).write(tmp_path / "run")
    for file in (folder / "images" / "clean").iterdir():
        Image.new("RGBA", (12, 8)).save(file)
    (account,) = accounts_of(Run(folder))
    shown = gallery([account], ["x"], 1, PictureFolder(tmp_path / "page.html"))
    path = shown.data["images"][0]["clean"]
    assert path.startswith("page_files/")
    assert Image.open(tmp_path / path).mode == "RGB"


def test_pictures_can_be_put_into_the_page(tmp_path: Path) -> None:
    account: Any = Fake(count=1).account(tmp_path / "run")
    shown = gallery([account], ["x"], 1, PictureFolder(tmp_path / "page.html", embed=True))
    assert shown.data["images"][0]["clean"].startswith("data:image/png;base64,")
    assert all(path.startswith("data:image/") for path in files_of(shown) if path)
    assert not (tmp_path / "page_files").exists()


def test_only_own_files_are_removed(tmp_path: Path) -> None:
    first = PictureFolder(tmp_path / "page.html")
    first.add("0-000001-old", b"x", "webp")
    (tmp_path / "page_files" / "mine.webp").write_bytes(b"x")
    again = PictureFolder(tmp_path / "page.html")
    again.add("0-000001-new", b"x", "webp")
    again.clean_up()
    assert sorted(entry.name for entry in (tmp_path / "page_files").iterdir()) == ["0-000001-new.webp", "mine.webp"]
    (tmp_path / "other_files").write_text("")
    with pytest.raises(StoreError, match=r"other\.html cannot be written"):
        PictureFolder(tmp_path / "other.html").add("0-000001-new", b"x", "webp")
