"""Ensembles of interpreters against slow replicas, finite differences, and their parts."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from scipy.stats import rankdata
from torch import Tensor

import underfire as uf
from tests.conftest import smooth_images
from tests.interpreters.rts.makers import pyramid, write_masker
from underfire.errors import InputError
from underfire.interpreters import (
    CAM,
    LRP,
    MASK,
    RTS,
    Ensemble,
    Grad,
    GradCAM,
    LayerCAM,
    SmoothGrad,
    Smoothing,
    canonical,
    create,
    named,
)
from underfire.interpreters.agreement import agreement
from underfire.interpreters.ensemble.aggregate import AGGREGATES, on_one_grid, ranks, smooth_ranks

CLASSES = torch.tensor([0, 1, 2, 3, 1, 0])
WAYS = ("mean", "rank", "median")
SMOOTH = Smoothing("softplus", 0.05)


def slow_resized(small: list[list[float]], height: int, width: int) -> list[list[float]]:
    """Bilinear, with cell centres at (i + 1/2) and the outermost values repeated."""
    rows, columns = len(small), len(small[0])

    def taps(index: int, to: int, of: int) -> tuple[int, int, float]:
        at = min(max((index + 0.5) * of / to - 0.5, 0.0), of - 1.0)
        return int(at), min(int(at) + 1, of - 1), at - int(at)

    found = []
    for i in range(height):
        top, below, s = taps(i, height, rows)
        line = []
        for j in range(width):
            left, right, t = taps(j, width, columns)
            upper = small[top][left] * (1 - t) + small[top][right] * t
            lower = small[below][left] * (1 - t) + small[below][right] * t
            line.append(upper * (1 - s) + lower * s)
        found.append(line)
    return found


def slow(maps: list[Tensor], by: str) -> Tensor:
    height, width = (max(part.shape[axis] for part in maps) for axis in (1, 2))
    together = []
    for image in range(len(maps[0])):
        large = [torch.tensor(slow_resized(part[image].tolist(), height, width)).flatten() for part in maps]
        if by == "rank":
            large = [torch.from_numpy((rankdata(part.numpy()) - 1) / (len(part) - 1)) for part in large]
        combine = statistics.median if by == "median" else statistics.fmean
        cells = [combine(values) for values in zip(*(part.tolist() for part in large), strict=True)]
        together.append(torch.tensor(cells).view(height, width))
    return torch.stack(together)


@pytest.mark.parametrize("by", WAYS)
@pytest.mark.parametrize("count", [2, 3])
def test_maps_are_those_of_the_definition(by: str, count: int, classifier: uf.Classifier, images: Tensor) -> None:
    parts = (CAM(), Grad(pool=1), LayerCAM())[:count]
    maps = [part.maps(classifier, images, CLASSES) for part in parts]
    assert len({part.shape for part in maps}) > 1
    found = Ensemble(parts, by).maps(classifier, images, CLASSES)
    # Resizing rounds: ranks of cells that differ by less than that may change places.
    assert torch.allclose(found, slow(maps, by).float(), atol=0.01 if by == "rank" else 1e-5)


def test_ranks_share_ties_and_forget_the_scale() -> None:
    maps = torch.tensor([[[0.0, 0.2], [0.2, 1.0]], [[0.5, 0.5], [0.5, 0.5]]])
    assert ranks(maps).tolist() == [[[0, 0.5], [0.5, 1]], [[0.5, 0.5], [0.5, 0.5]]]
    some = torch.rand(2, 5, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ranks(some), ranks(some**3 / 2))


def test_smooth_ranks_are_near_the_exact_ones_with_their_own_derivative() -> None:
    maps = torch.rand(2, 9, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert float((smooth_ranks(maps) - ranks(maps)).abs().max()) < 0.05
    leaf = maps.clone().requires_grad_()
    weight = torch.randn(maps.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (gradient,) = torch.autograd.grad((smooth_ranks(leaf) * weight).sum(), leaf)
    for index in range(0, maps.numel(), 7):
        ends = []
        for step in (1e-7, -1e-7):
            moved = maps.clone()
            moved.view(-1)[index] += step
            ends.append(float((smooth_ranks(moved) * weight).sum()))
        assert float(gradient.view(-1)[index]) == pytest.approx((ends[0] - ends[1]) / 2e-7, abs=1e-5)


@pytest.mark.parametrize("by", ["mean", "median"])
def test_the_view_agrees_with_finite_differences(by: str, tmp_path: Path) -> None:
    """Mean and median are differentiated as they stand; Grad's part has a smooth forward pass here."""
    classifier = pyramid()
    masker = RTS(str(write_masker(tmp_path, classifier)))
    system = uf.System(classifier, {"e": Ensemble((CAM(), Grad(smoothing=SMOOTH), masker), by)})
    assert agreement(reader(system), smooth_images(2, 32).double()) > 0.999


