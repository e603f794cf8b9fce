"""Checkpoints as training frameworks write them: layouts, prefixes, several sets of weights, and the choice of one."""

from __future__ import annotations

import json
import warnings
from collections import OrderedDict
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
    return OrderedDict((prefix + name, value) for name, value in state.items())


def plain() -> State:
    return tiny_network(seed=1).state_dict()


def average() -> State:
    return tiny_network(seed=2).state_dict()


def same(network: nn.Module, state: State) -> bool:
    return all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def saved(tmp_path: Path, content: Any, name: str = "net.pth") -> Path:
    torch.save(content, tmp_path / name)
    return tmp_path / name


ONE_SET: dict[str, Any] = {
    "lightning, self.resnet": {
        "state_dict": {**prefixed(plain(), "resnet."), "val_acc.total": torch.tensor(3)},
        "hyper_parameters": {"lr": 0.1},
        "pytorch-lightning_version": "2.4.0",
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"params": [0, 1]}]}],
    },
    "lightning, self.classifier": {"state_dict": prefixed(plain(), "classifier.")},
    "ema alone": {"ema": plain(), "updates": 10},
    "params": {"params": plain()},
    "network": {"network": plain()},
    "deep": {"trainer": {"task": {"weights": prefixed(plain(), "a.b.c.")}}},
    "average of torch": {"model_ema": {"n_averaged": torch.tensor(3), **prefixed(plain(), "module.")}},
    "parallel inside": {name.replace("second.", "second.module."): value for name, value in plain().items()},
    "compiled and parallel": prefixed(plain(), "_orig_mod.module."),
    "prefix and parallel inside": {
        "state_dict": prefixed({n.replace("norm.", "norm.module."): v for n, v in plain().items()}, "net.")
    },
    "deepspeed": {"module": plain(), "global_steps": 3},
    "list of one": [plain()],
    "head without prefix": {
        (name if name.startswith("head") else f"backbone.{name}"): value for name, value in plain().items()
    },
}


@pytest.mark.parametrize("layout", ONE_SET)
def test_a_file_with_one_set_of_weights_loads_without_a_warning(tmp_path: Path, layout: str) -> None:
    fresh = Tiny()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_weights(fresh, saved(tmp_path, ONE_SET[layout]))
    assert same(fresh, plain())


def in_sequential(state: State, layer: str, number: int = 1) -> State:
    """Name the weights as in a network whose ``layer`` is ``Sequential(Dropout, layer)``."""
    return {name.replace(f"{layer}.", f"{layer}.{number}."): value for name, value in state.items()}


def test_a_head_in_a_sequential_with_dropout_is_loaded_and_said(tmp_path: Path) -> None:
    fresh = Tiny()
    with pytest.warns(UnderfireWarning, match=r"head\.1 in .* taken for the layer head .* a ReLU"):
        load_weights(fresh, saved(tmp_path, {"state_dict": in_sequential(prefixed(plain(), "net."), "head")}))
    assert same(fresh, plain())
    both = {"student": in_sequential(plain(), "head"), "teacher": in_sequential(average(), "head")}
    with (
        pytest.warns(UnderfireWarning, match=r"head\.1 in"),
        pytest.warns(UnderfireWarning, match="2 sets of weights"),
    ):
        load_weights(fresh, saved(tmp_path, both))
    assert same(fresh, plain())


def test_a_head_of_several_layers_is_refused(tmp_path: Path) -> None:
    wrapped = in_sequential(plain(), "head")
    several = wrapped | {"head.0.weight": torch.ones(3, 3)}
    renamed = {name.replace("head.1", "head.last"): value for name, value in wrapped.items()}
    half = {name: value for name, value in wrapped.items() if name != "head.1.bias"}
    for state in (several, renamed, half):
        with pytest.raises(InputError, match=r"head\.weight.* are missing, and .*head\.\w+\.weight"):
            load_weights(Tiny(), saved(tmp_path, state))


TWO_SETS: dict[str, tuple[Any, str, str]] = {
    "torchvision": ({"model": plain(), "model_ema": prefixed(average(), "module.")}, "model", "model_ema"),
    "timm": ({"state_dict_ema": average(), "state_dict": plain()}, "state_dict", "state_dict_ema"),
    "distilled": (
        {"student": prefixed(plain(), "module.backbone."), "teacher": prefixed(average(), "backbone.")},
        "student.backbone",
        "teacher",
    ),
    "one flat dict": ({**prefixed(average(), "ema_model."), **prefixed(plain(), "model.")}, "model", "ema_model"),
    "lightning with a callback": (
        {
            "state_dict": prefixed(plain(), "net."),
            "callbacks": {"EMA": {"ema_state_dict": prefixed(average(), "net.")}},
        },
        "state_dict.net",
        "callbacks.EMA.ema_state_dict",
    ),
    "lightning with both": (
        {"state_dict": {**prefixed(plain(), "model."), **prefixed(average(), "ema_model.")}},
        "state_dict.model",
        "state_dict.ema_model",
    ),
    "folds": ({"models": [plain(), average()]}, "models.0", "models.1"),
}


