"""A map of one's own as the target: from a file, or as values."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import underfire as uf
from tests.conftest import smooth_images
from underfire import attacks
from underfire.attacks.benign import Benign, read_benign
from underfire.errors import InputError


@pytest.fixture
def benign(classifier: uf.Classifier) -> Benign:
    images = smooth_images(24, seed=1)
    system = uf.System(classifier, [uf.interpreters.CAM(), uf.interpreters.Grad(pool=1)])
    return read_benign(system, images, classifier.logits(images).argmax(1))


def test_a_map_from_a_file(tmp_path: Path, benign: Benign) -> None:
    values = np.linspace(0, 1, 16 * 16, dtype=np.float32).reshape(16, 16)
    np.save(tmp_path / "map.npy", values)
    Image.fromarray((values * 255).round().astype(np.uint8)).save(tmp_path / "map.png")
    for name in ("map.npy", "map.png"):
        maps = attacks.GivenMap(str(tmp_path / name)).maps(benign, benign.labels, 0)
        assert torch.allclose(maps["grad"], torch.from_numpy(values).expand(24, -1, -1), atol=0.003)
        pooled = torch.nn.functional.avg_pool2d(torch.from_numpy(values)[None], 2)
        assert torch.allclose(maps["cam"], pooled.expand(24, -1, -1), atol=0.03)


def test_a_map_as_values(benign: Benign) -> None:
    """One for all images, or one per image; what happens to the values afterwards does not matter."""
    values = torch.rand(24, 12, 10, generator=torch.Generator().manual_seed(0))
    one, each = attacks.GivenMap(values[3]), attacks.GivenMap(values.double().numpy())
    again = attacks.preset("adv2", target_map=values.clone()).target_map
    assert (each, hash(each), repr(each)) == (again, hash(again), repr(again))
    assert one != each
    assert pickle.loads(pickle.dumps(one)) == one
    kept = values.clone()
    values.zero_()
    for name, size in (("cam", benign.maps["cam"].shape[1:]), ("grad", benign.maps["grad"].shape[1:])):
        resized = torch.nn.functional.interpolate(kept[:, None], size, mode="bilinear", antialias=True)[:, 0]
        assert torch.allclose(each.maps(benign, benign.labels, 0)[name], resized, atol=1e-6)
        assert torch.allclose(one.maps(benign, benign.labels, 0)[name], resized[3].expand(24, -1, -1), atol=1e-6)
    with pytest.raises(InputError, match="has 24 maps for 5 images"):
        each.maps(benign.take(torch.arange(5)), benign.labels[:5], 0)
    with pytest.raises(InputError, match=r"has 3 maps for 24 images.*channels of one picture\?"):
        attacks.GivenMap(torch.rand(3, 8, 8)).maps(benign, benign.labels, 0)


def test_values_as_target_in_one_call(classifier: uf.Classifier) -> None:
    images = smooth_images(3, seed=1)
    labels = classifier.logits(images).argmax(1)
    system = uf.System(classifier, "cam")
    eye = np.eye(16, dtype=np.float32)
    settings: dict[str, Any] = {"eps": 0.2, "steps": (2, 4)}
    one = uf.attack(system, images, labels, target_map=eye, **settings)
    each = uf.attack(system, images, labels, target_map=torch.from_numpy(eye).expand(3, -1, -1), **settings)
    assert torch.equal(one.adversarial, each.adversarial)


VALUES = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (VALUES.tolist(), r"an object of type list; expected a rule, 'benign'.*N x h x w in \[0, 1\]\.$"),
        (object(), "an object of type object"),
        (VALUES[0], r"shape 8; expected h x w"),
        (VALUES[None, None], r"shape 1 x 1 x 8 x 8; expected h x w"),
        (torch.tensor(0.5), "a single number"),
        (VALUES * 2 - 1, r"ranges over \[-1, 1\]; maps are in \[0, 1\], where 1 is most important\.$"),
        ((VALUES * 250).astype(np.uint8), r"ranges over \[0, 250\].*divide them by 255"),
        (VALUES / 0.99, r"ranges over \[0, 1.01\]"),
        (np.where(VALUES > 0.5, np.nan, VALUES), "NaN"),
        (np.full((8, 8), 0.5), r"the same everywhere \(0\.5\); expected"),
        (np.stack([VALUES, np.zeros((8, 8))]), r"the same everywhere \(0\) of image 1"),
        (np.zeros((0, 8)), "at least one value"),
        (VALUES.astype(complex), "type complex128"),
        (VALUES.astype(str), "type <U"),
    ],
)
def test_values_that_are_no_map(values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        attacks.preset("adv2", target_map=values)
    assert "target_map" in str(refused.value)
    assert len(str(refused.value)) < 300


def npy(values: Any) -> bytes:
    content = io.BytesIO()
    np.save(content, values)
    return content.getvalue()


def png(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("map.npy", b"", "is empty"),
        ("map.npy", b"0.1 0.2\n0.3 0.4\n", "holds something else, such as text"),
        ("map.npy", npy(VALUES)[:100], "cannot be read as a .npy array"),
        ("map.npy", npy(VALUES.astype(str)), "type <U"),
        ("map.npy", npy(np.array([[{}, 1.0]], dtype=object)), "cannot be read as a .npy array"),
        ("map.npy", npy((VALUES * 250 + 3).astype(np.uint8)), r"ranges over \[3, 253\].*divide them by 255"),
        ("map.npy", npy(np.stack([VALUES] * 3)), r"shape 3 x 8 x 8; expected h x w.*mean over the channels.*mean\(0\)"),
        ("map.npy", npy(np.stack([VALUES] * 3, 2)), r"shape 8 x 8 x 3; expected h x w.*mean\(2\)"),
        ("map.npy", npy(np.float32(0.5)), "a single number"),
        ("map.npy", npy(np.ones((4, 4))), "the same everywhere"),
        ("map.png", b"", "is empty"),
        ("map.png", b"text", "is not an image"),
        ("map.png", png(Image.new("L", (8, 8), 77)), "the same everywhere"),
        ("map.txt", b"text", "is not an image"),
    ],
)
def test_files_that_are_no_map(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as refused:
        attacks.preset("adv2", target_map=str(tmp_path / name))
    assert "target_map" in str(refused.value)
    assert name in str(refused.value)


@pytest.mark.parametrize(
    ("given", "near"),
    [("pach", " Did you mean 'patch'?"), ("Benign", " Did you mean 'benign'?"), ("none.npy", "")],
)
def test_neither_a_name_nor_a_file(given: str, near: str) -> None:
    with pytest.raises(InputError) as refused:
        attacks.preset("adv2", target_map=given)
    expected = (
        f"target_map is {given!r}, and there is no such file; expected benign, patch, class or a file with a map."
    )
    assert str(refused.value) == expected + near


def test_pictures_are_decoded_as_they_are_meant(tmp_path: Path) -> None:
    """16 bits are levels up to 65535, and where a picture is transparent, nothing is important."""
    levels = (VALUES * 65535).round().astype(np.uint16)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    assert np.allclose(attacks.GivenMap(tmp_path / "deep.png").values[0], VALUES, atol=0.003)
    alpha = (VALUES * 255).round().astype(np.uint8)
    for mode, white in (("LA", [np.full_like(alpha, 255)]), ("RGBA", [np.full_like(alpha, 255)] * 3)):
        Image.fromarray(np.stack([*white, alpha], 2), mode).save(tmp_path / f"{mode}.png")
        assert np.allclose(attacks.GivenMap(tmp_path / f"{mode}.png").values[0], alpha / 255, atol=0.005)


def test_the_file_is_known_by_its_content(tmp_path: Path) -> None:
    file = tmp_path / "map.npy"
    file.write_bytes(npy(VALUES))
    before = attacks.GivenMap(str(file))
    assert repr(attacks.GivenMap(str(file))) == repr(before)
    file.write_bytes(npy(1 - VALUES))
    assert repr(attacks.GivenMap(str(file))) != repr(before)
    assert attacks.GivenMap(str(file)) != before
