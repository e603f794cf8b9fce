"""``underfire train classifier``: resumable to the bit, and careful with what a folder holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import underfire as uf
from tests.runs.runs import Command, content, write_digits
from underfire.checkpoints import state_hash
from underfire.errors import StoreError
from underfire.zoo import recipes
from underfire.zoo.train import train_recipe
from underfire.zoo.training import Epoch

NAME = "digits-resnet"


def words(out: Path, *more: str | Path) -> list[str | Path]:
    return ["train", "classifier", "--recipe", NAME, "--epochs", "2", "--out", out, *more]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    train_recipe(NAME, folder, "digits:train", "digits:test", epochs=2)
    return folder


def test_interrupted_and_resumed_is_the_same_training(whole: Path, tmp_path: Path, command: Command) -> None:
    heard: list[int] = []

    def interrupt(epoch: Epoch) -> None:
        heard.append(epoch.number)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_recipe(NAME, tmp_path, "digits:train", "digits:test", epochs=2, on_epoch=interrupt)
    assert heard == [1]
    assert not (tmp_path / f"{NAME}.safetensors").exists()
    ended = command(*words(tmp_path, "--resume", "--json"))
    assert ended.code == 0
    assert "epoch   2" in ended.err
    assert "epoch   1" not in ended.err
    resumed, expected = (load_file(folder / f"{NAME}.safetensors") for folder in (tmp_path, whole))
    assert resumed.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.items())
    assert content(tmp_path)[f"{NAME}.safetensors"] == content(whole)[f"{NAME}.safetensors"]
    assert content(tmp_path)[f"{NAME}.md"] == content(whole)[f"{NAME}.md"]


def test_weights_and_card_say_what_they_are(whole: Path) -> None:
    network = recipes.find(NAME).network()
    network.load_state_dict(load_file(whole / f"{NAME}.safetensors"))
    recipe = recipes.find(NAME)
    classifier = uf.Classifier(
        network.eval(), mean=recipe.mean, std=recipe.std, image_size=recipe.image_size, channels=1
    )
    batch = uf.data.open_data("digits:test").load((16, 16), 1)
    accuracy = float((classifier.logits(batch.images).argmax(1) == batch.labels).double().mean())
    assert accuracy > 0.5  # two epochs have taught it something
    card = (whole / f"{NAME}.md").read_text()
    assert f"| test accuracy | {100 * accuracy:.2f} % of 359 images |" in card
    assert state_hash(network) in card
    assert uf.data.open_data("digits:train").fingerprint() in card
    assert "2 epochs" in card
    with safe_open(whole / f"{NAME}.safetensors", "pt") as file:
        assert file.metadata() == {"made_by": f"recipe {NAME}, seed 0"}


def test_resuming_a_finished_training_changes_nothing(whole: Path, command: Command) -> None:
    before = content(whole)
    ended = command(*words(whole, "--resume", "--json"))
    assert ended.code == 0
    reached = json.loads(ended.out)
    assert (reached["name"], reached["epochs"], reached["training_images"], reached["test_images"]) == (
        NAME,
        2,
        1438,
        359,
    )
    assert content(whole) == before


def test_a_checkpoint_is_not_overwritten(whole: Path, command: Command) -> None:
    before = content(whole)
    ended = command(*words(whole))
    assert ended.code == 2
    assert "holds a checkpoint: give --resume" in ended.said
    assert content(whole) == before


def test_a_checkpoint_of_another_training_is_refused(whole: Path, tmp_path: Path) -> None:
    before = content(whole)
    with pytest.raises(StoreError, match="epochs was 2, is 3"):
        train_recipe(NAME, whole, "digits:train", "digits:test", epochs=3, resume=True)
    with pytest.raises(StoreError, match="data was"):
        train_recipe(NAME, whole, "digits", "digits:test", epochs=2, resume=True)
    with pytest.raises(StoreError, match="recipe was 'digits-resnet', is 'cifar10-resnet20'"):
        train_recipe("cifar10-resnet20", whole, "digits:train", "digits:test", epochs=2, resume=True)
    assert content(whole) == before
    (tmp_path / "checkpoint.pt").write_bytes((whole / "checkpoint.pt").read_bytes()[:1000])
    (tmp_path / "training.json").write_bytes((whole / "training.json").read_bytes())
    with pytest.raises(StoreError, match="cannot be read"):
        train_recipe(NAME, tmp_path, "digits:train", "digits:test", epochs=2, resume=True)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--epochs", "0"], "epochs is 0"),
        (["--device", "cuda:99"], "device is 'cuda:99'"),
        (["--data", "no/such"], "does not exist"),
        (["--test", "digitz"], "unknown data set 'digitz'"),
    ],
)
def test_wrong_values(command: Command, tmp_path: Path, more: list[str], said: str) -> None:
    ended = command(*words(tmp_path / "out", *more))
    assert ended.code == 2
    assert said in ended.said
    assert "Traceback" not in ended.err


def test_a_recipe_whose_data_does_not_ship_needs_them(command: Command, tmp_path: Path) -> None:
    ended = command("train", "classifier", "--recipe", "cifar10-densenet", "--out", tmp_path)
    assert ended.code == 2
    assert "the 50,000 training images of CIFAR-10, which do not come with underfire: give data and test" in ended.said


def test_data_that_does_not_suit_the_recipe(command: Command, tmp_path: Path) -> None:
    table = write_digits(tmp_path / "data", range(5))
    ended = command(*words(tmp_path / "out", "--data", table))
    assert ended.code == 2
    assert "holds 5 images" in ended.said
    table.write_text(table.read_text().replace(",4\n", ",17\n"))
    ended = command(*words(tmp_path / "out", "--data", table))
    assert ended.code == 2
    assert "labels up to 17; the classes of digits-resnet are 0..9" in ended.said
    (tmp_path / "file").write_text("in the way")
    ended = command(*words(tmp_path / "file"))
    assert ended.code == 2
    assert "is a file; give a folder." in ended.said
