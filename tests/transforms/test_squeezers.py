"""Squeezers: equal to the libraries that define them, alike in every batch, with the gradients that they promise."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import median_filter
from torch import Tensor

from underfire.errors import InputError, UserCodeError
from underfire.transforms.squeezers import (
    JPEG,
    SQUEEZERS,
    BitDepth,
    Median,
    NonLocalMeans,
    ResizePad,
    Squeezer,
    squeezer,
    squeezers,
)

LABELS = [
    *(f"bit-depth:{bits}" for bits in range(1, 8)),
    "median:2",
    "median:3",
    "non-local-means:11-3-4",
    "non-local-means:13-3-2",
    "jpeg:75",
    "jpeg:20",
    "resize-pad",
    "resize-pad:60",
]


def pictures(count: int = 3, height: int = 12, width: int = 10, channels: int = 3, seed: int = 0) -> Tensor:
    """Smooth pictures with noise, on the 8-bit grid."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 4, 4, generator=generator)
    smooth = F.interpolate(coarse, (height, width), mode="bilinear")
    noisy = smooth + 0.05 * torch.randn(smooth.shape, generator=generator)
    return (noisy.clamp(0, 1) * 255).round() / 255


@pytest.mark.parametrize("bits", range(1, 8))
def test_bit_depth_equals_its_definition(bits: int) -> None:
    images = pictures().double()
    levels = 2**bits - 1
    expected = np.rint(images.numpy() * levels) / levels
    assert np.array_equal(BitDepth(bits)(images).numpy(), expected)
    assert len(BitDepth(bits)(torch.linspace(0, 1, 256).view(1, 1, 16, 16)).unique()) == 2**bits


@pytest.mark.parametrize("side", [2, 3])
@pytest.mark.parametrize("shape", [(12, 10), (2, 3), (1, 4), (1, 1)])
def test_median_equals_scipy(side: int, shape: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(side))
    expected = [[median_filter(plane, size=side, mode="reflect") for plane in image] for image in images.numpy()]
    assert np.array_equal(Median(side)(images).numpy(), np.array(expected))


@pytest.mark.parametrize(("search", "patch", "strength"), [(11, 3, 4), (13, 3, 2), (5, 5, 20)])
def test_non_local_means_equal_scikit_image(search: int, patch: int, strength: int) -> None:
    restoration = pytest.importorskip("skimage.restoration")
    images = pictures()
    expected = [
        restoration.denoise_nl_means(
            image.transpose(1, 2, 0),
            patch_size=patch,
            patch_distance=(search - 1) // 2,
            h=strength / 255,
            fast_mode=True,
            channel_axis=2,
        ).transpose(2, 0, 1)
        for image in images.numpy()
    ]
    found = NonLocalMeans(search, patch, strength)(images)
    assert np.abs(found.numpy() - np.array(expected)).max() <= 1e-6
    assert not torch.equal(found, images)


