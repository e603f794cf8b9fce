"""``underfire train rts``, and runs with the masker that it wrote."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.runs.runs import Command, Written, content, options, process
from underfire.data import open_data
from underfire.reports.losses import read_losses, smoothed, write_losses

WORDS = ["train", "rts", "--classifier", "digits-resnet", "--data", "digits:train"]


@pytest.fixture(scope="module")
def masker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained for a few steps by the command, in a process of its own."""
    folder = tmp_path_factory.mktemp("masker")
    started = process(*WORDS, "--test", "digits:test", "--steps", "8,8", "--out", folder, "--json")
    out, err = started.communicate(timeout=300)
    assert started.returncode == 0, err
    assert "decoder      8" in err
    reached = json.loads(out)
    assert (reached["name"], reached["selector_steps"], reached["decoder_steps"]) == ("rts-digits-resnet", 8, 8)
    assert reached["test_images"] == 359
    return folder


def test_what_it_writes(masker: Path) -> None:
    names = {path.name for path in masker.iterdir()}
    assert names == {
        "rts-digits-resnet.safetensors",
        "rts-digits-resnet.md",
        "losses.csv",
        "losses.png",
        "checkpoint.pt",
        "training.json",
    }
    losses = read_losses(masker / "losses.csv")
    assert set(losses) == {"selector", "decoder"}
    assert {name: len(values) for name, values in losses["selector"].items()} == {"loss": 8, "accuracy": 8}
    assert len(losses["decoder"]) == 7
    with Image.open(masker / "losses.png") as picture:
        assert picture.size[0] > 600
        assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 20
    card = (masker / "rts-digits-resnet.md").read_text()
    assert "8 steps of 64 images" in card
    assert "of 359 test images" in card


def test_an_attack_and_maps_with_it(masker: Path, tmp_path: Path, command: Command) -> None:
    ended = command(*options(interpreter=[f"rts:{masker}", "cam"], out=tmp_path / "run"))
    assert ended.code == 0, ended.err
    written = Written(tmp_path / "run")
    assert set(written.summary["interpreters"]) == {"rts", "cam"}
    assert len(written.of("adv2", "rts")) == 4
    assert "SHA-256" in json.dumps(written.run)
    ended = command(*options(interpreter=[f"rts:{masker}", "cam"], out=tmp_path / "run"), "--resume")
    assert ended.code == 0
    ended = command(
        *("explain", "--data", "digits:test", "--classifier", "digits-resnet", "--interpreter", f"rts:{masker}"),
        *("--count", 4, "--out", tmp_path / "maps"),
    )
    assert ended.code == 0, ended.err
    assert (tmp_path / "maps" / "maps.png").exists()


def test_a_masker_that_was_trained_again_is_noticed(masker: Path, tmp_path: Path, command: Command) -> None:
    """Also by a run that is finished: its numbers are those of the former masker."""
    folder = tmp_path / "masker"
    shutil.copytree(masker, folder)
    run = options(interpreter=f"rts:{folder}", out=tmp_path / "run")
    assert command(*run).code == 0
    before = content(tmp_path / "run")
    again = (*WORDS, "--steps", "1,1", "--seed", 1, "--out", tmp_path / "again")
    assert command(*again).code == 0
    for name in ("rts-digits-resnet.safetensors", "rts-digits-resnet.md"):
        shutil.copy(tmp_path / "again" / name, folder / name)
    ended = command(*run, "--resume")
    assert ended.code == 2
    assert "holds another run: interpreters.rts" in ended.said
    assert content(tmp_path / "run") == before


def test_without_a_masker_the_run_says_what_to_do(tmp_path: Path, command: Command) -> None:
    ended = command(*options(interpreter="rts", out=tmp_path / "run"))
    assert ended.code == 2
    assert "none ships with underfire" in ended.said
    assert "underfire train rts" in ended.said
    assert not (tmp_path / "run").exists()


def test_a_finished_training_is_resumed_without_a_change(masker: Path, command: Command) -> None:
    before = content(masker)
    ended = command(*WORDS, "--test", "digits:test", "--steps", "8,8", "--out", masker, "--resume")
    assert ended.code == 0
    assert "the class is still seen in" in " ".join(ended.out.split())
    assert content(masker) == before
    ended = command(*WORDS, "--steps", "8,8", "--out", masker)
    assert ended.code == 2
    assert "give --resume" in ended.said
    ended = command(*WORDS, "--steps", "9", "--out", masker, "--resume")
    assert ended.code == 2
    assert "holds the checkpoint of another training" in ended.said


def test_the_details_of_the_data_hold_for_the_test_images_too(tmp_path: Path, command: Command) -> None:
    """A table whose columns have unusual names, and a folder with two splits."""
    digits = open_data("digits:test").load(size=(16, 16), channels=1, indices=range(40))
    rows: dict[str, list[str]] = {"train": [], "val": []}
    for number, (image, label) in enumerate(zip(digits.images, digits.labels.tolist(), strict=True)):
        part = "val" if number % 4 == 0 else "train"
        file = tmp_path / "split" / part / str(label) / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[0] * 255).round().byte().numpy()).save(file)
        rows[part].append(f"{file},{label}\n")
    for part, lines in rows.items():
        (tmp_path / f"{part}.csv").write_text("picture_of,meaning\n" + "".join(lines))
    names = [str(number) for number in range(10)]
    (tmp_path / "map.json").write_text(json.dumps(dict(zip(names, range(10), strict=True))))
    words = ("train", "rts", "--classifier", "digits-resnet", "--steps", "1,1", "--batch", 2, "--json")
    words = (*words, "--class-map", tmp_path / "map.json")
    columns = ("--file-column", "picture_of", "--label-column", "meaning")
    by_column = command(
        *words, "--data", tmp_path / "train.csv", "--test", tmp_path / "val.csv", *columns, "--out", tmp_path / "a"
    )
    by_split = command(
        *words, "--data", tmp_path / "split", "--split", "train", "--test-split", "val", "--out", tmp_path / "b"
    )
    for ended in (by_column, by_split):
        assert ended.code == 0, ended.err
        assert json.loads(ended.out)["test_images"] == 10
    assert "(30 images)" in (tmp_path / "b" / "rts-digits-resnet.md").read_text()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--steps", "0"], "expected at least 1 for the selector and 1 for the decoder"),
        (["--steps", "many"], "steps is 'many'; expected those of the decoder, or SELECTOR,DECODER"),
        (["--encoder", "cifar10-resnet20"], "encoder cifar10-resnet20 takes image_size (32, 32)"),
        (["--encoder", "digits-resnet20"], "unknown classifier 'digits-resnet20'"),
        (["--test", "no/such"], "does not exist"),
        (["--device", "cuda:99"], "device is 'cuda:99'"),
    ],
)
def test_wrong_values(command: Command, tmp_path: Path, more: list[str], said: str) -> None:
    ended = command(*WORDS, "--out", tmp_path / "out", *more)
    assert ended.code == 2
    assert said in ended.said
    assert "Traceback" not in ended.err


def test_curves_of_losses(tmp_path: Path) -> None:
    values = [float(number) for number in range(500)]
    means = smoothed([*values[:10], float("nan"), *values[11:]])
    assert means[100] == 100
    assert means[0] == pytest.approx(2.5)
    assert means[10] == pytest.approx(10)
    table = tmp_path / "losses.csv"
    table.write_text("phase,step,name,value\nselector,1,loss,1.0\nselector,2,loss,nan\nselector,3,loss,0.5\n")
    assert write_losses(table, tmp_path / "losses.png").stat().st_size > 1000
