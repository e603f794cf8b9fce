"""Image metrics and edges against hand-worked values and scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.filters import sobel as reference_sobel
from skimage.metrics import structural_similarity
from torch import Tensor

from underfire import metrics
from underfire.errors import InputError
from underfire.transforms import sobel


def random_images(seed: int, shape: tuple[int, ...] = (3, 3, 20, 17)) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def perturbed(images: Tensor, seed: int, eps: float = 8 / 255) -> Tensor:
    noise = random_images(seed, tuple(images.shape)) * 2 - 1
    return ((images + eps * noise).clamp(0, 1) * 255).round() / 255


def reference_ssim(x: Tensor, y: Tensor) -> float:
    return float(
        structural_similarity(
            x.double().numpy(),
            y.double().numpy(),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
            channel_axis=0,
        )
    )


@pytest.mark.parametrize("shape", [(3, 3, 20, 17), (2, 1, 28, 28), (2, 3, 11, 32), (9, 3, 96, 96)])
def test_ssim_equals_scikit_image(shape: tuple[int, ...]) -> None:
    # The last shape takes more than one chunk: the order of images must not change.
    clean = random_images(1, shape)
    adversarial = torch.cat([perturbed(clean[:1], 2, 0.5), perturbed(clean[1:], 3)])
    expected = [reference_ssim(x, y) for x, y in zip(clean, adversarial, strict=True)]
    assert metrics.ssim(clean, adversarial).tolist() == pytest.approx(expected, abs=1e-6)
    assert metrics.noise(clean, adversarial).tolist() == pytest.approx([1 - v for v in expected], abs=1e-6)


def test_ssim_equals_scikit_image_on_photographs(photos: Tensor) -> None:
    adversarial = perturbed(photos, 4)
    expected = [reference_ssim(x, y) for x, y in zip(photos, adversarial, strict=True)]
    assert metrics.ssim(photos, adversarial).tolist() == pytest.approx(expected, abs=1e-6)


def test_noise_of_almost_flat_bright_images_survives_float32() -> None:
    # Variances of 1e-6 with means of 0.99: in float32, cancellation would hide the variances.
    clean = torch.full((1, 3, 32, 32), 0.99)
    adversarial = clean + 1e-3 * (random_images(5, (1, 3, 32, 32)) - 0.5)
    expected = 1 - reference_ssim(clean[0], adversarial[0])
    assert expected < 2e-4
    assert metrics.noise(clean, adversarial).item() == pytest.approx(expected, rel=1e-4)


def test_ssim_shrinks_its_window_on_small_images_and_averages_channels() -> None:
    clean, adversarial = random_images(6, (2, 3, 5, 8)), random_images(7, (2, 3, 5, 8))
    channels = [metrics.map_ssim(clean[:, c], adversarial[:, c]) for c in range(3)]
    assert torch.allclose(metrics.ssim(clean, adversarial), torch.stack(channels).mean(0), atol=1e-7)


def test_distances_by_hand() -> None:
    clean = torch.full((2, 3, 2, 5), 0.5)
    adversarial = clean.clone()
    adversarial[1, 0, 0, 0] += 0.3
    adversarial[1, 2, 0, 0] -= 0.4  # the same pixel, another channel
    adversarial[1, 1, 1, 3] += 1 / 255
    assert metrics.linf(clean, adversarial).tolist() == pytest.approx([0, 0.4])
    assert metrics.l2(clean, adversarial).tolist() == pytest.approx([0, math.sqrt(0.25 + 1 / 255**2)])
    assert metrics.changed_fraction(clean, adversarial).tolist() == pytest.approx([0, 2 / 10])


def test_edge_energy_by_hand() -> None:
    clean = torch.zeros(1, 3, 6, 6)
    clean[..., 3:] = 0.8  # edges on columns 2 and 3 only, of magnitude 0.8 / sqrt(2) = 0.57
    adversarial = clean.clone()
    adversarial[0, 1, :, 2] += 0.1  # energy 6 * 0.01 on the edge
    adversarial[0, 0, 4, 0] += 0.2  # energy 0.04 off it
    assert metrics.edge_energy(clean, adversarial).item() == pytest.approx(0.06 / 0.10, abs=1e-6)
    assert metrics.edge_energy(clean, adversarial, threshold=0.56).item() == pytest.approx(0.6, abs=1e-6)
    assert metrics.edge_energy(clean, adversarial, threshold=0.57).item() == 0
    # The edges are those of the clean image; the perturbation makes further edges, which do not count.
    assert metrics.edge_energy(clean * 0, adversarial).item() == 0
    assert metrics.edge_energy(clean, clean).item() == 0


def test_edge_energy_of_edge_masked_noise_is_all_on_edges(photos: Tensor) -> None:
    mask = sobel(photos) > 0.1
    step = 8 / 255 * torch.sign(random_images(8, tuple(photos.shape)) - 0.5)
    masked = (photos + mask * step).clamp(0, 1)
    anywhere = (photos + step).clamp(0, 1)
    assert metrics.edge_energy(photos, masked).tolist() == pytest.approx([1.0] * 8)
    share = mask.float().mean(dim=(1, 2, 3))
    assert torch.allclose(metrics.edge_energy(photos, anywhere), share, atol=0.05)


@pytest.mark.parametrize(
    "metric",
    [metrics.ssim, metrics.noise, metrics.linf, metrics.l2, metrics.changed_fraction, metrics.edge_energy],
)
def test_arguments_that_cannot_be_used(metric: object) -> None:
    assert callable(metric)
    good = random_images(9)
    with pytest.raises(
        InputError, match=r"clean has shape \(3, 3, 20, 17\) and adversarial has shape \(3, 1, 20, 17\)"
    ):
        metric(good, good[:, :1])
    with pytest.raises(InputError, match=r"clean has shape \(3, 20, 17\).*N x C x H x W"):
        metric(good[0], good[0])
    with pytest.raises(InputError, match=r"adversarial is torch\.uint8"):
        metric(good, (good * 255).byte())
    with pytest.raises(InputError, match=r"adversarial ranges over .*normalised"):
        metric(good, (good - 0.5) / 0.2)
    with pytest.raises(InputError, match="nan"):
        metric(good * torch.nan, good)
    assert metric(good[:0], good[:0]).shape == (0,)
    assert metric(good.double(), good).dtype == torch.float64
    assert not metric(good.clone().requires_grad_(), good).requires_grad


def test_edge_threshold_that_cannot_be_used() -> None:
    for threshold in (-0.1, math.nan, math.inf):
        with pytest.raises(InputError, match="threshold"):
            metrics.edge_energy(random_images(1), random_images(2), threshold)


@pytest.mark.parametrize("shape", [(3, 3, 20, 17), (2, 1, 9, 9), (2, 4, 1, 6), (1, 3, 2, 1), (1, 3, 1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sobel_equals_scikit_image(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    images = random_images(10, shape).to(dtype)
    expected = np.stack([reference_sobel(image.double().mean(0).numpy()) for image in images])
    edges = sobel(images)
    assert edges.shape == (shape[0], 1, *shape[2:])
    assert edges.dtype == dtype
    np.testing.assert_allclose(edges[:, 0].double().numpy(), expected, rtol=0, atol=1e-6)


def test_sobel_equals_scikit_image_on_photographs(photos: Tensor) -> None:
    expected = np.stack([reference_sobel(image.double().mean(0).numpy()) for image in photos])
    np.testing.assert_allclose(sobel(photos)[:, 0].double().numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_sobel_is_exactly_zero_on_flat_areas(layout: torch.memory_format) -> None:
    colours = random_images(11, (40, 3, 1, 1))
    flat = colours.expand(40, 3, 19, 23).contiguous(memory_format=layout)
    assert sobel(flat).count_nonzero() == 0
    half = flat.clone()
    half[..., 12:] = 1
    edges = sobel(half)
    assert edges[..., :11].count_nonzero() == edges[..., 13:].count_nonzero() == 0
    assert (edges[..., 11:13] > 0).all()


def test_sobel_by_hand_and_at_its_largest() -> None:
    step = torch.zeros(1, 1, 4, 4)
    step[..., 2:] = 1
    root = math.sqrt(0.5)
    assert sobel(step)[0, 0, 1].tolist() == pytest.approx([0, root, root, 0])
    steepest = torch.tensor([[1.0, 1, 0], [1, 0, 0], [1, 0, 0]])  # 1 along one axis, 1/2 along the other
    assert sobel(steepest.expand(1, 1, 3, 3))[0, 0, 1, 1].item() == pytest.approx(math.sqrt(10) / 4)


def test_sobel_takes_the_mean_of_channels_and_carries_no_graph() -> None:
    images = torch.zeros(1, 3, 5, 6)
    images[:, 2, :, 3:] = 0.9  # a third of it in grey
    images.requires_grad_()
    edges = sobel(images)
    assert edges.max().item() == pytest.approx(0.3 * math.sqrt(0.5))
    assert not edges.requires_grad
    assert sobel(images[:0]).shape == (0, 1, 5, 6)


def test_sobel_arguments_that_cannot_be_used() -> None:
    for shape in [(3, 5, 5), (1, 0, 5, 5), (1, 3, 0, 5)]:
        with pytest.raises(InputError, match="N x C x H x W"):
            sobel(torch.zeros(shape))
    with pytest.raises(InputError, match=r"torch\.uint8"):
        sobel(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))
