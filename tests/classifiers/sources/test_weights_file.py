"""Checkpoints of training scripts: wrapped, prefixed, incomplete, with another head, unsafe."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import underfire as uf
from tests.conftest import Tiny, tiny_network
from underfire.classifiers.sources.weights_file import load_weights
from underfire.errors import InputError, UnderfireWarning

State = dict[str, torch.Tensor]


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: value for name, value in state.items()}


WRAPPINGS: dict[str, Any] = {
    "bare": lambda s: s,
    "state_dict": lambda s: {"epoch": 3, "state_dict": s, "optimizer": {"lr": 0.1}},
    "nested": lambda s: {"model": {"state_dict": s}},
    "data-parallel": lambda s: prefixed(s, "module."),
    "lightning": lambda s: {"state_dict": {**prefixed(s, "model."), "loss.weight": torch.ones(4)}, "epoch": 3},
    "compiled in parallel": lambda s: {"model": prefixed(s, "module._orig_mod.")},
    "with a normalisation": lambda s: {**prefixed(s, "1."), "0.mean": torch.zeros(3)},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.filterwarnings("ignore::underfire.errors.UnderfireWarning")
def test_every_way_of_saving_gives_the_same_weights(tmp_path: Path, wrapping: str) -> None:
    trained, fresh = tiny_network(seed=1), Tiny()
    torch.save(WRAPPINGS[wrapping](trained.state_dict()), tmp_path / "net.pth")
    load_weights(fresh, tmp_path / "net.pth")
    assert all(torch.equal(value, fresh.state_dict()[name]) for name, value in trained.state_dict().items())


def test_safetensors(tmp_path: Path) -> None:
    trained, fresh = tiny_network(seed=1), Tiny()
    save_file(trained.state_dict(), tmp_path / "net.safetensors")
    load_weights(fresh, tmp_path / "net.safetensors")
    assert torch.equal(trained.head.weight, fresh.head.weight)
    (tmp_path / "net.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        load_weights(fresh, tmp_path / "net.safetensors")


def test_a_layer_whose_own_name_is_a_usual_prefix_keeps_it(tmp_path: Path) -> None:
    network = nn.ModuleDict({"model": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    torch.save(network.state_dict(), tmp_path / "net.pth")
    fresh = nn.ModuleDict({"model": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    load_weights(fresh, tmp_path / "net.pth")
    assert torch.equal(network["model"].weight, fresh["model"].weight)


def refused(tmp_path: Path, content: object, network: nn.Module) -> str:
    torch.save(content, tmp_path / "net.pth")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(InputError) as raised:
        load_weights(network, tmp_path / "net.pth")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items()), "nothing half loaded"
    return str(raised.value).replace(str(tmp_path / "net.pth"), "FILE")


def test_missing_weights_are_counted_and_named(tmp_path: Path) -> None:
    state = tiny_network().state_dict()
    renamed = {name.replace("head", "fc"): value for name, value in state.items() if name != "second.bias"}
    assert refused(tmp_path, renamed, Tiny()) == (
        "weights file FILE does not fit the network: 3 of 10 (second.bias, head.weight, head.bias) of the network's "
        "are missing, and 2 of 9 (fc.weight, fc.bias) of the file's have no place. Is it the same architecture, "
        "and are its layers called the same?"
    )


def test_weights_without_a_place_are_warned_of(tmp_path: Path) -> None:
    torch.save({**tiny_network().state_dict(), "extra.weight": torch.ones(1)}, tmp_path / "net.pth")
    with pytest.warns(UnderfireWarning, match=r"1 of 11 \(extra.weight\) of the weights"):
        load_weights(Tiny(), tmp_path / "net.pth")


def test_another_number_of_classes_says_how_to_pass_it(tmp_path: Path) -> None:
    assert refused(tmp_path, tiny_network(classes=7).state_dict(), Tiny(classes=4)) == (
        "weights file FILE is for 7 classes, and the network has 4 (head.weight is 7 x 8, expected 4 x 8): give "
        "--classes 7, or have your file.py:function build it with 7."
    )


def test_another_architecture(tmp_path: Path) -> None:
    assert "3 of 10 weights in other shapes" not in refused(tmp_path, Tiny(width=16).state_dict(), Tiny())
    assert "It looks like another architecture" in refused(tmp_path, Tiny(width=16).state_dict(), Tiny())


@pytest.mark.parametrize("content", [3, [torch.ones(1)], {"epoch": 3}, {}])
def test_no_state_dict(tmp_path: Path, content: object) -> None:
    assert "holds no state dict" in refused(tmp_path, content, Tiny())


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("ran"),))


def test_a_pickle_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "Save the state dict alone" in refused(tmp_path, {"state_dict": Evil()}, Tiny())
    assert "Save the state dict alone" in refused(tmp_path, tiny_network(), Tiny())
    (tmp_path / "net.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InputError):
        load_weights(Tiny(), tmp_path / "net.pth")
    assert not (tmp_path / "ran").exists()


def test_everything_about_a_network_from_its_file(tmp_path: Path) -> None:
    """--weights --mean --std --image-size --classes on a user's own function."""
    trained = tiny_network(seed=1)
    torch.save({"state_dict": prefixed(trained.state_dict(), "module.")}, tmp_path / "net.pth")
    (tmp_path / "names.txt").write_text("cat\ndog\n\nowl\nnewt\n")
    (tmp_path / "model.py").write_text("from tests.conftest import Tiny\ndef build(): return Tiny()\n")
    classifier = uf.classifiers.load(
        f"{tmp_path / 'model.py'}:build",
        weights=str(tmp_path / "net.pth"),
        mean=(0.5, 0.4, 0.6),
        std=(0.2, 0.3, 0.25),
        image_size=16,
        classes=str(tmp_path / "names.txt"),
    )
    assert classifier.class_names == ("cat", "dog", "owl", "newt")
    images = torch.rand(8, 3, 16, 16)
    expected = uf.Classifier(trained, mean=(0.5, 0.4, 0.6), std=(0.2, 0.3, 0.25)).logits(images)
    assert torch.equal(classifier.logits(images), expected)
    with pytest.raises(InputError, match="expected a number, or a text file"):
        uf.classifiers.load("digits-resnet", classes=str(tmp_path / "nothing.txt"))


def test_a_text_is_no_weights_file(tmp_path: Path) -> None:
    """Such as the pointer file of Git LFS; the error of torch itself would be "105"."""
    for text in ("import torch\n", "version https://git-lfs.github.com/spec/v1\n", ""):
        (tmp_path / "w.pth").write_text(text)
        with pytest.raises(InputError, match="is not a PyTorch or safetensors file"):
            load_weights(Tiny(), tmp_path / "w.pth")
