"""Balanced selection: as equal a number of images as possible from each true class, all classified correctly."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

import underfire as uf
from tests.runs.conftest import small_config
from tests.runs.runs import Command, Written, options
from underfire.data.dataset import ImageData, Record
from underfire.errors import DataError, InputError, UnreadableImageError
from underfire.runs import run_attack
from underfire.runs.looking import BATCH, Balanced
from underfire.runs.selection import Selection, select

CLASSES = 5
UNREADABLE = -1


class Level(nn.Module):
    """Puts every image into the class that its pixels' level names."""

    def forward(self, images: Tensor) -> Tensor:
        level = images.mean((1, 2, 3), keepdim=False).unsqueeze(1) * 255
        return -((level - torch.arange(CLASSES)) ** 2)


class Levels(ImageData):
    """Images of one level: the class that ``Level`` gives them. ``asked`` are the images that were decoded."""

    def __init__(self, images: list[tuple[str, int, int]]) -> None:
        self.name, self.class_names = "levels", tuple("abcde")
        self.images, self.asked = images, list[int]()

    def __len__(self) -> int:
        return len(self.images)

    def record(self, index: int) -> Record:
        name, label, _ = self.images[index]
        return Record(name, name, label)

    def read(self, index: int) -> Image.Image:
        self.asked.append(index)
        level = self.images[index][2]
        if level == UNREADABLE:
            raise UnreadableImageError("it is broken.")
        return Image.new("L", (4, 4), level)

    def fingerprint(self) -> str:
        return "levels"


def balanced(data: Levels, count: int, seed: int = 0, excluded: int | None = None) -> Selection:
    classifier = uf.Classifier(Level(), channels=1, image_size=4, name="level")
    return select(data, classifier, count, excluded, order=Balanced(data, seed, excluded))


def by_definition(data: Levels, count: int, seed: int, excluded: int | None) -> tuple[list[int], list[int]]:
    """One image after the other, from the class with the fewest so far. Returns what is attacked and looked at."""

    def place(index: int) -> bytes:
        return hashlib.sha256(f"{seed}/balance/{data.images[index][0]}".encode()).digest()

    drawn = sorted((index for index in range(len(data)) if data.images[index][1] != excluded), key=place)
    attacked: list[int] = []
    looked_at: list[int] = []
    while len(attacked) < count and len(looked_at) < len(drawn):
        left = [index for index in drawn if index not in looked_at]
        have = Counter(data.images[index][1] for index in attacked)
        classes = list(dict.fromkeys(data.images[index][1] for index in drawn))
        turn = min(
            (label for label in classes if label in {data.images[index][1] for index in left}), key=lambda c: have[c]
        )
        for index in [index for index in left if data.images[index][1] == turn]:
            looked_at.append(index)
            if data.images[index][2] == turn:
                attacked.append(index)
                break
    return sorted(attacked), sorted(looked_at)


IMAGES = st.lists(
    st.tuples(st.integers(0, CLASSES - 1), st.sampled_from(["right"] * 4 + ["wrong", "unreadable"])), max_size=60
)


def made(drawn: list[tuple[int, str]], names: list[int] | None = None) -> Levels:
    level = {"right": lambda label: label, "wrong": lambda label: (label + 1) % CLASSES}
    return Levels(
        [
            (f"image {number}", label, level[kind](label) if kind in level else UNREADABLE)
            for number, (label, kind) in zip(names or range(len(drawn)), drawn, strict=True)
        ]
    )


@pytest.mark.filterwarnings("ignore::underfire.errors.UnderfireWarning")
@given(drawn=IMAGES, count=st.integers(1, 40), seed=st.integers(0, 3), excluded=st.sampled_from([None, None, 2]))
@settings(max_examples=60, deadline=None)
def test_the_selection_is_that_of_the_definition(
    drawn: list[tuple[int, str]], count: int, seed: int, excluded: int | None
) -> None:
    data = made([(0, "right"), *drawn])
    attacked, looked_at = by_definition(data, count, seed, excluded)
    found = balanced(data, count, seed, excluded)
    assert [index for index, yes in zip(found.considered, found.attacked, strict=True) if yes] == attacked
    assert found.considered == [index for index in looked_at if data.images[index][2] != UNREADABLE]
    assert sorted(set(data.asked)) == looked_at
    assert len(found.unreadable) == sum(data.images[index][2] == UNREADABLE for index in looked_at)


