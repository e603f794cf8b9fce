"""Files of weights: written in one step, equal for equal networks, and refused if they belong to another training."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from underfire.checkpoints import (
    load_checkpoint,
    open_training,
    read_weights,
    save_checkpoint,
    state_hash,
    write_weights,
)
from underfire.errors import StoreError


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def test_weights_come_back_and_equal_networks_are_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_weights(network().to(memory_format=torch.channels_last), tmp_path / name, "a note")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with safe_open(tmp_path / "a", "pt") as file:
        assert file.metadata() == {"made_by": "a note"}
    again = network(1)
    assert state_hash(again) != state_hash(network())
    again.load_state_dict(read_weights(tmp_path / "a"))
    assert state_hash(again) == state_hash(network())


def test_the_hash_sees_values_buffers_and_types() -> None:
    first, hashes = network(), [state_hash(network())]
    first[1].running_mean[0] += 1
    hashes.append(state_hash(first))
    hashes.append(state_hash(network().double()))
    assert len(set(hashes)) == 3


@pytest.mark.parametrize("name", ["run.json", "campaign.json", "audit.json", "detector.json"])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(StoreError, match=rf"holds an? [a-z ]+ \({name}\); expected a folder of the training's own"):
        open_training(tmp_path, {"data": "a"}, resume=False)
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_training_is_continued_only_as_what_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    assert load_checkpoint(folder, "cpu") is None
    open_training(folder, {"data": "a"}, resume=False)
    open_training(folder, {"data": "b"}, resume=False)  # no checkpoint yet: nothing can be lost
    save_checkpoint(folder, {"step": 1})
    open_training(folder, {"data": "b"}, resume=True)
    with pytest.raises(StoreError, match="holds a checkpoint: give --resume"):
        open_training(folder, {"data": "b"}, resume=False)
    with pytest.raises(StoreError, match=r"data was 'b', is 'c'.*Nothing was changed"):
        open_training(folder, {"data": "c"}, resume=True)
    open_training(folder, {"data": "b"}, resume=True)


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (
            "Recipe(steps=3, weights=(1, 2), name='a, b')",
            "Recipe(steps=5, weights=(1, 2), name='a, b')",
            "steps was 3, is 5.",
        ),
        ("Recipe(steps=3)", "Other(steps=3)", "recipe was 'Recipe(steps=3)', is 'Other(steps=3)'."),
        ("Recipe(steps=3)", "Recipe(steps=3, rate=1)", "recipe was 'Recipe(steps=3)', is 'Recipe(steps=3, rate=1)'."),
        ("<odd>", "odd)", "recipe was '<odd>', is 'odd)'."),
        (1, 2, "recipe was 1, is 2."),
    ],
)
def test_another_training_is_told_apart_by_what_changed(tmp_path: Path, before: object, now: object, said: str) -> None:
    """Regression: two whole recipes were shown that differed in one number."""
    open_training(tmp_path, {"recipe": before, "data": "same"}, resume=False)
    save_checkpoint(tmp_path, {"step": 1})
    with pytest.raises(StoreError, match=re.escape(f"another training: {said} Nothing was changed.")):
        open_training(tmp_path, {"recipe": now, "data": "same"}, resume=True)
