"""Success, thresholds and curves."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from underfire import metrics
from underfire.errors import InputError

LOGITS = torch.tensor([[1.0, 3.0, 2.0], [-50.0, -52.0, -51.0], [0.0, math.log(3.0), -100.0]])


def test_success_by_hand() -> None:
    assert metrics.success(LOGITS, torch.tensor([1, 1, 2])).tolist() == [True, False, False]
    assert metrics.untargeted_success(LOGITS, torch.tensor([1, 1, 2])).tolist() == [False, True, True]


def test_confidence_by_hand() -> None:
    values = metrics.confidence(LOGITS, torch.tensor([0, 0, 1]))
    first = math.exp(-2) / (math.exp(-2) + 1 + math.exp(-1))
    second = 1 / (1 + math.exp(-2) + math.exp(-1))
    assert values.tolist() == pytest.approx([first, second, 0.75], abs=1e-7)
    assert values.dtype == torch.float32
    huge = metrics.confidence(torch.tensor([[1e30, 0.0], [-1e30, 1e30]]), torch.tensor([0, 0]))
    assert huge.tolist() == [1, 0]


@pytest.mark.parametrize("function", [metrics.success, metrics.untargeted_success, metrics.confidence])
def test_logits_and_classes_that_cannot_be_used(function: object) -> None:
    assert callable(function)
    with pytest.raises(InputError, match=r"\(3, 3\).*\(2,\)"):
        function(LOGITS, torch.tensor([0, 1]))
    with pytest.raises(InputError, match="two classes"):
        function(LOGITS[:, :1], torch.tensor([0, 0, 0]))
    with pytest.raises(InputError, match="holds 3; expected class numbers 0 to 2"):
        function(LOGITS, torch.tensor([0, 3, 1]))
    with pytest.raises(InputError, match="holds -1"):
        function(LOGITS, torch.tensor([0, -1, 1]))
    with pytest.raises(InputError, match=r"torch\.float32.*integers"):
        function(LOGITS, torch.tensor([0.0, 1.0, 2.0]))
    with pytest.raises(InputError, match="NaN"):
        function(LOGITS * torch.nan, torch.tensor([0, 1, 2]))
    assert function(LOGITS[:0], torch.tensor([], dtype=torch.int64)).shape == (0,)


def test_noise_threshold_is_the_quantile_of_the_noise() -> None:
    assert metrics.noise_threshold(torch.arange(101.0) / 100) == pytest.approx(0.95)
    assert metrics.noise_threshold(torch.tensor([0.1, 0.2, 0.4]), 0.75) == pytest.approx(0.3)
    distances = torch.rand(57, generator=torch.Generator().manual_seed(1))
    assert metrics.noise_threshold(distances, 0.9) == pytest.approx(np.quantile(distances.double().numpy(), 0.9))
    assert metrics.noise_threshold(torch.tensor([0.25])) == 0.25
    for bad, quantile in [([], 0.95), ([0.1, math.nan], 0.95), ([0.1], 1.5), ([0.1], math.nan)]:
        with pytest.raises(InputError):
            metrics.noise_threshold(torch.tensor(bad), quantile)


def test_joint_success_needs_both_and_is_strict() -> None:
    success = torch.tensor([True, True, True, False])
    distance = torch.tensor([0.1, 0.25, 0.3, 0.1])
    assert metrics.joint_success(success, distance, 0.25).tolist() == [True, False, False, False]
    per_image = torch.tensor([0.05, 0.3, 0.3, 1.0])
    assert metrics.joint_success(success, distance, per_image).tolist() == [False, True, False, False]
    # The threshold is not rounded to the distances' float32.
    third = torch.tensor([1 / 3])
    exact = float(third)
    assert metrics.joint_success(third > 0, third, exact).tolist() == [False]
    assert metrics.joint_success(third > 0, third, math.nextafter(exact, 1)).tolist() == [True]


def test_joint_success_arguments_that_cannot_be_used() -> None:
    success, distance = torch.tensor([True, False]), torch.tensor([0.1, 0.2])
    with pytest.raises(InputError, match=r"success has shape \(2,\) and distance has shape \(1,\)"):
        metrics.joint_success(success, distance[:1], 0.1)
    with pytest.raises(InputError, match=r"distance has shape \(2,\) and threshold has shape \(3,\)"):
        metrics.joint_success(success, distance, torch.zeros(3))
    with pytest.raises(InputError, match=r"torch\.float32; expected bool"):
        metrics.joint_success(success.float(), distance, 0.1)
    with pytest.raises(InputError, match="distance holds NaN"):
        metrics.joint_success(success, distance * torch.nan, 0.1)
    with pytest.raises(InputError, match="threshold is NaN"):
        metrics.joint_success(success, distance, math.nan)
    with pytest.raises(InputError, match="no images"):
        metrics.joint_success_curve(success[:0], distance[:0], [0.1])
    with pytest.raises(InputError, match="thresholds"):
        metrics.joint_success_curve(success, distance, [])


def test_curve_by_hand() -> None:
    success = torch.tensor([True, True, False, True])
    distance = torch.tensor([0.1, 0.2, 0.0, 0.5])
    curve = metrics.joint_success_curve(success, distance, [0.0, 0.1, 0.15, 0.3, 1.0])
    # 0.1 in float32 is larger than 0.1, so it is not below the threshold.
    assert curve.tolist() == [0, 0, 0.25, 0.5, 0.75]


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.tuples(st.booleans(), st.floats(0, 1, width=32)), min_size=1, max_size=20),
    thresholds=st.lists(st.floats(0, 1), min_size=1, max_size=8),
)
def test_curve_is_the_rate_of_joint_success_and_grows(rows: list[tuple[bool, float]], thresholds: list[float]) -> None:
    success, distance = torch.tensor([row[0] for row in rows]), torch.tensor([row[1] for row in rows])
    curve = metrics.joint_success_curve(success, distance, sorted(thresholds))
    for rate, threshold in zip(curve.tolist(), sorted(thresholds), strict=True):
        count = sum(s and d < threshold for s, d in rows)
        assert rate == pytest.approx(count / len(rows))
        assert metrics.joint_success(success, distance, threshold).sum().item() == count
    assert (curve.diff() >= 0).all()
    assert metrics.joint_success_curve(success, distance, [2.0]).item() == pytest.approx(success.float().mean().item())


def test_gap_by_hand() -> None:
    thresholds = [0.0, 0.1, 0.4]
    joint, alone = torch.tensor([0.0, 0.8, 1.0]), torch.tensor([0.0, 0.2, 0.6])
    # Differences 0, 0.6, 0.4: (0.3 * 0.1 + 0.5 * 0.3) / 0.4, uneven steps counted by their width.
    assert metrics.prediction_interpretation_gap(joint, alone, thresholds) == pytest.approx(0.45)
    assert metrics.prediction_interpretation_gap(alone, joint, thresholds) == pytest.approx(-0.45)
    assert metrics.prediction_interpretation_gap(joint, joint, thresholds) == 0
    shifted = [0.2 + 2 * t for t in thresholds]  # a mean over the range, so the unit does not matter
    assert metrics.prediction_interpretation_gap(joint, alone, shifted) == pytest.approx(0.45)
    full = metrics.prediction_interpretation_gap(torch.ones(2), torch.zeros(2), [0.0, 0.3])
    assert full == pytest.approx(1)


@pytest.mark.parametrize(
    ("joint", "thresholds"),
    [
        (torch.zeros(2), [0.0, 0.1, 0.2]),
        (torch.zeros(1), [0.1]),
        (torch.zeros(3), [0.0, 0.2, 0.1]),
        (torch.zeros(2), [0.1, 0.1]),
        (torch.full((2,), torch.nan), [0.0, 0.1]),
    ],
)
def test_gap_arguments_that_cannot_be_used(joint: Tensor, thresholds: list[float]) -> None:
    with pytest.raises(InputError):
        metrics.prediction_interpretation_gap(joint, joint, thresholds)
    with pytest.raises(InputError, match="curve_joint has shape"):
        metrics.prediction_interpretation_gap(torch.zeros(4), torch.zeros(3), [0.0, 0.1, 0.2])


def test_import_is_light_and_needs_errors_and_edges_only() -> None:
    # `underfire/__init__.py` is left out: its imports do not belong to this package.
    code = (
        "import importlib.util, sys, types\n"
        "package = types.ModuleType('underfire')\n"
        "package.__path__ = importlib.util.find_spec('underfire').submodule_search_locations\n"
        "sys.modules['underfire'] = package\n"
        "import underfire.metrics\n"
        "heavy = {'scipy', 'kornia', 'skimage', 'sklearn', 'torchvision'} & set(sys.modules)\n"
        "inner = {m.split('.')[1] for m in sys.modules if m.startswith('underfire.')}\n"
        "print(sorted(heavy), sorted(inner))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[] ['errors', 'metrics', 'transforms']"
