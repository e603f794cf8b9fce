"""Shared parts of the tests of audits: a small trained classifier, its images, and a short ensemble."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from torch import Tensor

import underfire as uf
from tests.runs.runs import Command, make_command
from underfire.attacks.limits import Limit
from underfire.audits import Audit, Member, Robustness
from underfire.audits.nearness import Nearness
from underfire.cli.pytest_plugin import underfire_audit as underfire_audit
from underfire.metrics.chance import NO_CHANCE

SHORT = (
    Member("apgd-ce", "apgd-ce", 20),
    Member("auto", "auto", 25),
    Member("auto-1st", "auto", 20, rank=1),
    Member("adv2", "adv2", 20, rank=1),
    Member("search", "search", 25),
)
RADII = (0.05, 0.25)


@dataclass(frozen=True)
class Given:
    """Images with their labels and names, and a classifier."""

    classifier: uf.Classifier
    images: Tensor
    labels: Tensor
    ids: tuple[str, ...]


def near(**limits: float) -> Nearness:
    """Nearness for interpreters with these limits, for 12 images."""
    every = np.ones(12, dtype=bool)
    return Nearness(
        {
            name: Limit(np.full(12, limit), np.full(12, limit), "noise", every, NO_CHANCE, np.zeros((12, 1)))
            for name, limit in limits.items()
        }
    )


@pytest.fixture(scope="session")
def digits() -> Given:
    classifier = uf.classifiers.load("digits-resnet")
    batch = uf.data.open_data("digits:test").load(classifier.image_size, 1, range(12))
    labels = batch.labels.clone()
    labels[3] = (labels[3] + 1) % 10  # one image that the classifier gets wrong
    return Given(classifier, batch.images, labels, tuple(batch.ids))


@pytest.fixture(scope="session")
def found(digits: Given) -> Audit:
    """An audit of CAM, of Grad and of both at once, at two radii."""
    system = uf.System(digits.classifier, ["cam", "grad"])
    return uf.audit(system, digits.images, digits.labels, eps=RADII, ensemble=SHORT, ids=digits.ids)


@pytest.fixture(scope="session")
def _control_audits() -> dict[int, Audit]:
    return {}


@pytest.fixture
def controls_once(_control_audits: dict[int, Audit], monkeypatch: pytest.MonkeyPatch) -> None:
    """The audit of the gate's own controls is made once for all tests; the gate decides anew each time."""

    def once(*given: Any, seed: int, **how: Any) -> Audit:
        if seed not in _control_audits:
            _control_audits[seed] = uf.audit(*given, seed=seed, **how)
        return _control_audits[seed]

    monkeypatch.setattr("underfire.audits.controls.audit", once)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return make_command(monkeypatch, capsys)


def same(one: Robustness, other: Robustness) -> None:
    assert (one.interpreter, one.eps) == (other.interpreter, other.eps)
    assert np.array_equal(one.wrong, other.wrong)
    np.testing.assert_allclose(one.nearest, other.nearest, rtol=1e-4, atol=1e-6)
    assert one.wrong_by == other.wrong_by
    assert one.kept_by == other.kept_by
    assert np.array_equal(one.gradients, other.gradients)