@pytest.mark.filterwarnings("ignore::underfire.errors.UnderfireWarning")
@given(drawn=IMAGES, count=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_counts_differ_by_one_at_most_unless_a_class_ran_out(drawn: list[tuple[int, str]], count: int) -> None:
    data = made([(0, "right"), *drawn])
    found = balanced(data, count)
    right = Counter(label for _, label, level in data.images if label == level)
    taken = Counter(data.images[i][1] for i, yes in zip(found.considered, found.attacked, strict=True) if yes)
    assert sum(taken.values()) == min(count, sum(right.values()))
    most = max(taken.values())
    assert all(taken[label] >= most - 1 or taken[label] == right[label] for label in right)


@pytest.mark.filterwarnings("ignore::underfire.errors.UnderfireWarning")
@given(drawn=IMAGES, count=st.integers(1, 40), data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_order_of_classes_and_of_images_does_not_count(
    drawn: list[tuple[int, str]], count: int, data: st.DataObject
) -> None:
    drawn = [(0, "right"), *drawn]
    numbers = data.draw(st.permutations(range(CLASSES)))
    places = data.draw(st.permutations(range(len(drawn))))
    one = made(drawn)
    # A wrong image stays wrong, since the levels of all images are renumbered with their labels.
    other = Levels(
        [(name, numbers[label], numbers[level] if level >= 0 else level) for name, label, level in
         (one.images[place] for place in places)]
    )  # fmt: skip

    def names(levels: Levels) -> set[str]:
        found = balanced(levels, count)
        return {levels.images[i][0] for i, yes in zip(found.considered, found.attacked, strict=True) if yes}

    assert names(one) == names(other)


def test_few_of_many_images_are_decoded() -> None:
    data = made([(number % CLASSES if number < 50 else 0, "right") for number in range(5000)])
    found = balanced(data, 20)
    assert len(data.asked) == 20
    assert Counter(data.images[index][1] for index in found.considered) == dict.fromkeys(range(CLASSES), 4)


def test_more_images_than_are_classified_at_once() -> None:
    data = made([(number % CLASSES, "right" if number % 3 else "wrong") for number in range(900)])
    found = balanced(data, 3 * BATCH)
    assert sum(found.attacked) == 3 * BATCH
    assert found.considered == sorted(found.considered)


def test_another_seed_takes_other_images() -> None:
    data = made([(number % CLASSES, "right") for number in range(500)])
    assert balanced(data, 20).considered != balanced(data, 20, seed=1).considered


def test_images_of_the_target_class_alone_are_refused() -> None:
    with pytest.raises(DataError, match="already belongs to the target class"):
        balanced(made([(2, "right")] * 3, [1, 2, 3]), 2, excluded=2)


def test_balance_without_count_is_refused() -> None:
    with pytest.raises(InputError, match=r"balance is set, and count is not.*--count 70"):
        small_config(balance=True, count=None)


def test_a_balanced_run(tmp_path: Path, command: Command) -> None:
    ended = command(*options(count=20, balance=True, steps="1,1", seed=4, out=tmp_path))
    assert ended.code == 0, ended.err
    written = Written(tmp_path)
    rows = written.of("adv2")
    assert Counter(row["label"] for row in rows) == dict.fromkeys(range(10), 2)
    assert all(row["correct_before"] for row in rows)
    assert written.run["configuration"]["balance"] is True
    refused = command(*options(count=20, steps="1,1", seed=4, out=tmp_path, resume=True))
    assert refused.code == 2
    assert "balance" in refused.said


def test_a_target_class_is_left_out(tmp_path: Path) -> None:
    run_attack(small_config(count=9, balance=True, target_class=3), tmp_path)
    assert Counter(row["label"] for row in Written(tmp_path).of("adv2")) == {c: 1 for c in range(10) if c != 3}
