"""Feature squeezing: a replica written from the definition, and who knows it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import torch

from tests.detectors.conftest import Digits
from underfire.detectors import Squeezing, fit
from underfire.detectors.description import fields_of, items_of, terms_of
from underfire.errors import InputError
from underfire.transforms.squeezers import squeezer


def probabilities(digits: Digits, images: np.ndarray) -> np.ndarray:
    logits = digits.system.classifier.logits(torch.from_numpy(images)).double().numpy()
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_the_score_is_the_largest_change_of_the_probabilities(digits: Digits) -> None:
    """The squeezers by numpy and scipy, and the L1 distance image by image."""
    images = digits.attacked[:12].numpy()
    fewer = (np.round(images * 7) / 7).astype(np.float32)
    smooth = np.stack([scipy.ndimage.median_filter(image, size=(1, 3, 3), mode="reflect") for image in images])
    before = probabilities(digits, images)
    by_bits, by_median = (np.abs(before - probabilities(digits, each)).sum(1) for each in (fewer, smooth))
    made = fit("squeezing:bit-depth:3+median:3", digits.system, digits.images[80:])
    expected = np.maximum(by_bits, by_median)
    assert made.scores(digits.attacked[:12]).numpy() == pytest.approx(expected, abs=1e-6)
    assert 0 < int((by_bits > by_median).sum()) < 12  # each of them is the larger one on some image
    single = fit("squeezing:bit-depth:3", digits.system, digits.images[80:])
    assert single.scores(digits.attacked[:12]).numpy() == pytest.approx(by_bits, abs=1e-6)


def test_it_takes_squeezers_in_any_form() -> None:
    assert Squeezing("bit-depth:3").squeezers == ("bit-depth:3",)  # type: ignore[arg-type]
    assert Squeezing(("median:2", "bit-depth:1")).title == "squeezing median:2 + bit-depth:1"
    assert Squeezing().squeezers == ("bit-depth:5", "median:2", "non-local-means:13-3-2")
    with pytest.raises(InputError, match="squeezers is empty"):
        Squeezing(())
    with pytest.raises(InputError, match="unknown squeezer 'medan'"):
        Squeezing(("medan:2",))


ATTACK = (
    "Attack(name='adv2', moves=(Move(terms=(Weighted(term=Prediction(loss='x'), weight=1.0), {}), size=0.1),), "
    "target_class=GridFirst(bits=3, eps=0.1, steps=10))"
)
EVADE = "Weighted(term=Evade(squeezers={}, thresholds={}, weights={}, slack=0.75), weight={})"
BITS, BOTH = "(BitDepth(bits=3),)", "(BitDepth(bits=3), Median(size=2))"


def known(term: str, threshold: float = 0.5) -> tuple[bool, bool]:
    """Return if an attack with this term knows 3 bits, and if it knows 3 bits and the median together."""
    attack = ATTACK.format(term.replace("Median(size=2)", repr(squeezer("median:2"))))
    single, joint = Squeezing(("bit-depth:3",)), Squeezing(("bit-depth:3", "median:2"))
    return single.knows(attack, threshold), joint.knows(attack, threshold)


@pytest.mark.parametrize(
    ("term", "bits", "joint"),
    [
        ("Weighted(term=Squeeze(squeezers=(BitDepth(bits=3), Median(size=2))), weight=1.0)", True, True),
        ("Weighted(term=Evade(squeezers=(BitDepth(bits=3),), thresholds=(0.5,)), weight=1.0)", True, False),
        ("Weighted(term=Match(threshold=0.5)), Weighted(term=Evade(squeezers=(Median(size=2),)))", True, True),
        ("Weighted(term=Match(threshold=0.5, slack=0.75), weight=1.0)", True, False),
        ("Weighted(term=Evade(squeezers=(BitDepth(bits=2),), thresholds=(0.5,)), weight=1.0)", False, False),
        ("Weighted(term=Other(squeezers=(BitDepth(bits=3),)), weight=1.0)", False, False),
        ("", False, False),
    ],
)
def test_an_attack_is_adaptive_if_it_squeezes_with_all_squeezers(term: str, bits: bool, joint: bool) -> None:
    assert known(term) == (bits, joint)


@pytest.mark.parametrize(
    ("term", "bits", "joint"),
    [
        (EVADE.format(BOTH, "(0.5, 0.5)", "(40.0, 12.0)", 1.0), True, True),
        (EVADE.format(BOTH, "(0.2, 0.0)", "(40.0, 12.0)", 1.0), True, True),  # lower is harder
        (EVADE.format(BOTH, "(0.5, 0.6)", "(40.0, 12.0)", 1.0), True, False),
        (EVADE.format(BOTH, "(0.6, 0.5)", "(40.0, 12.0)", 1.0), False, False),
        (EVADE.format(BITS, "(0.5001,)", "(1.0,)", 1.0), True, False),  # typed with fewer digits
        (EVADE.format(BITS, "(0.51,)", "(1.0,)", 1.0), False, False),
        (EVADE.format(BOTH, "(0.5, 0.5)", "(0.0, 1.0)", 1.0), False, False),
        (EVADE.format(BOTH, "(0.5, 0.5)", "(1.0, 1.0)", 0.0), False, False),
        ("Weighted(term=Match(threshold=0.6, slack=0.75), weight=1.0)", False, False),
    ],
)
def test_an_attack_that_evades_higher_thresholds_does_not_know_the_detector(term: str, bits: bool, joint: bool) -> None:
    assert known(term) == (bits, joint)


def test_class_probabilities_of_another_grid_say_nothing() -> None:
    attack: Any = ATTACK.format("Weighted(term=Match(threshold=0.5, slack=0.75), weight=1.0)")  # as a run describes it
    assert Squeezing("bit-depth:3").knows(attack, 0.5)
    assert not Squeezing("bit-depth:2").knows(attack, 0.5)
    assert not Squeezing("bit-depth:3").knows(attack.replace("GridFirst", "RandomClass"), 0.5)


def test_terms_are_cut_at_their_own_bracket() -> None:
    text = "(Weighted(term=Squeeze(a=(1, (2,))), weight=Linear(3)), Weighted(term=Squeeze(b=4)), term=Squeezed(5))"
    assert [*terms_of(text, "Squeeze")] == ["Squeeze(a=(1, (2,)))", "Squeeze(b=4)"]
    quoted = "(Weighted(term=Squeeze(a='(,', b=(1, 2)), weight=0.5), Weighted(term=Squeeze(c=1), weight=0))"
    assert [*terms_of(quoted, "Squeeze")] == ["Squeeze(a='(,', b=(1, 2))"]
    assert fields_of("Squeeze(a='(,', b=(1, (2,)))") == {"a": "'(,'", "b": "(1, (2,))"}
    for name in ("ends in \\", "it's", "\\'", '"', "a\\\\"):
        assert fields_of(f"Squeeze(a={name!r}, b=(1,))") == {"a": repr(name), "b": "(1,)"}
    assert items_of("(A(size=1), B(), )") == ["A(size=1)", "B()"]
    assert (fields_of("nothing"), items_of("(1, (2"), [*terms_of("term=Squeeze(a=(", "Squeeze")]) == ({}, [], [])