def test_non_local_means_weigh_patches_as_the_docstring_says() -> None:
    """From the definition, one pixel at a time, in the middle of an image where no border matters."""
    noise = torch.randn(1, 3, 24, 24, generator=torch.Generator().manual_seed(3)).double()
    images = 0.5 + 0.03 * noise
    image, search, patch, strength = images[0].numpy(), 5, 3, 13
    row = column = 12

    def patch_at(y: int, x: int) -> np.ndarray:
        return image[:, y - 1 : y + 2, x - 1 : x + 2]

    total, mean = 0.0, np.zeros(3)
    for y in range(row - search // 2, row + search // 2 + 1):
        for x in range(column - search // 2, column + search // 2 + 1):
            apart = ((patch_at(y, x) - patch_at(row, column)) ** 2).mean()
            weight = np.exp(-apart / (strength / 255) ** 2)
            total, mean = total + weight, mean + weight * image[:, y, x]
    found = NonLocalMeans(search, patch, strength)(images)[0, :, row, column].numpy()
    assert (
        np.abs(found - mean / total).max() < 2e-3
    )  # scikit-image approximates exp, and leaves out weights below exp(-5)
    assert np.abs(found - image[:, row, column]).max() > 5e-3


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_jpeg_equals_pillow(channels: int) -> None:
    images = pictures(channels=channels, height=16, width=16)
    levels = (images * 255).round().to(torch.uint8).movedim(1, -1).numpy()

    def again(values: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(values).save(file, "JPEG", quality=60)
        return np.asarray(Image.open(file), dtype=np.float32) / 255

    for place, image in enumerate(levels):
        if channels == 3:
            expected = again(image)
        else:
            expected = np.stack([again(np.ascontiguousarray(image[..., each])) for each in range(channels)], -1)
        found = JPEG(60)(images)[place].movedim(0, -1).numpy()
        assert np.abs(found - expected).max() <= 1e-6
        assert np.abs(found - image / 255).max() > 0.01


def test_resize_pad_equals_interpolation_on_black() -> None:
    squeeze, images = ResizePad(60), pictures(8, 20, 16)
    (top, left), (tall, wide) = squeeze.draws(images)
    found = squeeze(images)
    for place, image in enumerate(images):
        y, x, h, w = (int(values[place]) for values in (top, left, tall, wide))
        expected = torch.zeros_like(image)
        expected[:, y : y + h, x : x + w] = F.interpolate(image[None], (h, w), mode="bilinear")[0]
        assert (found[place] - expected).abs().max() <= 1e-6
    assert len({*tall.tolist()}) > 2
    assert tall.min() >= 12
    assert len({*zip(top.tolist(), left.tolist(), strict=True)}) > 4
    assert not torch.equal(ResizePad(60, seed=1)(images), found)
    assert torch.equal(ResizePad(100)(images), images)


@pytest.mark.parametrize("label", LABELS)
def test_text_forms_are_read_and_written(label: str) -> None:
    made = squeezer(label)
    assert made.label == label
    assert squeezer(made) is made
    assert squeezer(made.label) == made
    assert label.startswith(made.name)


@pytest.mark.parametrize("name", SQUEEZERS)
def test_a_name_alone_stands_for_the_defaults(name: str) -> None:
    kind = SQUEEZERS[name]
    assert squeezer(name) == kind()
    assert squeezer(name.upper()) == kind()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bit-dept:3", "Did you mean 'bit-depth'"),
        ("bit-depth:8", "bits is 8; expected 1 to 7"),
        ("bit-depth:0", "bits is 0; expected 1 to 7"),
        ("bit-depth:three", "whole number in the place of 'three'"),
        ("median:4", "side is 4; expected 2 or 3"),
        ("non-local-means:11-3", "expected search, patch and strength"),
        ("non-local-means:10-3-4", "search is 10; expected an odd number"),
        ("non-local-means:11-2-4", "patch is 2; expected an odd number"),
        ("non-local-means:11-3-0", "strength is 0; expected at least 1"),
        ("jpeg:0", "quality is 0; expected 1 to 95"),
        ("resize-pad:20", "percent is 20; expected 50 to 100"),
        ("nothing.py:mine", "does not exist"),
    ],
)
def test_a_wrong_text_form_is_an_error_that_says_what_is_expected(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        squeezer(text)


def test_the_same_squeezer_twice_is_refused() -> None:
    assert squeezers(["median:2", Median(3)]) == (Median(2), Median(3))
    with pytest.raises(InputError, match="'median:2' twice"):
        squeezers(["median", Median(2)])


@pytest.mark.parametrize("label", LABELS)
@given(seed=st.integers(0, 2**16), channels=st.sampled_from([1, 3]))
@settings(max_examples=5, deadline=None)
def test_range_and_independence_of_the_batch(label: str, seed: int, channels: int) -> None:
    squeeze, images = squeezer(label), pictures(3, 9, 11, channels, seed)
    found = squeeze(images)
    assert found.shape == images.shape
    assert found.dtype == images.dtype
    assert found.min() >= 0
    assert found.max() <= 1
    for place in range(len(images)):
        assert torch.equal(squeeze(images[place : place + 1])[0], found[place])
    assert torch.equal(squeeze(images.flip(0)).flip(0), found)


@pytest.mark.parametrize("label", LABELS)
def test_the_batch_may_be_empty(label: str) -> None:
    assert squeezer(label)(torch.zeros(0, 3, 8, 8)).shape == (0, 3, 8, 8)


@given(bits=st.integers(1, 7), seed=st.integers(0, 2**16))
@settings(max_examples=30, deadline=None)
def test_bit_depth_is_idempotent(bits: int, seed: int) -> None:
    once = BitDepth(bits)(torch.rand(2, 1, 5, 5, generator=torch.Generator().manual_seed(seed)))
    assert torch.equal(BitDepth(bits)(once), once)


@pytest.mark.parametrize("label", LABELS)
def test_the_attacks_view_has_the_exact_values(label: str) -> None:
    images = pictures().requires_grad_()
    exact = squeezer(label)(images)
    assert not exact.requires_grad
    assert torch.equal(squeezer(label).differentiable(images), exact)


@pytest.mark.parametrize("label", [label for label in LABELS if not squeezer(label).has_gradient])
def test_squeezers_without_a_gradient_pass_it_unchanged(label: str) -> None:
    images = pictures().requires_grad_()
    weights = torch.rand(images.shape)
    (squeezer(label).differentiable(images) * weights).sum().backward()
    assert images.grad is not None
    assert torch.equal(images.grad, weights)


@pytest.mark.parametrize("label", ["median:2", "median:3", "resize-pad", "resize-pad:60"])
def test_true_gradients_pass_finite_differences(label: str) -> None:
    """On images whose values all differ by more than the step, and lie away from the middle between 8-bit levels."""
    count = 2 * 3 * 6 * 5
    levels = torch.randperm(count, generator=torch.Generator().manual_seed(1)).double()
    images = ((levels + 20) / 255).view(2, 3, 6, 5).requires_grad_()
    assert torch.autograd.gradcheck(squeezer(label).differentiable, (images,), eps=1e-5, atol=1e-6)


@pytest.mark.parametrize("side", [2, 3])
def test_the_gradient_goes_to_one_pixel_that_is_the_median(side: int) -> None:
    """Also with ties: one pixel of the window, and one that has the median's value."""
    images = (pictures(1, 6, 6, 1, seed=5) * 7).round() / 7
    for row, column in ((0, 0), (2, 3), (5, 5)):
        leaf = images.clone().requires_grad_()
        value = Median(side).differentiable(leaf)[0, 0, row, column]
        value.backward()
        assert leaf.grad is not None
        places = leaf.grad[0, 0].nonzero().tolist()
        assert len(places) == 1
        y, x = places[0]
        assert leaf.grad[0, 0, y, x] == 1
        assert images[0, 0, y, x] == value
        assert row - side // 2 <= y <= row + (side - 1) // 2
        assert column - side // 2 <= x <= column + (side - 1) // 2


@pytest.mark.parametrize("label", LABELS)
def test_images_that_are_none_are_refused(label: str) -> None:
    for call in (squeezer(label), squeezer(label).differentiable):
        with pytest.raises(InputError, match="expected N x C x H x W"):
            call(torch.zeros(3, 8, 8))
        with pytest.raises(InputError, match="expected floating point"):
            call(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


@dataclass(frozen=True)
class Halving(Squeezer):
    name: ClassVar[str] = "halving"

    fails: bool = False

    def squeeze(self, images: Tensor) -> Tensor:
        if self.fails:
            raise RuntimeError("no")
        return images[..., ::2]


def test_a_squeezer_of_the_users_own_is_watched() -> None:
    with pytest.raises(InputError, match=r"squeezer 'halving' returns shape \(3, 3, 12, 5\)"):
        Halving()(pictures())
    with pytest.raises(UserCodeError, match="squeezer 'halving' fails: RuntimeError: no"):
        Halving(fails=True)(pictures())
    with pytest.raises(InputError, match="expected a Squeezer"):
        squeezer(BitDepth)  # type: ignore[arg-type]