@pytest.mark.parametrize("layout", TWO_SETS)
def test_two_sets_of_weights_are_said_and_can_be_chosen(tmp_path: Path, layout: str) -> None:
    content, taken, other = TWO_SETS[layout]
    path, first, second = saved(tmp_path, content), Tiny(), Tiny()
    with pytest.warns(UnderfireWarning, match="holds 2 sets of weights") as caught:
        note = load_weights(first, path)
    assert len(caught) == 1
    said = str(caught[0].message)
    assert f"'{taken}' is taken" in said
    assert f"'{other}" in said
    assert "--weights-key" in said
    assert f"'{taken}'" in note
    assert f"'{other}" in note
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_weights(second, path, other)
    assert same(first, plain())
    assert same(second, average())


def test_a_key_that_is_not_there(tmp_path: Path) -> None:
    path = saved(tmp_path, {"model": plain(), "model_ema": average()})
    with pytest.raises(InputError, match=r"Did you mean 'model_ema'\? Known: model, model_ema\."):
        load_weights(Tiny(), path, "modelema")
    with pytest.raises(InputError, match="weights-key is 'ema', and weights is None; expected a file"):
        uf.classifiers.load("digits-resnet", weights_key="ema")


def test_the_end_of_a_key_is_enough_if_one_set_has_it(tmp_path: Path) -> None:
    both = {**prefixed(plain(), "model."), **prefixed(average(), "ema_model.")}
    path, network = saved(tmp_path, {"state_dict": both}), Tiny()
    load_weights(network, path, "ema_model")
    assert same(network, average())
    path = saved(tmp_path, {"fold1": {"net": plain()}, "fold2": {"net": average()}})
    with pytest.raises(InputError, match=r"net.*Known: fold1\.net, fold2\.net"):
        load_weights(network, path, "net")


def test_a_key_with_weights_that_do_not_fit(tmp_path: Path) -> None:
    path = saved(tmp_path, {"model": plain(), "optimizer": {"first": torch.ones(2, 2)}})
    with pytest.raises(InputError, match=r"9 of 10 .* of the network's are missing"):
        load_weights(Tiny(), path, "optimizer")


def test_a_network_with_a_wrapper_of_its_own_loads_the_weights_of_the_network_inside(tmp_path: Path) -> None:
    wrapped = nn.DataParallel(Tiny())
    load_weights(wrapped, saved(tmp_path, plain()))
    assert same(wrapped.module, plain())


def test_the_classifier_says_where_its_weights_come_from(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("from tests.conftest import Tiny\ndef build(): return Tiny()\n")
    path = saved(tmp_path, {"state_dict": prefixed(plain(), "resnet."), "ema": average()}, "last.th")
    classifier = uf.classifiers.load(f"{tmp_path / 'model.py'}:build", weights=str(path), weights_key="state_dict")
    assert classifier.notes == ("last.th: the names begin with 'state_dict.resnet', which is taken off",)
    assert same(classifier.module, plain())


def write_pieces(folder: Path, suffix: str) -> None:
    """Write weights in two files and their index, as Hugging Face's libraries do."""
    state, kind = plain(), "model" if suffix == "safetensors" else "pytorch_model"
    names, where = list(state), {}
    for number, part in enumerate((names[:5], names[5:]), 1):
        file = f"{kind}-0000{number}-of-00002.{suffix}"
        piece = {name: state[name] for name in part}
        save_file(piece, folder / file) if suffix == "safetensors" else torch.save(piece, folder / file)
        where |= dict.fromkeys(part, file)
    (folder / f"{kind}.{suffix}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_a_folder_with_weights_in_pieces(tmp_path: Path, suffix: str) -> None:
    write_pieces(tmp_path, suffix)
    index = next(tmp_path.glob("*.index.json"))
    for path in (tmp_path, index):
        fresh = Tiny()
        load_weights(fresh, path)
        assert same(fresh, plain())
    (tmp_path / "model.py").write_text("from tests.conftest import Tiny\ndef build(): return Tiny()\n")
    classifier = uf.classifiers.load(f"{tmp_path / 'model.py'}:build", weights=str(tmp_path))
    assert same(classifier.module, plain())
    next(tmp_path.glob("*-of-00002.*")).unlink()
    with pytest.raises(InputError, match=r"one of 2 that .* lists, does not exist"):
        load_weights(Tiny(), tmp_path)


def test_a_folder_without_weights_and_a_broken_index(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no weights; expected one of model.safetensors.index.json"):
        load_weights(Tiny(), tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": 3}')
    with pytest.raises(InputError, match="expected JSON with a weight_map"):
        load_weights(Tiny(), tmp_path)
