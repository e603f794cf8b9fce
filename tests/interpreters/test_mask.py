"""MASK's solver against a slow replica that is written from the formula, and properties of its maps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underfire as uf
from tests.conftest import smooth_images, tiny_network
from underfire import randomness
from underfire.errors import ClassifierError
from underfire.interpreters import MASK
from underfire.interpreters.mask_problem import Problem
from underfire.interpreters.mask_settings import Settings
from underfire.interpreters.mask_solver import CHECK_EVERY


def gaussian(image: Tensor, window: int, sigma: float) -> Tensor:
    """Blur one plane h x w, mirrored at its border, with a two-dimensional window."""
    offsets = torch.arange(window, dtype=torch.float64) - (window - 1) / 2
    weights = torch.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * sigma**2))
    reach = (window - 1) // 2
    padded = F.pad(image[None, None], (reach,) * 4, mode="reflect")
    return F.conv2d(padded, (weights / weights.sum())[None, None])[0, 0]


def bilinear(image: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(image[None, None], size, mode="bilinear", align_corners=False)[0, 0]


def slow_mask(
    classifier: uf.Classifier, image: Tensor, c: int, offsets: Tensor, here: Settings, mean_l1: float | None = None
) -> Tensor:
    """Compute 1 - m for one image, step by step, from Fong & Vedaldi 2017, eq. 3, and the definition of Adam."""
    height, width = image.shape[1:]
    large = torch.stack([bilinear(plane, (height + here.jitter, width + here.jitter)) for plane in image])
    blurred = torch.stack([gaussian(plane, here.blur, here.sigma) for plane in large])
    m = torch.full((here.rows, here.columns), here.start, dtype=torch.float64)
    first, second = torch.zeros_like(m), torch.zeros_like(m)
    for step, (top, left) in enumerate(offsets.tolist(), 1):
        m = m.detach().requires_grad_()
        up = gaussian(bilinear(m, (height, width)), here.mask_blur, here.mask_sigma)
        crop = (slice(None), slice(top, top + height), slice(left, left + width))
        logits = classifier.run((large[crop] * up + blurred[crop] * (1 - up)).unsqueeze(0))
        loss = logits.softmax(1)[0, c]
        l1 = (1 - m).abs().sum() * here.l1 if mean_l1 is None else (1 - m).abs().mean() * mean_l1
        total = torch.zeros((), dtype=torch.float64)
        for i in range(here.rows - 1):
            for j in range(here.columns - 1):
                across, down = m[i, j + 1] - m[i, j], m[i + 1, j] - m[i, j]
                total = total + (across**2 + down**2 + 1e-8) ** (here.power / 2)
        (gradient,) = torch.autograd.grad(loss + l1 + here.tv * total, m)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        update = (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        m = (m.detach() - here.learning_rate * update).clamp(0, 1)
    return 1 - m


@pytest.mark.parametrize(
    "interpreter",
    [MASK(iterations=10), replace(MASK.older(), iterations=14), replace(MASK.quick(), iterations=14, l1=1e-2)],
    ids=["current", "older", "quick"],
)
def test_the_solver_against_a_slow_replica(interpreter: MASK) -> None:
    classifier = uf.Classifier(tiny_network().double(), mean=(0.5, 0.4, 0.6), std=(0.2, 0.3, 0.25))
    images, ids = smooth_images(3).double(), torch.tensor([5, 6, 7])
    classes = classifier.logits(images).argmax(1)
    maps = interpreter.maps(classifier, images, classes, ids=ids)
    here = interpreter.settings(16, 16)
    offsets = randomness.integers(interpreter.seed, ids, "mask solve", 0, (interpreter.iterations, 2), here.jitter + 1)
    assert (len(offsets.unique()) > 1) == (here.jitter > 0)
    for row in range(3):
        mean_l1 = float(str(interpreter.l1)) if interpreter.l1_mean else None
        expected = slow_mask(classifier, images[row], int(classes[row]), offsets[row], here, mean_l1)
        assert torch.allclose(maps[row].double(), expected, atol=1e-5)
    assert float(maps.std()) > 0.01


def test_quick_maps_of_plain_drawings_are_not_empty() -> None:
    """Regression: blurred by half these images kept their class, so that the mask had nothing to gain."""
    classifier, data = uf.classifiers.load("scenes-resnet"), uf.data.open_data("scenes:test")
    batch = data.load(indices=range(8))
    masks = data.masks(indices=range(8))
    maps = replace(MASK.quick(), iterations=30).maps(classifier, batch.images, batch.labels)
    assert float(maps.amax((1, 2)).min()) > 0.5
    inside, chance = uf.metrics.mass_inside(maps, masks).mean(), masks.float().mean()
    assert float(inside) > 1.5 * float(chance)


@pytest.mark.parametrize("size", [(8, 8), (16, 24), (32, 32), (33, 50), (64, 64)])
def test_every_image_size(size: tuple[int, int]) -> None:
    classifier = uf.Classifier(tiny_network())
    images = F.interpolate(smooth_images(2), size, mode="nearest")
    for interpreter in (MASK(iterations=2), replace(MASK.older(), iterations=2)):
        maps = interpreter.maps(classifier, images, torch.tensor([0, 1]))
        here = interpreter.settings(*size)
        assert maps.shape == (2, here.rows, here.columns)
        assert 0 <= float(maps.min()) <= float(maps.max()) <= 1


def test_a_constant_image_stays_one_through_every_layer() -> None:
    """The weights of windows and interpolations sum to one, also at the border."""
    problem = Problem(MASK().settings(20, 36), torch.float64, torch.device("cpu"))
    soft, lack = problem.layers(torch.full((1, 3, 20, 36), 0.3, dtype=torch.float64)).chunk(2, 1)
    assert torch.allclose(soft, torch.full_like(soft, 0.3))
    assert float(lack.abs().max()) < 1e-12
    here = problem.settings
    masks = torch.full((1, here.rows, here.columns), 0.7, dtype=torch.float64)
    assert torch.allclose(problem.upsampled(masks), torch.full((1, 20, 36), 0.7, dtype=torch.float64))


class Corner(nn.Module):
    """A network whose class 1 depends on the contrast of the top left quarter alone."""

    def forward(self, images: Tensor) -> Tensor:
        quarter = images[:, :, : images.shape[2] // 2, : images.shape[3] // 2]
        contrast = (quarter[..., 1:] - quarter[..., :-1]).abs().mean((1, 2, 3))
        return torch.stack([torch.zeros_like(contrast), 60 * contrast - 3], 1)


def test_the_map_points_at_what_the_class_needs() -> None:
    torch.manual_seed(0)
    images = torch.rand(8, 3, 32, 32)
    classifier = uf.Classifier(Corner())
    classes = torch.ones(8, dtype=torch.int64)
    assert bool((classifier.logits(images).argmax(1) == 1).all())
    maps = MASK(iterations=60).maps(classifier, images, classes)
    inside = maps[:, :4, :4].mean((1, 2))
    outside = (maps.sum((1, 2)) - maps[:, :4, :4].sum((1, 2))) / 48
    assert bool((inside > outside + 0.15).all())


def test_maps_do_not_depend_on_the_batch(classifier: uf.Classifier) -> None:
    images, ids = smooth_images(19, seed=5), torch.arange(19)
    classes = torch.arange(19) % 4
    for interpreter in (MASK(iterations=40), MASK(iterations=40, tolerance=0.05, jitter=0)):
        together = interpreter.maps(classifier, images, classes, ids=ids)
        for cut in (1, 7, 16):
            parts = [
                interpreter.maps(classifier, images[i : i + cut], classes[i : i + cut], ids=ids[i : i + cut])
                for i in range(0, 19, cut)
            ]
            assert torch.equal(together, torch.cat(parts)), cut


def test_images_leave_when_their_mask_rests(classifier: uf.Classifier) -> None:
    """A finished image keeps its mask while other images continue; fewer images are computed."""
    images, ids = smooth_images(24, seed=3), torch.arange(24)
    classes = classifier.logits(images).argmax(1)
    sizes: list[int] = []
    handle = classifier.module.head.register_forward_hook(lambda _m, _i, output: sizes.append(len(output)))
    long = MASK(iterations=200, tolerance=0.02, jitter=0)
    maps = long.maps(classifier, images, classes, ids=ids)
    handle.remove()
    assert len(set(sizes)) > 1
    assert all(size % 8 == 0 for size in sizes)
    ends = torch.zeros(24, dtype=torch.int64)
    for steps in range(CHECK_EVERY, len(sizes) + 1, CHECK_EVERY):
        cut = replace(long, iterations=steps, tolerance=0.0).maps(classifier, images, classes, ids=ids)
        same = (cut == maps).all(2).all(1)
        ends = torch.where((ends == 0) & same, steps, ends)
    assert len(ends.unique()) > 1
    assert bool((ends > 0).all())


def test_the_noise_floor_is_another_seed(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    ids = torch.arange(len(images))
    interpreter = MASK(iterations=30)
    maps = interpreter.maps(classifier, images, labels, ids=ids)
    other = interpreter.reseeded()
    assert other == replace(interpreter, seed=1)
    floor = (other.maps(classifier, images, labels, ids=ids) - maps).abs().mean()
    assert 0 < float(floor) < 0.2
    assert torch.equal(maps, interpreter.maps(classifier, images, labels, ids=ids))
    system = uf.System(classifier, [uf.interpreters.CAM(), interpreter]).reseeded()
    assert system is not None
    assert system.interpreters == {"cam": uf.interpreters.CAM(), "mask": other}
    assert uf.System(classifier, uf.interpreters.CAM()).reseeded() is None
    assert MASK.older().reseeded() is None  # without jitter there is nothing to draw


def test_the_network_is_left_as_it_was(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    module = classifier.module.train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    given = images.clone()
    MASK(iterations=3).maps(classifier, images, labels)

    def broken(_module: nn.Module, _inputs: object, _output: Tensor) -> None:
        raise RuntimeError("injected")

    handle = module.head.register_forward_hook(broken)
    with pytest.raises(ClassifierError, match="injected"):
        MASK(iterations=3).maps(classifier, images, labels)
    handle.remove()
    assert all(part.training for part in module.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in module.parameters())
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert torch.equal(images, given)
    assert not images.requires_grad
    assert torch.is_grad_enabled()


def test_inference_mode_leaves_nothing_behind(classifier: uf.Classifier) -> None:
    """Solving needs gradients, and matrices that are kept must not be inference tensors."""
    images, labels = smooth_images(2, 20), torch.tensor([0, 1])
    with torch.inference_mode():
        inside = MASK(iterations=3).maps(classifier, images.clone(), labels)
        grad = uf.interpreters.Grad().maps(classifier, images, labels)
    assert torch.equal(inside, MASK(iterations=3).maps(classifier, images, labels))
    assert torch.equal(grad, uf.interpreters.Grad().maps(classifier, images, labels))


def test_images_without_ids_are_known_by_their_pixels(classifier: uf.Classifier) -> None:
    images, labels = smooth_images(3), torch.tensor([0, 1, 2])
    interpreter = MASK(iterations=20)
    known = interpreter.maps(classifier, images, labels, ids=randomness.identify(images))
    assert torch.equal(interpreter.maps(classifier, images, labels), known)


@pytest.mark.parametrize("size", [16, 20, 32, 40])
def test_a_masks_gradient_does_not_depend_on_its_place(size: int) -> None:
    """Regression: with AVX-512 the last bits for a 5 x 5 mask did, because it began at any address in memory."""
    problem = MASK().problem(smooth_images(1, size))
    shape = (problem.settings.rows, problem.settings.columns)
    generator = torch.Generator().manual_seed(size)
    masks, along = torch.rand(24, *shape, generator=generator), torch.randn(24, size, size, generator=generator)

    def both(masks: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
        masks = masks.clone().requires_grad_()
        large = problem.upsampled(masks)
        return large.detach(), torch.autograd.grad(large, masks, along)[0]

    together = both(masks, along)
    for place in range(24):
        alone = both(masks[place].expand(8, *shape), along[place].expand(8, size, size))
        for one, many in zip(alone, together, strict=True):
            assert torch.equal(one[3], many[place])
