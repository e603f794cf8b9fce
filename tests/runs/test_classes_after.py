"""The class that an attacked image got is named, also where the attack wanted any wrong class."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import underfire as uf
from tests.reports.parsed import gallery_data, page
from underfire.data.saved import load_png
from underfire.reports.figure import _images
from underfire.runs import RunConfig, run_attack


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("after") / "run"
    values = {"data": "digits:test", "classifier": "digits-resnet", "interpreters": ("cam",), "eps": 0.2, "count": 8}
    run_attack(RunConfig.create(**values, attack="auto", budget=5, targeted=False), place)
    return place


def predicted(run: uf.Run, cell: str) -> dict[str, int]:
    """Classify the saved images again."""
    rows = run.rows(["image_id", "image_file"], cell).to_pylist()
    images = torch.stack([load_png(run.path / row["image_file"]).float() / 255 for row in rows])
    found = uf.classifiers.load("digits-resnet").logits(images).argmax(1).tolist()
    return dict(zip([row["image_id"] for row in rows], found, strict=True))


@pytest.mark.parametrize("cell", ["clean", "auto"])
def test_a_run_knows_the_class_of_each_image(folder: Path, cell: str) -> None:
    run = uf.Run(folder)
    expected = predicted(run, cell)
    assert {image: run.files.predicted(cell, image) for image in expected} == expected


def test_pictures_and_the_page_name_it(folder: Path, tmp_path: Path) -> None:
    run = uf.Run(folder)
    expected, part = predicted(run, "auto"), run.comparisons[0]
    names = {image: part.class_name(number) for image, number in expected.items()}
    reached = {image for image, row in zip(part.image_ids, part.column("attack", "cam", "success"), strict=True) if row}
    assert len(reached) >= 4
    for order, image in enumerate(part.image_ids):
        case = part.case("cam", order)
        assert part.becomes(case.row) == names[image]
        shown = run._shown(len(part.image_ids), "cam").examples[order].caption
        for caption in (shown, _images(part, case, 64, titled=True).caption):
            assert (f"-> {names[image]}" in caption) is (image in reached), caption
            assert ("-> any other class" in caption) is (image not in reached), caption
    text, parsed = page(tmp_path, folder)
    assert "classified as any other" not in text
    data = gallery_data(parsed)
    ids = [data["images"][item["image"]]["id"] for item in data["items"]]
    assert [item["became"] for item in data["items"]] == [names[image] for image in ids]
