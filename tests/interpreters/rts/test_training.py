"""Training a masker: the effect of each phase, and equal bits after an interruption."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import underfire as uf
from tests.interpreters.rts.makers import pyramid, write_encoder
from tests.runs.runs import process
from underfire.checkpoints import load_checkpoint
from underfire.data import TensorData
from underfire.errors import DataError, InputError, InterpreterError, StoreError
from underfire.interpreters import RTS
from underfire.interpreters.rts import MaskerRecipe, train_masker
from underfire.interpreters.rts.sampling import Pictures, drawn, with_fakes
from underfire.training import Step

SHORT = MaskerRecipe(selector_steps=4, decoder_steps=6, selector_batch=16, decoder_batch=8, width=8)


def blobs(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw uint8 images of 32 x 32 with a bright square, whose colour is the label (red, green, blue, white)."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(40, 90, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.arange(count) % 4
    places = torch.randint(2, 20, (count, 2), generator=generator).tolist()
    for index, (y, x) in enumerate(places):
        channels = slice(None) if int(labels[index]) == 3 else [int(labels[index])]
        images[index, channels, y : y + 10, x : x + 10] = 230
    return images, labels


def data(count: int, seed: int = 0) -> TensorData:
    images, labels = blobs(count, seed)
    return TensorData(images, labels, name=f"blobs-{seed}")


@pytest.fixture(scope="module")
def taught() -> uf.Classifier:
    """A network that was trained to classify the squares by colour."""
    classifier = pyramid()
    images, labels = blobs(256, 1)
    torch.manual_seed(0)
    for part in classifier.module.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()
    optimiser = torch.optim.Adam(classifier.module.parameters(), lr=0.01)
    for step in range(60):
        chosen = torch.arange(step * 32, step * 32 + 32) % 256
        loss = torch.nn.functional.cross_entropy(
            classifier.module(classifier.normalise(images[chosen].float() / 255)), labels[chosen]
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return classifier


class StopError(Exception):
    pass


def stop_at(phase: str, number: int) -> Any:
    def on_step(step: Step) -> None:
        if (step.phase, step.number) == (phase, number):
            raise StopError

    return on_step


def test_an_interrupted_training_ends_in_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("underfire.interpreters.rts.training.CHECKPOINT_EVERY", 2)
    classifier, whole, parts = pyramid(), tmp_path / "whole", tmp_path / "parts"
    train_masker(classifier, data(40), whole, recipe=SHORT, test=data(8, 2))
    for phase, number in (("selector", 3), ("selector", 4), ("decoder", 1), ("decoder", 5)):
        with pytest.raises(StopError):
            train_masker(
                classifier, data(40), parts, recipe=SHORT, test=data(8, 2), resume=True, on_step=stop_at(phase, number)
            )
        assert not list(parts.glob("*.safetensors"))
    heard: list[tuple[str, int]] = []
    train_masker(
        classifier,
        data(40),
        parts,
        recipe=SHORT,
        test=data(8, 2),
        resume=True,
        on_step=lambda s: heard.append((s.phase, s.number)),
    )
    assert heard == [("decoder", 5), ("decoder", 6)], "from the last checkpoint on, and not from the start"
    for name in ("rts-pyramid.safetensors", "rts-pyramid.md", "losses.csv"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name
    before = (parts / "rts-pyramid.safetensors").read_bytes()
    train_masker(classifier, data(40), parts, recipe=SHORT, test=data(8, 2), resume=True)
    assert (parts / "rts-pyramid.safetensors").read_bytes() == before, "resuming a finished one changes nothing"


def test_another_trainings_checkpoint_is_refused(tmp_path: Path) -> None:
    classifier = pyramid()
    train_masker(classifier, data(40), tmp_path, recipe=SHORT)
    with pytest.raises(StoreError, match="holds a checkpoint: give --resume"):
        train_masker(classifier, data(40), tmp_path, recipe=SHORT)
    with pytest.raises(StoreError, match="classifier_sha256 was"):
        train_masker(pyramid(3), data(40), tmp_path, recipe=SHORT, resume=True)
    with pytest.raises(StoreError, match="data was"):
        train_masker(classifier, data(44), tmp_path, recipe=SHORT, resume=True)
    with pytest.raises(StoreError, match=r"decoder_steps was 6, is 7"):
        train_masker(classifier, data(40), tmp_path, recipe=MaskerRecipe(decoder_steps=7), resume=True)


def test_it_learns_where_the_class_is(taught: uf.Classifier, tmp_path: Path) -> None:
    """After few steps the map is larger on the square than beside it."""
    recipe = MaskerRecipe(selector_steps=60, decoder_steps=120, selector_batch=32, decoder_batch=16, width=8, rate=5e-3)
    before = taught.sha256()
    modes = [part.training for part in taught.module.modules()]
    reached = train_masker(taught, data(128, 3), tmp_path, test=data(64, 4), recipe=recipe)
    assert taught.sha256() == before
    assert [part.training for part in taught.module.modules()] == modes
    assert all(value.grad is None and value.requires_grad for value in taught.module.parameters())
    assert reached["accuracy"] > 0.9
    assert reached["presence_accuracy"] > 0.8
    assert reached["kept"] > reached["without"] + 0.2
    images, labels = blobs(64, 5)
    interpreter = RTS(str(tmp_path))
    own = interpreter.maps(taught, images.float() / 255, labels)
    masks = (images.float().amax(1) > 200).float()
    inside = torch.nn.functional.interpolate(own.unsqueeze(1), (32, 32)).squeeze(1)
    on = (inside * masks).sum((1, 2)) / masks.sum((1, 2))
    off = (inside * (1 - masks)).sum((1, 2)) / (1 - masks).sum((1, 2))
    assert float((on > off).float().mean()) > 0.9
    assert (tmp_path / "rts-pyramid.md").read_text().count("of 64 test images") == 2


def test_the_selector_is_frozen_while_the_decoder_learns(tmp_path: Path) -> None:
    classifier = pyramid()
    with pytest.raises(StopError):
        train_masker(classifier, data(40), tmp_path, recipe=SHORT, on_step=stop_at("selector", 4))
    then = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["network"]
    train_masker(classifier, data(40), tmp_path, recipe=SHORT, resume=True)
    now = RTS(str(tmp_path)).open(classifier.sha256()).masker.state_dict()
    assert torch.equal(then["selector.weight"], now["selector.weight"])
    assert not torch.equal(then["to_map.weight"], now["to_map.weight"])


def test_another_networks_features(tmp_path: Path) -> None:
    classifier = pyramid()
    encoder, spec = write_encoder(tmp_path)
    train_masker(classifier, data(40), tmp_path / "out", recipe=SHORT, encoder=encoder, encoder_spec=spec)
    opened = RTS(str(tmp_path / "out"), encoder=spec).open(classifier.sha256())
    assert opened.encoder is not None
    assert opened.note.encoder == spec
    same = pyramid()
    train_masker(classifier, data(40), tmp_path / "same", recipe=SHORT, encoder=same, encoder_spec="whatever.py:build")
    assert RTS(str(tmp_path / "same")).open(classifier.sha256()).encoder is None, "equal weights are one network"


def test_encoders_and_data_that_do_not_fit(tmp_path: Path) -> None:
    classifier = pyramid()
    small = uf.Classifier(pyramid(1).module, image_size=16)
    with pytest.raises(InputError, match=r"takes image_size \(16, 16\), and pyramid \(32, 32\)"):
        train_masker(classifier, data(40), tmp_path, recipe=SHORT, encoder=small, encoder_spec="x")
    with pytest.raises(InputError, match="encoder_spec is empty"):
        train_masker(classifier, data(40), tmp_path, recipe=SHORT, encoder=pyramid(1))
    with pytest.raises(InputError, match="encoder wide has 5 classes, and pyramid 4"):
        train_masker(classifier, data(40), tmp_path, recipe=SHORT, encoder=pyramid(1, 5, "wide"), encoder_spec="x")
    named = uf.Classifier(classifier.module, image_size=32, class_names=tuple("abcd"), name="named")
    turned = uf.Classifier(pyramid(1).module, image_size=32, class_names=tuple("bacd"), name="turned")
    with pytest.raises(InputError, match="encoder turned has other classes than named, or another order"):
        train_masker(named, data(40), tmp_path, recipe=SHORT, encoder=turned, encoder_spec="x")
    images, labels = blobs(40)
    with pytest.raises(DataError, match="labels up to 7"):
        train_masker(classifier, TensorData(images, labels + 4), tmp_path, recipe=SHORT)
    flat = uf.Classifier(_Flat(), image_size=32)
    with pytest.raises(InterpreterError, match="RTS needs an encoder with convolutional features"):
        train_masker(flat, data(40), tmp_path / "flat", recipe=SHORT)
    for wrong in ({"decoder_steps": 0}, {"selector_steps": 0}):
        with pytest.raises(InputError, match="expected at least 1 for the selector and 1 for the decoder"):
            MaskerRecipe(**wrong)
    with pytest.raises(InputError, match="multiple of 8"):
        MaskerRecipe(width=12)


class _Flat(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(images[:, 0, 0, :8] * 2)
        return logits


def test_every_image_comes_once_a_round() -> None:
    steps = [drawn(10, 4, step, seed=3) for step in range(5)]
    rows = [index for step in steps for index in step]
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    assert steps[0] != steps[2]
    assert drawn(10, 4, 2, seed=3) == steps[2]
    assert drawn(10, 4, 0, seed=4) != steps[0]


def test_fakes_are_other_classes() -> None:
    labels = torch.arange(4000) % 5
    classes, real = with_fakes(labels, 5, 0.3, torch.Generator().manual_seed(0))
    assert torch.equal(classes == labels, real)
    assert 0.27 < float((~real).float().mean()) < 0.33
    counts = torch.bincount((classes - labels)[~real] % 5, minlength=5)
    assert int(counts[0]) == 0
    assert int(counts[1:].min()) > 0.8 * int(counts[1:].max())


@pytest.mark.parametrize("memory", [1 << 30, 10])
def test_pictures_are_the_datas(memory: int) -> None:
    source, calls = data(12), list[int]()
    original = source.load

    def counted(*arguments: Any) -> Any:
        calls.append(len(arguments[2]))
        return original(*arguments)

    source.load = counted
    pictures = Pictures(source, pyramid(), memory)
    images, labels = pictures.load([3, 3, 7])
    again, _ = pictures.load([7, 1, 3])
    expected = original((32, 32), 3, [3, 3, 7])
    assert torch.equal(images, expected.images)
    assert torch.equal(labels, expected.labels)
    assert torch.equal(again[0], images[2])
    assert calls == ([2, 1] if memory > 10 else [2, 3])


def test_unreadable_pictures_are_left_out(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.new("RGB", (32, 32), (50 * number, 0, 0)).save(tmp_path / name / f"{number}.png")
    (tmp_path / "a" / "1.png").write_bytes(b"broken")
    pictures = Pictures(uf.data.open_data(tmp_path), pyramid())
    images, labels = pictures.load([0, 1, 2, 5])
    assert labels.tolist() == [0, 0, 1]
    assert [round(float(image[0, 0, 0]) * 255) for image in images] == [0, 100, 100]
    with pytest.raises(DataError, match="no image can be read of the 1 that were chosen"):
        pictures.load([1])


def test_a_killed_training_goes_on(tmp_path: Path) -> None:
    """By the command: killed after a checkpoint and resumed, it ends in the same bits as without the interruption."""

    def words(name: str, *more: str) -> list[str | Path]:
        fixed = ["train", "rts", "--classifier", "digits-resnet", "--data", "digits:train", "--batch", "8"]
        return [*fixed, "--steps", "10,60", "--out", tmp_path / name, *more]

    whole, running = process(*words("whole")), process(*words("parts"))
    checkpoint, deadline = tmp_path / "parts" / "checkpoint.pt", time.monotonic() + 120
    decoding = False
    while not decoding and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
        saved = load_checkpoint(tmp_path / "parts", "cpu") if checkpoint.exists() else None
        decoding = saved is not None and saved["phase"] == "decoder"
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    running.communicate()
    file = "rts-digits-resnet.safetensors"
    assert decoding
    assert not (tmp_path / "parts" / file).exists()
    for started in (process(*words("parts", "--resume")), whole):
        assert started.wait() == 0, started.communicate()
    for name in (file, "losses.csv"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
