"""Properties of the drawn pictures: only the shape tells the class, and the mask lies on the object."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion, binary_fill_holes, label
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from underfire.data import Scenes

COUNT = 1000
TOUCHING = np.ones((3, 3))
Pictures = tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    """Pixels N x 64 x 64 x 3 in 0 .. 255, masks N x 64 x 64, and labels of the first training pictures."""
    data = Scenes("train", count=COUNT)
    images = np.stack([np.asarray(data.read(index)) for index in range(COUNT)]).astype(np.float64)
    masks = np.stack([data.mask(index).numpy() for index in range(COUNT)])
    return images, masks, np.array([data.record(index).label for index in range(COUNT)])


def accuracy(features: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The accuracy of a linear classifier on held-out pictures, by five-fold cross-validation."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    return float(cross_val_score(model, features, labels, cv=5).mean())


def test_colours_do_not_tell_the_class(pictures: Pictures) -> None:
    """Neither the mean colours of the picture, nor of the object, nor of its surroundings. Chance is 10 % +- 1 %."""
    images, masks, labels = pictures
    inside = masks[..., None]
    whole = np.concatenate((images.mean((1, 2)), images.std((1, 2))), 1)
    objects = (images * inside).sum((1, 2)) / inside.sum((1, 2))
    around = (images * ~inside).sum((1, 2)) / (~inside).sum((1, 2))
    for features in (whole, objects, around, np.concatenate((whole, objects, around), 1)):
        assert accuracy(features, labels) < 0.15


def test_place_and_size_do_not_tell_the_class(pictures: Pictures) -> None:
    _, masks, labels = pictures
    area = masks.mean((1, 2))
    middle = [(masks.mean(axis) * np.arange(64)).sum(1) for axis in (1, 2)] / (64 * area)
    assert accuracy(np.stack((area, *middle), 1), labels) < 0.2


def test_shape_tells_the_class(pictures: Pictures) -> None:
    """The same classifier succeeds on five numbers about the mask, so the tests above would notice a leak."""
    _, masks, labels = pictures
    rows = []
    for mask in masks:
        area, edge = mask.sum(), (mask & ~binary_erosion(mask)).sum()
        ys, xs = np.nonzero(mask)
        wide, narrow = np.linalg.eigvalsh(np.cov(ys, xs))[::-1]
        rows.append((edge**2 / area, wide / area, narrow / area, binary_fill_holes(mask).sum() / area, wide / narrow))
    assert accuracy(np.array(rows), labels) > 0.6


def test_the_object_covers_a_part_that_can_be_seen(pictures: Pictures) -> None:
    _, masks, labels = pictures
    area = masks.mean((1, 2))
    assert area.min() > 0.07
    assert area.max() < 0.35
    for number in range(10):
        assert 0.15 < area[labels == number].mean() < 0.25


def test_the_object_lies_anywhere_and_nearly_whole_inside(pictures: Pictures) -> None:
    _, masks, _ = pictures
    border = np.stack((masks[:, 0], masks[:, -1], masks[:, :, 0], masks[:, :, -1]), 1).sum(2)
    assert (border.sum(1) == 0).mean() > 0.6
    for side in range(4):
        assert 0.01 < (border[:, side] > 0).mean() < 0.25
    reached = masks.mean(0)
    assert reached[:3].max() > 0.01
    assert reached[6:-6, 6:-6].min() > 0.01
    assert reached.max() < 0.6


def test_the_object_is_in_one_piece(pictures: Pictures) -> None:
    _, masks, _ = pictures
    for mask in masks:
        sizes = np.bincount(label(mask, TOUCHING)[0].ravel())[1:]
        assert sizes.sum() - sizes.max() <= 1  # the tip of an umbrella may be half a pixel away


def test_keys_have_a_hole_and_stars_have_none(pictures: Pictures) -> None:
    _, masks, labels = pictures
    holes = np.array([(binary_fill_holes(mask, TOUCHING) & ~mask).sum() for mask in masks])
    names = Scenes("train", count=1).class_names
    of = {name: holes[labels == number] for number, name in enumerate(names)}
    assert (of["key"] >= 4).mean() > 0.97
    assert (of["mug"] >= 4).mean() > 0.9
    for name in ("arrow", "crescent", "cross", "heart", "star"):
        assert of[name].max() == 0


def test_the_mask_lies_where_the_object_is(pictures: Pictures) -> None:
    """Colours differ more across the border of the mask than across the border of a mask that was moved."""
    images, masks, _ = pictures

    def step(mask: NDArray[np.bool_], image: NDArray[np.float64]) -> float:
        inside = mask & ~binary_erosion(mask, iterations=3)
        outside = binary_dilation(mask, iterations=3) & ~mask
        return float(np.linalg.norm(image[inside].mean(0) - image[outside].mean(0)))

    chosen = range(0, COUNT, 4)
    true = np.array([step(masks[i], images[i]) for i in chosen])
    moved = np.array([step(np.roll(masks[i], (9, -9), (0, 1)), images[i]) for i in chosen])
    assert (true > moved).mean() > 0.97
    assert np.quantile(true, 0.02) > 45
    # To the pixel: a mask one pixel larger or smaller would fit the picture's edges less well.
    slopes = np.stack(
        [np.abs(np.diff(images, axis=1)).sum(3)[:, :, :-1], np.abs(np.diff(images, axis=2)).sum(3)[:, :-1]]
    )
    found = []
    for grow in (-1, 0, 1):
        strengths = []
        for i in chosen:
            mask = masks[i]
            mask = binary_dilation(mask) if grow > 0 else binary_erosion(mask) if grow < 0 else mask
            edges = (mask[1:, :-1] != mask[:-1, :-1], mask[:-1, 1:] != mask[:-1, :-1])
            strengths.append(np.concatenate([slopes[0, i][edges[0]], slopes[1, i][edges[1]]]).mean())
        found.append(np.mean(strengths))
    assert found[1] > 1.3 * max(found[0], found[2])


def test_surfaces_and_objects_use_the_whole_range_of_colours(pictures: Pictures) -> None:
    images, masks, _ = pictures
    inside = masks[..., None]
    objects = (images * inside).sum((1, 2)) / inside.sum((1, 2))
    assert (objects.std(0) > 35).all()
    hues = np.argmax(objects, 1)
    assert min(np.bincount(hues, minlength=3)) > COUNT / 6
    assert len({image.tobytes() for image in images}) == COUNT
    assert 0.3 < images.mean() / 255 < 0.6
