"""The search without gradients: inside the ball, at 8 bits, the same for each image alone, and never worse."""

from __future__ import annotations

import pytest
import torch

import underfire as uf
from tests.audits.conftest import Given, near
from underfire.attacks.benign import Benign, read_benign
from underfire.audits.search import search
from underfire.errors import InputError

NEAR = near(cam=0.1)


def read(given: Given) -> tuple[uf.System, Benign]:
    system = uf.System(given.classifier, "cam")
    return system, read_benign(system, given.images, given.labels, given.ids)


def margin(given: Given, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    logits = given.classifier.logits(images)
    own = logits.gather(1, labels[:, None]).squeeze(1)
    return own - logits.scatter(1, labels[:, None], -torch.inf).amax(1)


def test_it_stays_in_the_ball_and_on_the_grid(digits: Given) -> None:
    system, benign = read(digits)
    images = search(system, NEAR, benign, 0.1, 20)
    levels = (images * 255).round()
    assert torch.equal(levels / 255, images)
    assert float((levels - digits.images * 255).abs().max()) <= 25.0 + 1e-3  # 0.1 * 255 = 25.5
    assert float(images.min()) >= 0
    assert float(images.max()) <= 1


def test_more_queries_are_never_worse_and_find_something(digits: Given) -> None:
    """Longer searches are others, because squares shrink with the share that is done; within one, the best only gets
    better. So the margin of a right image can only be reduced."""
    system, benign = read(digits)
    right = benign.correct
    images = search(system, NEAR, benign, 0.3, 60)
    before, after = margin(digits, digits.images, digits.labels), margin(digits, images, digits.labels)
    assert bool((after < before)[right].all())
    assert bool((after < 0)[right].any())


def test_the_map_counts_among_wrong_images(digits: Given) -> None:
    system, benign = read(digits)

    def distance(images: torch.Tensor) -> torch.Tensor:
        logits = digits.classifier.logits(images)
        classes = logits.scatter(1, digits.labels[:, None], -torch.inf).argmax(1)
        maps = system.maps(images, classes)["cam"]
        return (maps - benign.maps["cam"]).abs().flatten(1).mean(1)

    with_maps, without = (search(system, NEAR, benign, 0.3, 60, leaves=leaves) for leaves in (0.0, None))
    both = (
        (margin(digits, with_maps, digits.labels) < 0) & (margin(digits, without, digits.labels) < 0) & benign.correct
    )
    assert int(both.sum()) >= 3
    assert float(distance(with_maps)[both].mean()) < float(distance(without)[both].mean())


def test_an_image_does_not_depend_on_the_others(digits: Given) -> None:
    system, benign = read(digits)
    together = search(system, NEAR, benign, 0.1, 10)
    some = torch.tensor([1, 5])
    assert torch.equal(search(system, NEAR, benign.take(some), 0.1, 10), together[some])


def test_an_image_that_has_fallen_is_asked_no_more(digits: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit that every map passes, an image leaves when its class has changed."""
    system, benign = read(digits)
    benign = benign.take(benign.correct.nonzero().flatten())
    asked: list[int] = []
    logits = uf.Classifier.logits

    def counted(classifier: uf.Classifier, images: torch.Tensor) -> torch.Tensor:
        asked.append(len(images))
        return logits(classifier, images)

    monkeypatch.setattr(uf.Classifier, "logits", counted)
    images = search(system, NEAR, benign, 0.3, 60, leaves=1.0)
    monkeypatch.undo()
    assert asked == sorted(asked, reverse=True)
    wrong = margin(digits, images, benign.labels) < 0
    assert asked[0] == len(images) == 11
    assert wrong.all(), "at this radius each of them falls"
    assert asked[-1] < 11
    # An image that falls at query k was asked k times, so that the sum is far from 11 times 60.
    assert sum(asked) < 11 * 60 / 2


def test_a_radius_below_one_level_is_refused(digits: Given) -> None:
    system, benign = read(digits)
    with pytest.raises(InputError, match="less than one 8-bit level"):
        search(system, NEAR, benign, 0.001, 5)
