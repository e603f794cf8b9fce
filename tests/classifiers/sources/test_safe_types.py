"""Values beside the weights in a file: harmless types are read, and everything that could run code is refused."""

from __future__ import annotations

import argparse
import collections
import datetime
import json
import pathlib
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.classifiers.sources.models import package
from tests.conftest import Tiny, tiny_network
from underfire.classifiers import load
from underfire.classifiers.sources.torch_file import read_torch_file
from underfire.classifiers.sources.weights_file import load_weights
from underfire.errors import InputError

HARMLESS: dict[str, Any] = {
    "Namespace": argparse.Namespace(lr=0.1, layers=[1, 2]),
    "SimpleNamespace": types.SimpleNamespace(lr=0.1),
    "path": Path("runs/best"),
    "NumPy float": np.float64(0.93),
    "NumPy float32": np.float32(0.93),
    "NumPy integer": np.int64(3),
    "NumPy bool": np.bool_(True),
    "NumPy dtype": np.dtype("float32"),
    "NumPy array": np.arange(6).reshape(2, 3),
    "OrderedDict": collections.OrderedDict(a=1),
    "defaultdict": collections.defaultdict(list, {"a": [1]}),
    "date": datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC),
    "parameter": nn.Parameter(torch.ones(2)),
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old format"])
@pytest.mark.parametrize("kind", HARMLESS)
def test_a_harmless_value_beside_the_weights(tmp_path: Path, kind: str, zipped: bool) -> None:
    trained, fresh, file = tiny_network(seed=1), Tiny(), tmp_path / "checkpoint_best.ckpt"
    content = {"state_dict": trained.state_dict(), "best_acc1": HARMLESS[kind]}
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    before = set(torch.serialization.get_safe_globals())
    load_weights(fresh, file)
    assert torch.equal(trained.head.weight, fresh.head.weight)
    assert set(torch.serialization.get_safe_globals()) == before, "nothing stays allowed"


def test_a_type_that_the_user_allowed_stays_allowed(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1), "b": np.float64(1)}, tmp_path / "a.pt")
    with torch.serialization.safe_globals([np.dtype]):
        read_torch_file(tmp_path / "a.pt")
        assert np.dtype in torch.serialization.get_safe_globals()
    assert np.dtype not in torch.serialization.get_safe_globals()


def test_a_path_of_another_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of Windows holds WindowsPath objects, which cannot be made elsewhere."""

    class WindowsPath(pathlib.PureWindowsPath):
        pass

    WindowsPath.__module__, WindowsPath.__qualname__ = "pathlib", "WindowsPath"
    monkeypatch.setattr(pathlib, "WindowsPath", WindowsPath)
    torch.save({"a": torch.ones(1), "where": WindowsPath("runs", "best")}, tmp_path / "a.pt")
    assert read_torch_file(tmp_path / "a.pt")["where"] == pathlib.PureWindowsPath("runs/best")


def test_containers_of_omegaconf(tmp_path: Path) -> None:
    omegaconf = pytest.importorskip("omegaconf")
    made = omegaconf.OmegaConf.create({"lr": 0.1, "sizes": [1, 2], "home": "${oc.env:HOME}", "none": None})
    trained, fresh = tiny_network(seed=1), Tiny()
    torch.save({"state_dict": trained.state_dict(), "hyper_parameters": made}, tmp_path / "a.ckpt")
    load_weights(fresh, tmp_path / "a.ckpt")
    assert torch.equal(trained.head.weight, fresh.head.weight)


def test_without_omegaconf_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an imitation of it, which is gone when the file is read."""
    module = types.ModuleType("omegaconf.dictconfig")
    module.DictConfig = type("DictConfig", (), {"__module__": module.__name__})  # type: ignore[attr-defined]
    content = {"state_dict": tiny_network().state_dict(), "hyper_parameters": module.DictConfig()}
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "omegaconf", types.ModuleType("omegaconf"))
        patch.setitem(sys.modules, module.__name__, module)
        torch.save(content, tmp_path / "a.ckpt")
    monkeypatch.setattr("underfire.classifiers.sources.torch_file.find_spec", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = refusal(tmp_path / "a.ckpt")
    assert "holds settings of OmegaConf beside the tensors (omegaconf.dictconfig.DictConfig)" in said
    assert "pip install 'underfire[formats]'" in said


class Own:
    """An object of a training script."""

    def __init__(self) -> None:
        self.lr = 0.1


def refusal(file: Path) -> str:
    with pytest.raises(InputError) as raised:
        load_weights(Tiny(), file)
    return str(raised.value).replace(str(file), "FILE")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old format"])
def test_any_other_type_is_named(tmp_path: Path, zipped: bool) -> None:
    content = {"state_dict": tiny_network().state_dict(), "config": Own(), "now": Path("a")}
    torch.save(content, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    said = refusal(tmp_path / "net.pth")
    assert f"objects of the training script ({__name__}.Own), which would run code" in said
    assert said.splitlines()[1:4] == [
        "    import torch",
        "    content = torch.load('FILE', map_location=\"cpu\", weights_only=False)",
        '    torch.save(content["state_dict"], "weights.pt")',
    ]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old format"])
def test_the_lines_that_convert_a_pickled_network_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    trained, fresh = tiny_network(seed=1), Tiny()
    torch.save(trained, "net.pth", _use_new_zipfile_serialization=zipped)
    said = refusal(Path("net.pth"))
    assert "a whole pickled network" in said
    lines = [line.strip().replace("FILE", "net.pth") for line in said.splitlines() if line.startswith("    ")]
    assert len(lines) == 3
    exec("\n".join(lines), {})
    load_weights(fresh, Path("weights.pt"))
    assert torch.equal(trained.head.weight, fresh.head.weight)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_the_lines_that_convert_torchscript_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trained, fresh = tiny_network(seed=1), Tiny()
    torch.jit.trace(trained, torch.rand(1, 3, 16, 16)).save("net.pt")
    said = refusal(Path("net.pt"))
    assert "holds TorchScript" in said
    lines = [line.strip().replace("FILE", "net.pt") for line in said.splitlines() if line.startswith("    ")]
    exec("\n".join(lines), {})
    load_weights(fresh, Path("weights.pt"))
    assert torch.equal(trained.head.weight, fresh.head.weight)


class Touches:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize("content", [Touches(), tiny_network(), {"resnet.a": Touches()}], ids=["code", "net", "dict"])
def test_a_pickle_in_a_hugging_face_folder_never_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object
) -> None:
    package("transformers")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "resnet", "architectures": ["Any"]}))
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pytorch_model.bin holds more than tensors[\s\S]*Save the state dict alone"):
        load(f"hf:{tmp_path}")
    assert not (tmp_path / "ran").exists()


def test_a_broken_archive(tmp_path: Path) -> None:
    torch.save(tiny_network().state_dict(), tmp_path / "net.pth")
    data = (tmp_path / "net.pth").read_bytes()
    (tmp_path / "net.pth").write_bytes(data[: len(data) // 2])
    assert "cannot be read" in refusal(tmp_path / "net.pth")
