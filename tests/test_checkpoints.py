"""Files of weights: written in one step, equal for equal networks, and refused if they belong to another training."""

from __future__ import annotations

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
