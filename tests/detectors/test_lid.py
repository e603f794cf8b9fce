"""Local intrinsic dimensionality: a slow replica, a case whose dimension is known, and what it learns from."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.detectors.conftest import Digits
from underfire.detectors import LID, Split, fit
from underfire.detectors.lid import activations, dimensionality
from underfire.errors import InputError


def slow_dimensionality(row: list[float], references: list[list[float]], neighbours: int) -> float:
    """Ma et al. 2018, equation 4, with lists."""
    distances = sorted(math.dist(row, other) for other in references)[:neighbours]
    return -1 / (sum(math.log(distance / distances[-1]) for distance in distances) / neighbours)


def test_it_is_the_estimate_of_the_paper() -> None:
    generator = torch.Generator().manual_seed(0)
    rows, references = (torch.randn(count, 5, generator=generator, dtype=torch.float64) for count in (7, 30))
    found = dimensionality(rows, references, 10)
    expected = [slow_dimensionality(row, references.tolist(), 10) for row in rows.tolist()]
    assert found.tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("dimension", [1, 3, 6])
def test_it_finds_the_dimension_of_a_subspace(dimension: int) -> None:
    """Points of a flat piece of a space with 20 dimensions."""
    generator = np.random.default_rng(dimension)
    basis = np.linalg.qr(generator.normal(size=(20, dimension)))[0]
    points = torch.from_numpy(generator.uniform(-1, 1, size=(4000, dimension)) @ basis.T)
    middle = torch.from_numpy(generator.uniform(-0.2, 0.2, size=(50, dimension)) @ basis.T)
    assert float(dimensionality(middle, points, 50).mean()) == pytest.approx(dimension, rel=0.1)


def test_extreme_distances_stay_finite() -> None:
    same = dimensionality(torch.zeros(2, 3, dtype=torch.float64), torch.zeros(5, 3, dtype=torch.float64), 3)
    far = dimensionality(torch.zeros(2, 3, dtype=torch.float64), torch.ones(5, 3, dtype=torch.float64), 3)
    assert bool(torch.isfinite(torch.cat([same, far])).all())


class Layers(nn.Module):
    """Two convolutions and a linear layer; one more convolution that is never called."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(1, 3, 3, padding=1)
        self.unused = nn.Conv2d(1, 3, 3)
        self.second = nn.Conv2d(3, 4, 3, stride=2)
        self.last = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.second(self.first(images).relu()).mean((2, 3)))


def test_the_layers_are_convolutions_and_linear_layers_averaged_to_8_by_8() -> None:
    network = Layers().eval()
    images = torch.rand(2, 1, 16, 16)
    found = activations(uf.Classifier(network, channels=1), images)
    assert [part.shape for part in found] == [(2, 3 * 64), (2, 4 * 49), (2, 3)]
    first = network.first(images).detach().double()
    cells = torch.stack(
        [first[:, :, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean((2, 3)) for y in range(8) for x in range(8)], 2
    )
    assert torch.allclose(found[0].view(2, 3, 64), cells, atol=1e-6)


class Breaks(Layers):
    def forward(self, images: Tensor) -> Tensor:
        super().forward(images)
        raise ValueError("broken")


def test_hooks_go_also_after_an_error() -> None:
    network = Breaks().eval()
    with pytest.raises(Exception, match="broken"):
        activations(uf.Classifier(network, channels=1), torch.rand(1, 1, 16, 16))
    assert all(not part._forward_hooks for part in network.modules())


def test_references_are_not_the_sources_of_attacked_images(digits: Digits) -> None:
    """60 benign images, of which the first 40 were attacked: the 20 others are references, and 10 of the sources."""
    classifier = digits.system.classifier
    benign = Split.of(digits.images[:60], classifier, digits.ids[:60])
    attacked = Split.of(digits.attacked, classifier, digits.ids[:40], clean=False)
    references, rest = LID(neighbours=5)._divided(benign, attacked)
    assert references == [*range(10), *range(40, 60)]
    assert rest == [*range(10, 40)]


def test_it_needs_twice_as_many_images_as_neighbours(digits: Digits) -> None:
    given = {"benign": digits.images[:41], "attacked": digits.attacked, "attacked_ids": digits.ids[:40]}
    given |= {"benign_ids": digits.ids[:41], "calibration_ids": digits.ids[80:]}
    with pytest.raises(InputError, match="benign holds 41 images, too few for lid with 20 neighbours: at least 42"):
        fit("lid:20", digits.system, digits.images[80:], **given)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="references is 10; expected at least 20, the number of neighbours"):
        LID(references=10)


def test_the_score_is_a_logistic_regression_of_the_layers(digits: Digits) -> None:
    """It grows with what attacked images have more of, and its state is what the formula needs."""
    made = fit(
        "lid:10",
        digits.system,
        digits.images[80:],
        digits.images[:80],
        digits.attacked,
        benign_ids=digits.ids[:80],
        calibration_ids=digits.ids[80:],
        attacked_ids=digits.ids[:40],
    )
    references = made.state["references"].float() / 255
    classifier = digits.system.classifier
    held = activations(classifier, references)
    own = activations(classifier, digits.attacked[:3])
    values = torch.stack([dimensionality(a, b, 10) for a, b in zip(own, held, strict=True)], 1)
    scaled = (values - made.state["logistic/mean"]) / made.state["logistic/std"]
    expected = scaled @ made.state["logistic/weight"] + made.state["logistic/bias"]
    assert torch.allclose(made.scores(digits.attacked[:3]), expected, atol=1e-4)
    assert float(made.scores(digits.attacked).mean()) > float(made.calibration.mean())


def test_attacked_images_that_are_known_by_pixels_meet_their_sources(digits: Digits) -> None:
    """Regression: the attacked forms of references were learnt from, and their sources were references first."""
    classifier, ids = digits.system.classifier, digits.ids
    hashes = Split.of(digits.images, classifier).members.ids
    given = {"benign_ids": ids[:60], "calibration_ids": ids[80:]}
    images = (digits.images[80:], digits.images[:60], digits.attacked)
    by_name = fit("lid:10", classifier, *images, attacked_ids=ids[:40], **given)
    by_pixels = fit("lid:10", classifier, *images, attacked_ids=hashes[:40], **given)
    assert by_pixels.digest == by_name.digest
    for unnamed in ({"attacked_ids": hashes[:40]}, {"attacked_ids": ids[:40], "benign_ids": ids[:60]}):
        assert fit("lid:10", classifier, *images, **unnamed).digest == by_name.digest


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "calibration and benign images have no ids.* Give calibration_ids and benign_ids; or"),
        ({"calibration_ids": (80, 121)}, "benign images have no ids.* Give benign_ids; or"),
    ],
)
def test_attacked_images_whose_sources_cannot_be_found_are_refused(
    digits: Digits, given: dict[str, tuple[int, int]], missing: str
) -> None:
    classifier, ids = digits.system.classifier, digits.ids
    named = {name: ids[begin:end] for name, (begin, end) in given.items()}
    images = (digits.images[80:], digits.images[:60], digits.attacked)
    with pytest.raises(InputError, match=f"attacked_ids holds {ids[0]!r}, and {missing}"):
        fit("lid:10", classifier, *images, attacked_ids=ids[:40], **named)