def test_the_view_of_the_rank_mean_has_the_gradient_of_smooth_ranks(classifier: uf.Classifier, images: Tensor) -> None:
    parts = {"cam": CAM(), "gradcam": GradCAM()}
    few = images[:2].double()
    exact = reader(uf.System(classifier, {"e": Ensemble(tuple(parts.values()), "rank")}))
    both = [reader(uf.System(classifier, {"e": part})) for part in parts.values()]

    def smooth(x: Tensor) -> Tensor:
        return smooth_ranks(on_one_grid([read(x) for read in both])).mean(0)

    assert agreement(smooth, few) > 0.99
    gradients = []
    for maps in (exact, smooth):
        leaf = few.clone().requires_grad_()
        found = maps(leaf)
        weight = torch.linspace(-1, 1, found.numel(), dtype=found.dtype).view_as(found)
        gradients.append(torch.autograd.grad((found * weight).sum(), leaf)[0])
    assert torch.allclose(*gradients, rtol=1e-6, atol=1e-9)
    assert float(gradients[0].abs().max()) > 0


def reader(system: uf.System) -> Callable[[Tensor], Tensor]:
    """Read the maps of the system's view in float64."""
    view = system.view("float64", (32, 32))

    def maps(x: Tensor) -> Tensor:
        classes = CLASSES[: len(x)]
        with torch.enable_grad():
            states = view.begin(x, classes, torch.arange(len(x)))
            return view.read(x, lambda _: classes, states, graph=True)[0].maps["e"]

    return maps


@pytest.mark.parametrize("by", WAYS)
def test_the_view_shows_what_the_views_of_its_parts_show(by: str, classifier: uf.Classifier, images: Tensor) -> None:
    """Also if some of them smooth rectifiers, and one makes passes of its own."""
    parts = (CAM(), Grad(), SmoothGrad(samples=2))
    system = uf.System(classifier, {"e": Ensemble(parts, by)})
    apart = [reader(uf.System(classifier, {"e": part}))(images.double().requires_grad_()).detach() for part in parts]
    seen = reader(system)(images.double().requires_grad_()).detach()
    expected = AGGREGATES[by](on_one_grid(apart))
    assert torch.allclose(seen, expected, atol=1e-9)


@pytest.mark.parametrize("by", WAYS)
def test_the_view_of_exact_parts_shows_the_honest_map(by: str, classifier: uf.Classifier, images: Tensor) -> None:
    ensemble = Ensemble((CAM(), GradCAM(), LayerCAM()), by)
    seen = reader(uf.System(classifier, {"e": ensemble}))(images.double().requires_grad_()).detach()
    honest = ensemble.maps(classifier, images, CLASSES).double()
    assert torch.allclose(seen, honest, atol=0.05 if by == "rank" else 1e-4)


def test_a_part_that_drifts_is_refreshed(classifier: uf.Classifier, images: Tensor) -> None:
    mask = MASK(iterations=4, refresh_every=1)
    view, alone = Ensemble((CAM(), mask)).view(), mask.view()
    assert (view.refresh_every, view.refresh_passes) == (alone.refresh_every, alone.refresh_passes)
    made = uf.attack(
        classifier, images, CLASSES, "auto", Ensemble((CAM(), mask)), budget=2, control=False, noise_draws=2
    )
    assert made.adversarial.shape == images.shape


@pytest.mark.parametrize("by", WAYS)
def test_auto_keeps_the_ensembles_map_better_than_the_prediction_attack(
    by: str, classifier: uf.Classifier, images: Tensor, labels: Tensor
) -> None:
    ensemble = Ensemble((CAM(), Grad(), GradCAM()), by)
    found = uf.attack(classifier, images, labels, "auto", ensemble, budget=40, eps=32 / 255, noise_draws=2)
    (name,) = found.attacked
    alone = found.controls[found.prediction_only or ""]
    both = found.success & alone.success
    assert int(both.sum()) >= 3
    assert float(found.map_l1[name][both].mean()) < 0.8 * float(alone.map_l1[name][both].mean())


def test_names_are_read_with_their_pluses() -> None:
    assert create("ensemble:cam+grad") == Ensemble((CAM(), Grad()))
    assert create("ensemble:median:cam+grad+ig").by == "median"
    found = create("Ensemble:rank:gradcam+++lrp:z++layercam")
    assert found == Ensemble((create("gradcam++"), LRP("z+"), LayerCAM()), "rank")
    assert found.label == "ensemble:rank:gradcam+++lrp+layercam"
    assert canonical("ENSEMBLE:cam+grad") == "ensemble:cam+grad"
    assert list(named(["cam", "ensemble:cam+grad"])) == ["cam", "ensemble:mean:cam+grad"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ensemble", "ensemble:cam[+]grad"),
        ("ensemble:cam", "at least two"),
        ("ensemble:cam+grd", "grad"),
        ("ensemble:sum:cam+grad", "sum"),
    ],
)
def test_wrong_names_are_refused(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        create(name)


def test_seed_and_sketch_reach_the_parts(classifier: uf.Classifier) -> None:
    ensemble = Ensemble((CAM(), SmoothGrad(seed=3)))
    assert ensemble.reseeded(2) == Ensemble((CAM(), SmoothGrad(seed=5)))
    assert Ensemble((CAM(), Grad())).reseeded() is None
    assert ensemble.sketch() == Ensemble((CAM(), SmoothGrad(seed=3, samples=1)))
    assert ensemble.identity(classifier) != Ensemble((CAM(), SmoothGrad(seed=4))).identity(classifier)
    with pytest.raises(InputError, match="expected interpreters"):
        Ensemble(("cam", "grad"))
