"""Scores by folds: maps are computed once for all parts, and attacked images meet their sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.detectors.conftest import Digits
from underfire import randomness
from underfire.detectors import Maps, Split
from underfire.detectors.cached_maps import CachedMaps
from underfire.detectors.folds import cross_scores

MASK = uf.interpreters.MASK(iterations=3)


class Anew(CachedMaps):
    """Computes all maps anew."""

    def maps(self, images: Tensor, classes: Tensor, ids: Tensor | Sequence[str] | None = None) -> dict[str, Tensor]:
        return self._system.maps(images, classes, ids)


def splits(digits: Digits) -> tuple[Split, Split]:
    classifier = digits.system.classifier
    benign = Split.of(digits.images[:20], classifier, digits.ids[:20])
    return benign, Split.of(digits.attacked[5:15], classifier, digits.ids[5:15], clean=False)


def test_the_map_of_an_image_is_computed_once_for_all_parts(digits: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: interpreters with random numbers solved for the map of an image anew in every part."""
    system = uf.System(digits.system.classifier, {"cam": uf.interpreters.CAM(), "mask": MASK})
    benign, fooled = splits(digits)
    detector = Maps(trees=5)
    expected = cross_scores(detector, Anew(system), benign, fooled)
    counted, read = Counter[int](), uf.interpreters.MASK.maps

    def maps(self: uf.interpreters.MASK, classifier: object, images: Tensor, *given: object, **named: object) -> Tensor:
        counted.update(randomness.identify(images).tolist())
        return read(self, classifier, images, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(uf.interpreters.MASK, "maps", maps)
    found = cross_scores(detector, system, benign, fooled)
    assert len(counted) == 30
    assert set(counted.values()) == {1}
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_cached_maps_are_those_that_would_be_computed(digits: Digits) -> None:
    """They depend on the class, on the exact pixels, and on the identity that random numbers are drawn by."""
    system = uf.System(digits.system.classifier, {"cam": uf.interpreters.CAM(), "mask": MASK})
    cached, images = CachedMaps(system), digits.images[:3]
    classes = torch.tensor([1, 2, 3])
    for some, wanted, ids in (
        (images, classes, None),
        (images, classes + 1, None),
        ((images + 0.4 / 255).clamp(0, 1), classes, randomness.identify(images)),
        (images, classes, ["a", "b", "c"]),
        (images.flip(0), classes.flip(0), None),
    ):
        expected = system.maps(some, wanted, ids)
        for _ in range(2):
            assert all(torch.equal(each, expected[name]) for name, each in cached.maps(some, wanted, ids).items())
    assert list(cached.only(["mask"]).maps(images, classes)) == ["mask"]
    other, again = cached.reseeded(), system.reseeded()
    assert other is not None
    assert again is not None
    assert torch.equal(other.maps(images, classes)["mask"], again.maps(images, classes)["mask"])


def test_attacked_images_that_are_known_by_pixels_meet_their_sources(digits: Digits) -> None:
    benign, fooled = splits(digits)
    hashes = benign.members.pixels[5:15]
    known = Split.of(fooled.images, digits.system.classifier, hashes, clean=False)
    detector = Maps(trees=5)
    found, expected = (cross_scores(detector, digits.system, benign, each) for each in (known, fooled))
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
