"""Masker files: equal for equal maskers; refused if untrained, damaged, mismatched or of another kind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import underfire as uf
from tests.conftest import smooth_images
from tests.interpreters.rts.makers import pyramid, write_encoder, write_masker
from underfire.checkpoints import state_hash
from underfire.errors import InputError, InterpreterError
from underfire.interpreters import MASK, RTS, canonical, create
from underfire.interpreters.rts import files
from underfire.zoo.recipes import weights_file


def read(interpreter: RTS, classifier: uf.Classifier) -> torch.Tensor:
    return interpreter.maps(classifier, smooth_images(2, 32), torch.tensor([0, 1]))


def test_equal_maskers_are_equal_files(tmp_path: Path) -> None:
    first, second = (write_masker(tmp_path / name, pyramid()) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    assert files.read_note(first).shared


def test_a_file_and_its_folder_are_the_same(tmp_path: Path) -> None:
    classifier = pyramid()
    file = write_masker(tmp_path, classifier)
    assert torch.equal(read(RTS(str(file)), classifier), read(RTS(str(tmp_path)), classifier))
    assert RTS(file) == RTS(str(file))
    assert hash(RTS(str(file))) == hash(RTS(str(file)))


def test_untrained_maskers_are_refused(tmp_path: Path) -> None:
    classifier = pyramid()
    for steps in ((0, 0), (300, 0), (0, 1500)):
        file = write_masker(tmp_path, classifier, steps=steps)
        with pytest.raises(InterpreterError, match=r"is untrained .* underfire train rts"):
            read(RTS(str(file)), classifier)


def test_another_classifiers_masker_is_refused(tmp_path: Path) -> None:
    file = write_masker(tmp_path, pyramid())
    other = pyramid(1, name="second")
    with pytest.raises(InterpreterError, match=r"belongs to another classifier: to 'pyramid'.*Else train one for it"):
        read(RTS(str(file)), other)
    system = uf.System(other, RTS(str(file)))
    view = system.view()
    images, classes = smooth_images(2, 32), torch.tensor([0, 1])
    with pytest.raises(InterpreterError, match="belongs to another classifier"):
        view.begin(images, classes, classes)
    same = pyramid()
    with torch.no_grad():
        next(same.module.parameters()).add_(1e-3)  # one more training step, and it is another classifier
    with pytest.raises(InterpreterError, match="belongs to another classifier"):
        read(RTS(str(file)), same)


def test_another_encoder_is_refused(tmp_path: Path) -> None:
    classifier = pyramid()
    encoder, spec = write_encoder(tmp_path)
    file = write_masker(tmp_path, classifier, encoder, spec)
    assert read(RTS(str(file), encoder=spec), classifier).shape == (2, 16, 16)
    with pytest.raises(InterpreterError, match="code of yours: name it yourself"):
        read(RTS(str(file)), classifier)
    with pytest.raises(InterpreterError, match=r"trained with an encoder of the SHA-256.*that of 'digits-resnet'"):
        read(RTS(str(file), encoder="digits-resnet"), classifier)


def test_another_normalisation_or_image_size_is_refused(tmp_path: Path) -> None:
    classifier = pyramid()
    file = write_masker(tmp_path, classifier)
    bare = uf.Classifier(classifier.module, image_size=32, name="pyramid")
    with pytest.raises(InterpreterError, match=r"belongs to another classifier.*Are its mean, std"):
        read(RTS(str(file)), bare)
    free = uf.Classifier(classifier.module, mean=classifier.mean, std=classifier.std)
    system, classes = uf.System(free, RTS(str(file))), torch.tensor([0, 1])
    assert read(RTS(str(file)), free).shape == (2, 16, 16)
    with pytest.raises(InterpreterError, match="trained on images of 32 x 32, and these are 48 x 48"):
        system.maps(smooth_images(2, 48), classes)
    with pytest.raises(InterpreterError, match="trained on images of 32 x 32, and these are 48 x 48"):
        system.view(size=(48, 48)).begin(smooth_images(2, 48), classes, classes)
    with pytest.raises(InputError, match="reads the features of the classifier itself: leave it out"):
        read(RTS(str(file), encoder="digits-resnet"), classifier)


def test_a_run_knows_a_masker_by_its_weights_and_not_by_its_place(tmp_path: Path) -> None:
    classifier = pyramid()
    here, there = (RTS(str(write_masker(tmp_path / name, classifier))) for name in ("here", "there"))
    assert here.identity(classifier) == there.identity(classifier)
    assert RTS(here.masker, confidence=1.0).identity(classifier) != here.identity(classifier)


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    classifier = pyramid()
    foreign = tmp_path / "rts-foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, foreign)
    text = tmp_path / "text.safetensors"
    text.write_text("not a tensor in sight")
    for file in (foreign, text, weights_file("digits-resnet")):
        with pytest.raises(InterpreterError, match="is no masker that 'underfire train rts' wrote"):
            read(RTS(str(file)), classifier)
    with pytest.raises(InputError, match="which does not exist"):
        read(RTS(str(tmp_path / "nowhere")), classifier)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds 0 maskers; expected one"):
        read(RTS(str(tmp_path / "empty")), classifier)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    classifier = pyramid()
    file = write_masker(tmp_path, classifier)
    note = files.read_note(file)
    save_file({"selector.weight": torch.zeros(1, 1)}, file, {"made_by": note.to_json()})
    with pytest.raises(InterpreterError, match="is damaged"):
        read(RTS(str(file)), classifier)


def test_without_a_shipped_masker_it_says_how_to_get_one() -> None:
    with pytest.raises(InterpreterError, match=r"none ships.*underfire train rts.*rts:FOLDER"):
        read(RTS(), pyramid())


def test_the_shipped_maskers_are_their_classifiers(cifar10: uf.data.ImageData) -> None:
    """Each is found by the hash of its classifier, and its card has the same hashes."""
    found = list(files.shipped())
    assert [file.stem for file in found]
    for file in found:
        note = files.read_note(file)
        classifier = uf.classifiers.load(note.classifier)
        assert note.classifier_sha256 == classifier.sha256()
        opened = RTS().open(classifier.sha256())
        assert opened.file == file
        assert opened.encoder is None or opened.encoder.sha256() == note.encoder_sha256
        card = file.with_suffix(".md").read_text()
        assert state_hash(opened.masker) in card
        assert note.classifier_sha256 in card
        assert file.stat().st_size < 2.5e6


def test_the_masker_of_a_defense_ships_under_its_name() -> None:
    """It is another masker for the same classifier, which takes it only if it is asked for."""
    classifier = uf.classifiers.load("cifar10-resnet20")
    opened = create("rts:rts-aid-cifar10-resnet20").open(classifier.sha256())
    assert opened.file.stem == "rts-aid-cifar10-resnet20"
    plain = RTS().open(classifier.sha256())
    card = opened.file.with_suffix(".md").read_text()
    assert state_hash(opened.masker) in card
    assert state_hash(plain.masker) in card  # what it was trained from
    assert state_hash(opened.masker) != state_hash(plain.masker)


def test_names_with_an_argument() -> None:
    assert create("RTS:some/where") == RTS("some/where")
    assert create("rts") == RTS()
    assert canonical("Grad-CAM") == "gradcam"
    assert canonical("RTS:Some/Where") == "rts:Some/Where"
    assert create("mask:older") == MASK.older() != create("mask") == MASK()
    with pytest.raises(InputError, match="Did you mean 'older'"):
        create("mask:old")
    with pytest.raises(InputError, match="cam takes nothing after a colon"):
        create("cam:7")
    with pytest.raises(InputError, match="Did you mean 'rts'"):
        create("rtx:7")


def test_the_shipped_masker_is_a_good_interpreter(cifar10: uf.data.ImageData) -> None:
    """The marked pixels matter more than as many random ones, and the map for another class is dark."""
    classifier = uf.classifiers.load("cifar10-resnet20")
    batch = cifar10.load((32, 32), 3, range(64))
    right = classifier.logits(batch.images).argmax(1) == batch.labels
    images, labels = batch.images[right], batch.labels[right]
    maps = create("rts").maps(classifier, images, labels)
    assert float(create("rts").maps(classifier, images, (labels + 1) % 10).mean()) < 0.3 * float(maps.mean())
    drawn = torch.rand(maps.shape, generator=torch.Generator().manual_seed(0))
    seen = {}
    for name, which in (("map", maps), ("random", drawn)):
        large = torch.nn.functional.interpolate(which.unsqueeze(1), (32, 32), mode="bilinear")[:, 0]
        inside = uf.metrics.most_important(large, 0.5).unsqueeze(1)
        grey = images.mean((2, 3), keepdim=True)
        for what, chosen in (("kept", inside), ("deleted", ~inside)):
            logits = classifier.logits(torch.where(chosen, images, grey))
            seen[f"{what} {name}"] = float((logits.argmax(1) == labels).float().mean())
    assert seen["kept map"] > seen["kept random"] + 0.2
    assert seen["deleted map"] < seen["deleted random"]
