"""``underfire train robust`` and ``train aid``: their files, a killed training, and attacks on the results."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.runs.runs import Command, content, options, process
from underfire.checkpoints import CHECKPOINT
from underfire.reports.losses import read_losses

ROBUST = ["train", "robust", "--classifier", "digits-resnet", "--data", "digits:train", "--attack-steps", "1"]
AID = ["train", "aid", "--classifier", "scenes-resnet", "--data", "scenes:test", "--recipe", "quick"]
SMALL_AID = ["--batch", "2", "--attacked", "2", "--joint", "1", "--warmup", "0", "--eps", "4/255"]


def test_a_killed_robust_training_ends_in_the_same_files(tmp_path: Path, command: Command) -> None:
    words = [*ROBUST, "--recipe", "adversarial", "--steps", "110", "--batch", "8", "--rate", "0.01", "--average", "0.9"]
    ended = command(*words, "--out", tmp_path / "whole")
    assert ended.code == 0, ended.err
    started = process(*words, "--out", tmp_path / "killed")
    begun = time.monotonic()
    while not (tmp_path / "killed" / CHECKPOINT).exists():
        assert started.poll() is None
        assert time.monotonic() - begun < 200
        time.sleep(0.02)
    started.kill()
    started.communicate()
    assert not (tmp_path / "killed" / "losses.csv").exists()
    ended = command(*words, "--out", tmp_path / "killed")
    assert ended.code == 2
    assert "give --resume" in ended.said
    ended = command(*words, "--out", tmp_path / "killed", "--resume")
    assert ended.code == 0, ended.err
    for name in ("digits-resnet-robust.safetensors", "digits-resnet-robust.md", "losses.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    assert len(read_losses(tmp_path / "whole" / "losses.csv")["robust"]["loss"]) == 110


def test_robust_weights_are_measured_and_attacked(tmp_path: Path, command: Command) -> None:
    out = tmp_path / "robust"
    words = [*ROBUST, "--recipe", "quick", "--steps", "3", "--eps", "16/255", "--optimiser", "adamw", "--rate", "0.001"]
    ended = command(*words, "--test", "digits:test", "--out", out, "--json")
    assert ended.code == 0, ended.err
    assert "robust       3  loss" in ended.err
    reached = json.loads(ended.out)
    assert (reached["objective"], reached["steps"], reached["test_images"]) == ("int-adv", 3, 359)
    assert reached["attacked_accuracy"] < reached["accuracy"]
    card = (out / "digits-resnet-robust.md").read_text()
    assert "L-inf 16/255, 1 step of 10/255" in card
    assert "AdamW, weight decay 0.0005, learning rate 0.001" in card
    before = content(out)
    assert command(*words, "--test", "digits:test", "--out", out, "--resume").code == 0
    assert content(out) == before
    weights = out / "digits-resnet-robust.safetensors"
    ended = command(*options(out=tmp_path / "run"), "--weights", weights)
    assert ended.code == 0, ended.err


def test_a_masker_of_aid_is_measured_and_read(tmp_path: Path, command: Command) -> None:
    out = tmp_path / "aid"
    ended = command(*AID, *SMALL_AID, "--steps", "2", "--test", "scenes:test", "--out", out)
    assert ended.code == 0, ended.err
    assert "the class is still seen in" in " ".join(ended.out.split())
    card = (out / "rts-aid-scenes-resnet.md").read_text()
    assert "2 steps of 2 images and 2 attacked ones, Adam, weight decay 0.0001" in card
    assert "L-inf 4/255 (its steps reach 1/255), 0 and 1 steps" in card
    assert set(read_losses(out / "losses.csv")["aid"]) == {"loss", "own", "distance"}
    shown = ("explain", "--data", "scenes:test", "--classifier", "scenes-resnet", "--interpreter", f"rts:{out}")
    ended = command(*shown, "--count", 2, "--out", tmp_path / "maps")
    assert ended.code == 0, ended.err
    assert (tmp_path / "maps" / "maps.png").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*ROBUST, "--recipe", "int-advv"], "Did you mean 'int-adv'"),
        ([*ROBUST, "--steps", "0"], "steps is 0"),
        ([*ROBUST, "--eps", "much"], "eps is 'much'"),
        ([*ROBUST, "--average", "1"], "average is 1.0"),
        ([*ROBUST, "--optimiser", "lion"], "optimiser"),
        ([*AID, "--recipe", "pgd"], "unknown recipe 'pgd'"),
        ([*AID, "--masker", "no/such"], "masker is 'no/such'"),
    ],
)
def test_wrong_values(words: list[str], said: str, tmp_path: Path, command: Command) -> None:
    ended = command(*words, "--out", tmp_path / "out")
    assert ended.code == 2
    assert said in ended.said
    assert "Traceback" not in ended.err
    assert not (tmp_path / "out").exists()


def test_devices_that_cannot_be_used(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    words = [*ROBUST, "--out", tmp_path / "out"]
    for devices, said in (
        ("2", "GPUs that PyTorch sees here: 1"),
        ("0", "GPUs that PyTorch sees here: 1"),
        ("cpu,auto", "expected a number of GPUs, or names"),
        ("cpu,xpu9", "device is 'xpu9'"),
    ):
        ended = command(*words, "--devices", devices)
        assert ended.code == 2
        assert said in ended.said, devices
    assert "give one of them" in command(*words, "--devices", "cpu,cpu", "--device", "cpu").said
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert "torchrun has started the processes" in command(*words, "--devices", "cpu,cpu").said
    assert "torchrun started process 1 on this machine. GPUs that PyTorch sees here: 1" in command(*words).said
    assert not (tmp_path / "out").exists()
