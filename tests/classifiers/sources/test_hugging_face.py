"""Hugging Face checkpoints: a folder is read without a network, and images are prepared as its processor says."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file

import underfire as uf
from tests.classifiers.sources.models import attack, package
from underfire.classifiers.sources.processor import normalisation, size_and_resizing
from underfire.data import Resizing
from underfire.errors import ClassifierError, InputError

NAMES = {0: "cat", 1: "dog", 2: "owl", 3: "newt", 4: "carp"}
PROCESSOR = {
    "image_processor_type": "ConvNextImageProcessor",
    "crop_pct": 0.875,
    "size": {"shortest_edge": 56},
    "image_mean": [0.1, 0.2, 0.3],
    "image_std": [0.4, 0.5, 0.6],
    "resample": 2,
}


def write(folder: Path, processor: dict[str, object] | None = PROCESSOR, **config: object) -> ModuleType:
    """Save a tiny residual network with random weights by the library itself."""
    transformers = package("transformers")
    torch.manual_seed(0)
    tiny = {"depths": [1, 1], "hidden_sizes": [8, 16], "embedding_size": 8, "layer_type": "basic"}
    made = transformers.ResNetForImageClassification(transformers.ResNetConfig(**tiny, id2label=NAMES, **config))
    made.save_pretrained(folder)
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return transformers


@pytest.mark.parametrize("interpreter", ["cam", "grad"])
def test_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interpreter: str) -> None:
    write(tmp_path)
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("a folder needs no network"))
    classifier = uf.classifiers.load(f"hf:{tmp_path}")
    assert classifier.class_names == tuple(NAMES.values())
    assert (classifier.image_size, classifier.resizing) == ((56, 56), Resizing(64, "bilinear"))
    assert (classifier.mean, classifier.std) == (pytest.approx((0.1, 0.2, 0.3)), pytest.approx((0.4, 0.5, 0.6)))
    attack(classifier, interpreter)


def test_logits_are_those_of_the_library(tmp_path: Path) -> None:
    transformers = write(tmp_path)
    images = torch.rand(8, 3, 56, 56)
    network = transformers.AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    pixels = (images - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)
    expected = network(pixels).logits.detach()
    assert torch.allclose(uf.classifiers.load(f"hf:{tmp_path}").logits(images), expected, atol=1e-5)


def test_a_multi_label_checkpoint_is_refused(tmp_path: Path) -> None:
    write(tmp_path, problem_type="multi_label_classification")
    with pytest.raises(ClassifierError, match="classifies into several labels at once"):
        uf.classifiers.load(f"hf:{tmp_path}")


def test_a_checkpoint_without_a_head(tmp_path: Path) -> None:
    transformers = write(tmp_path)
    transformers.AutoModelForImageClassification.from_pretrained(tmp_path).resnet.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="without a classifier's head"):
        uf.classifiers.load(f"hf:{tmp_path}")


def test_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package("transformers")
    with pytest.raises(InputError, match="is not there, and no folder of that name exists"):
        uf.classifiers.load(f"hf:{tmp_path / 'nothing'}")
    with pytest.raises(InputError, match="holds no configuration"):
        uf.classifiers.load(f"hf:{tmp_path}")
    monkeypatch.setattr("underfire.classifiers.sources.hugging_face.unreachable", lambda *_: "no answer")
    with pytest.raises(InputError, match=r"cannot be downloaded \(no answer\).*give the folder: hf:FOLDER"):
        uf.classifiers.load("hf:somebody/something")


PIXEL = 1 / 255


@pytest.mark.parametrize(
    ("processor", "mean", "std"),
    [
        ({}, None, None),
        ({"do_normalize": False}, None, None),
        ({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}, (0.5,) * 3, (0.25,) * 3),
        # Without rescaling the network gets 255 p: (255 p - 100) / 50 = (p - 100/255) / (50/255).
        ({"do_rescale": False, "image_mean": [100.0] * 3, "image_std": [50.0] * 3}, (100 / 255,) * 3, (50 / 255,) * 3),
        ({"do_rescale": False, "do_normalize": False}, (0.0,) * 3, (PIXEL,) * 3),
        # (255 p / 127.5 - 1 - 0) / 1 = (p - 0.5) / 0.5
        ({"rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False}, (0.5,) * 3, (0.5,) * 3),
        ({"do_flip_channel_order": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}, None, None),
    ],
)
def test_normalisation(processor: dict[str, object], mean: object, std: object) -> None:
    found = normalisation(processor)
    assert found == ((None, None) if mean is None else (pytest.approx(mean), pytest.approx(std)))


SQUARE = {"height": 224, "width": 224}


@pytest.mark.parametrize(
    ("processor", "size", "resizing"),
    [
        ({"size": SQUARE, "resample": 2}, (224, 224), Resizing((224, 224), "bilinear")),
        ({"size": 224}, (224, 224), Resizing((224, 224))),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3}, (224, 224), Resizing(256)),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, (384, 384), Resizing((384, 384))),
        (
            {"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": SQUARE, "resample": 1},
            (224, 224),
            Resizing(256, "lanczos"),
        ),
        ({"do_resize": False}, None, Resizing()),
        (
            {"size": {"shortest_edge": 224}, "do_center_crop": True, "crop_size": {"height": 256, "width": 256}},
            (256, 256),
            Resizing(),
        ),
    ],
)
def test_size_and_resizing(processor: dict[str, object], size: object, resizing: Resizing) -> None:
    assert size_and_resizing(processor) == (size, resizing)


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
def test_a_folder_with_weights_in_pieces(tmp_path: Path, safe: bool) -> None:
    transformers = write(tmp_path / "whole")
    network = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "whole").eval()
    shutil.copytree(tmp_path / "whole", tmp_path / "pieces")
    (tmp_path / "pieces" / "model.safetensors").unlink()
    state, suffix = network.state_dict(), "safetensors" if safe else "bin"
    kind, names = "model" if safe else "pytorch_model", list(state)
    where = {name: f"{kind}-0000{1 + index % 2}-of-00002.{suffix}" for index, name in enumerate(names)}
    for file in set(where.values()):
        piece = {name: state[name] for name in names if where[name] == file}
        save = partial(save_file, metadata={"format": "pt"}) if safe else torch.save
        save(piece, tmp_path / "pieces" / file)
    index = {"metadata": {"total_size": 1}, "weight_map": where}
    (tmp_path / "pieces" / f"{kind}.{suffix}.index.json").write_text(json.dumps(index))
    images = torch.rand(4, 3, 56, 56)
    whole, pieces = (uf.classifiers.load(f"hf:{tmp_path / name}") for name in ("whole", "pieces"))
    assert torch.equal(whole.logits(images), pieces.logits(images))
    other = uf.classifiers.load(f"hf:{tmp_path / 'whole'}", weights=str(tmp_path / "pieces"))
    assert torch.equal(whole.logits(images), other.logits(images))


def test_outputs_without_return_dict(tmp_path: Path) -> None:
    write(tmp_path, output_hidden_states=True)
    images = torch.rand(4, 3, 56, 56)
    expected = uf.classifiers.load(f"hf:{tmp_path}").logits(images)
    write(tmp_path, output_hidden_states=True, return_dict=False)
    assert torch.equal(uf.classifiers.load(f"hf:{tmp_path}").logits(images), expected)
