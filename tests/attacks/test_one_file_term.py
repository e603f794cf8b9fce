"""A loss term that a user adds in one file: a squeeze term, which makes forward passes of its own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import underfire as uf
from tests.conftest import smooth_images
from underfire import attacks, user_files
from underfire.attacks import Goal, Point
from underfire.attacks.benign import read_benign
from underfire.classifiers import Recorded

EPS = 0.1

SQUEEZE = '''
"""The squeeze term of the adaptive attack ([ADV2] section 4.5)."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F

from underfire.attacks import Term


def coarse(images, bits):
    """Reduce the bit depth; gradients pass straight through."""
    steps = 2**bits - 1
    return images + ((images * steps).round() / steps - images).detach()


def median(images):
    """Take the median of 3 x 3 pixels in each channel."""
    count, channels, height, width = images.shape
    patches = F.unfold(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3)
    return patches.view(count, channels, 9, height, width).median(2).values


@dataclass(frozen=True)
class Squeeze(Term):
    """Cross-entropy between the predictions for the image and for its squeezed forms, added up."""

    name: ClassVar[str] = "squeeze"

    bits: int = 3

    def __call__(self, point):
        said = point.reading.logits.softmax(1)
        squeezed = (coarse(point.image, self.bits), median(point.image))
        return sum(-(said * point.run(images).log_softmax(1)).sum(1) for images in squeezed)
'''


@pytest.fixture
def squeeze(tmp_path: Path) -> str:
    (tmp_path / "squeeze.py").write_text(SQUEEZE)
    return f"{tmp_path / 'squeeze.py'}:Squeeze"


def slow_squeeze(classifier: uf.Classifier, images: Tensor) -> list[float]:
    """The squeeze term image by image, pixel by pixel, from its definition."""
    found = []
    for image in images:
        p = F.softmax(classifier.logits(image.unsqueeze(0))[0], 0)
        depth = torch.tensor([round(float(v) * 7) / 7 for v in image.flatten()]).view_as(image)
        middle = image.clone()
        _, height, width = image.shape
        for c in range(3):
            for y in range(height):
                for x in range(width):
                    near = [
                        float(image[c, min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)])
                        for dy in (-1, 0, 1)
                        for dx in (-1, 0, 1)
                    ]
                    middle[c, y, x] = sorted(near)[4]
        total = 0.0
        for other in (depth, middle):
            q = F.softmax(classifier.logits(other.unsqueeze(0))[0], 0)
            total -= sum(float(p[k]) * float(q[k].log()) for k in range(len(p)))
        found.append(total)
    return found


def test_a_squeeze_term(classifier: uf.Classifier, squeeze: str) -> None:
    images = smooth_images(8, seed=3)
    labels = classifier.logits(images).argmax(1)
    system = uf.System(classifier, "cam")
    settings: dict[str, Any] = {"eps": EPS, "steps": (2, 20), "early_stop": False}
    adaptive = attacks.preset("adv2", **settings, terms={squeeze: 0.5})
    assert repr(adaptive) == repr(attacks.preset("adv2", **settings, terms=f"{squeeze}=0.5"))
    watched = adaptive(system, images, labels, trace_every=1, control=False)
    # Warm-up: a pass forward and back. Joint steps: one of the attack, two of the term. And a last look.
    assert watched.forwards.tolist() == [2 + 20 * 3 + 1] * 8
    assert watched.backwards.tolist() == [2 + 20 * 3] * 8
    course = watched.trace.columns["loss_squeeze"]
    assert bool(course[:2].isnan().all()), "it acts in the joint stage"
    only_warm_up = attacks.preset("adv2", eps=EPS, steps=(2, 0), early_stop=False).build(system)
    view, benign = system.view(), read_benign(system, images, labels)
    aim = only_warm_up.aim(view, benign, 0)
    after = only_warm_up.run(view, benign, aim, seed=0, batch_size=8).last
    assert course[2].tolist() == pytest.approx(slow_squeeze(classifier, after), abs=1e-3)
    plain = attacks.preset("adv2", **settings)(system, images, labels, control=False)
    far, near = (torch.tensor(slow_squeeze(classifier, found.adversarial)) for found in (plain, watched))
    assert float(near.mean()) < float(far.mean()), "the squeezed image is predicted as the image is"


def test_the_gradient_passes_the_bit_depth_straight(classifier: uf.Classifier, squeeze: str) -> None:
    images = smooth_images(2)
    coarse = user_files.load(squeeze.rpartition(":")[0], "coarse", "term")
    variable = images.clone().requires_grad_()
    weights = torch.randn_like(images)
    (gradient,) = torch.autograd.grad((coarse(variable, 3) * weights).sum(), variable)
    assert torch.equal(gradient, weights)
    assert torch.allclose(coarse(images, 3) * 7, (coarse(images, 3) * 7).round(), atol=1e-5)
    # The term needs the image and the network, and nothing else of the loop.
    term = attacks.TERMS.find(squeeze)
    recorded = Recorded(classifier.run(images), None, None, None, ())
    zeros = torch.zeros(2)
    point = Point(images, uf.system.Reading(recorded, {}, {}), zeros.long(), Goal(), {}, zeros, zeros, classifier.run)
    assert term(point).tolist() == pytest.approx(slow_squeeze(classifier, images), abs=1e-4)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"file:nothing": 1.0}, "unknown name in .*Squeeze"),
        ({"file:coarse": 1.0}, r"the term cannot be made: TypeError: coarse\(\)"),
        ("file:Squeeze=much", "expected NAME or NAME=WEIGHT"),
        ([3], "object of type int"),
        ("squeezes", "unknown term 'squeezes'"),
    ],
)
def test_terms_that_are_none(squeeze: str, terms: Any, message: str) -> None:
    file = squeeze.rpartition(":")[0]
    if isinstance(terms, dict):
        terms = {name.replace("file", file): weight for name, weight in terms.items()}
    elif isinstance(terms, str):
        terms = terms.replace("file", file)
    with pytest.raises(uf.errors.UnderfireError, match=message):
        attacks.preset("adv2", terms=terms)


@pytest.mark.parametrize("given", ["{}", "{}=0.5"])
def test_a_path_may_hold_the_sign_before_a_weight(squeeze: str, tmp_path: Path, given: str) -> None:
    """Regression: the name ended at the first "=", and the rest of the path was no number."""
    file, _, name = squeeze.rpartition(":")
    (tmp_path / "a=1").mkdir()
    moved = Path(shutil.copy(file, tmp_path / "a=1" / "b=2.py"))
    (term,) = attacks.preset("adv2", terms=given.format(f"{moved}:{name}")).extra_terms
    assert (term.term.name, term.weight_at(0)) == ("squeeze", 0.5 if "=0.5" in given[2:] else 1.0)
