"""The small pieces of an attack against closed forms and libraries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import underfire as uf
from underfire import attacks, randomness
from underfire.attacks.perturbations import eight_bit_box
from underfire.attacks.state import take
from underfire.attacks.terms import Point
from underfire.classifiers import Recorded
from underfire.errors import InputError


def some_logits() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(7, 5, dtype=torch.float64) * 3, torch.tensor([0, 1, 2, 3, 4, 0, 1])


def test_targeted_cross_entropy_with_label_smoothing() -> None:
    logits, classes = some_logits()
    goal = attacks.Goal()
    assert torch.allclose(goal.cross_entropy(logits, classes), F.cross_entropy(logits, classes, reduction="none"))
    soft = torch.full_like(logits, 0.05 / 4).scatter(1, classes.unsqueeze(1), 0.95)
    assert torch.allclose(soft.sum(1), torch.ones(7, dtype=torch.float64))
    expected = -(soft * logits.log_softmax(1)).sum(1)
    assert torch.allclose(goal.cross_entropy(logits, classes, smoothing=0.05), expected)


def test_untargeted_cross_entropy_is_that_of_any_other_class() -> None:
    logits, classes = some_logits()
    own = logits.softmax(1).gather(1, classes.unsqueeze(1)).squeeze(1)
    goal = attacks.Goal(targeted=False)
    assert torch.allclose(goal.cross_entropy(logits, classes), -(1 - own).log())
    assert torch.allclose(goal.probability(logits, classes), 1 - own)


@pytest.mark.parametrize("shift", [0.0, -50.0, 50.0])
def test_margin_does_not_depend_on_where_the_logits_lie(shift: float) -> None:
    logits, classes = some_logits()
    margins = attacks.Goal().margin(logits + shift, classes)
    for row, c in enumerate(classes.tolist()):
        others = [float(logits[row, k]) for k in range(5) if k != c]
        assert float(margins[row]) == pytest.approx(max(others) - float(logits[row, c]))
    assert torch.equal(margins < 0, attacks.Goal().reached(logits + shift, classes))
    assert torch.equal(-margins, attacks.Goal(targeted=False).margin(logits + shift, classes))


def test_the_explained_class() -> None:
    logits, classes = some_logits()
    assert torch.equal(attacks.Goal().explained(logits, classes), classes)
    others = attacks.Goal(targeted=False).explained(logits, classes)
    for row, c in enumerate(classes.tolist()):
        assert int(others[row]) == max((k for k in range(5) if k != c), key=lambda k: float(logits[row, k]))


def test_weights_over_time() -> None:
    assert attacks.Linear(5, 10).at(0) == 5
    assert attacks.Linear(5, 10).at(1) == 10
    assert attacks.Linear(5, 10).at(0.5) == 7.5
    phases = attacks.Phases((0.001, 0.004, 0.01, 0.05), (301, 201, 101, 101))
    moves = (attacks.Move((attacks.Weighted(attacks.Prediction()),), 0.1),)
    stage = attacks.Stage("joint", 704, moves)
    values = [phases.at(stage.progress(step)) for step in range(704)]
    for value, length in zip((0.001, 0.004, 0.01, 0.05), (301, 201, 101, 101), strict=True):
        assert abs(values.count(value) - length) <= 1
    assert values == sorted(values)
    short = [phases.at(attacks.Stage("joint", 160, moves).progress(step)) for step in range(160)]
    assert [round(704 / 160 * short.count(value)) for value in phases.values] == pytest.approx(
        (301, 201, 101, 101), abs=6
    )


def test_adam_is_torchs() -> None:
    torch.manual_seed(0)
    for amsgrad in (True, False):
        start = torch.randn(3, 2, 4, dtype=torch.float64)
        theirs = start.clone().requires_grad_()
        optimiser = torch.optim.Adam([theirs], lr=0.01, amsgrad=amsgrad)
        rule, ours = attacks.Adam(amsgrad=amsgrad), start.clone()
        state = rule.start(ours)
        for step in range(30):
            gradient = torch.sin(ours * (step + 1)) + 0.1 * step
            theirs.grad = gradient.clone()
            optimiser.step()
            direction, state = rule.direction(gradient, state)
            ours = ours + 0.01 * direction
            assert torch.allclose(ours, theirs.detach(), atol=1e-12), step


def test_unit_l2_and_sign() -> None:
    gradient = torch.tensor([[3.0, -4.0], [0.0, 0.0]])
    assert torch.allclose(attacks.UnitL2().direction(gradient, {})[0], torch.tensor([[-0.6, 0.8], [0.0, 0.0]]))
    assert torch.equal(attacks.Sign().direction(gradient, {})[0], torch.tensor([[-1.0, 1.0], [0.0, 0.0]]))


@given(st.integers(0, 255), st.floats(1 / 255, 1.0))
@settings(max_examples=200, deadline=None)
def test_the_box_is_the_levels_within_eps(level: int, eps: float) -> None:
    low, high = eight_bit_box(torch.tensor([[level / 255]]), eps)
    inside = [k for k in range(256) if abs(k - level) <= eps * 255 + 1e-3]
    assert round(float(low) * 255) == min(inside)
    assert round(float(high) * 255) == max(inside)


def test_the_published_eps_is_seven_levels() -> None:
    low, high = eight_bit_box(torch.tensor([[100 / 255]]), 0.031)
    assert (round(float(low) * 255), round(float(high) * 255)) == (93, 107)


@pytest.mark.parametrize("eps", [0.0, -0.1, 1.5, float("nan"), 0.001])
def test_eps_that_cannot_be(eps: float) -> None:
    with pytest.raises(InputError, match="eps is"):
        attacks.PGD(eps)


def test_random_numbers_belong_to_the_image() -> None:
    ids = torch.arange(50)
    together = randomness.uniform(3, ids, "start", 2, (3, 4))
    assert torch.equal(together[17:18], randomness.uniform(3, ids[17:18], "start", 2, (3, 4)))
    for other in (
        randomness.uniform(4, ids, "start", 2, (3, 4)),
        randomness.uniform(3, ids, "noise", 2, (3, 4)),
        randomness.uniform(3, ids, "start", 3, (3, 4)),
        randomness.uniform(3, ids + 50, "start", 2, (3, 4)),
    ):
        assert not (together == other).any()


def test_random_numbers_by_each_images_own_step() -> None:
    ids, steps = torch.arange(50), torch.arange(50) % 3
    together = randomness.uniform(3, ids, "start", steps, (4,))
    alone = torch.cat([randomness.uniform(3, ids[i : i + 1], "start", steps[i : i + 1], (4,)) for i in range(50)])
    assert torch.equal(together, alone)
    assert not (together == randomness.uniform(3, ids, "start", steps + 1, (4,))).any()
    assert len(randomness.bits(3, ids.new_zeros(1000), "start", torch.arange(1000), 1).unique()) == 1000


def test_random_numbers_are_uniform_and_independent() -> None:
    from scipy import stats

    drawn = randomness.uniform(0, torch.arange(300), "test", 0, (1000,)).numpy()
    assert stats.kstest(drawn.ravel()[:100_000], "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(drawn[:-1].ravel(), drawn[1:].ravel())[0, 1]) < 0.006
    assert abs(np.corrcoef(drawn[:, :-1].ravel(), drawn[:, 1:].ravel())[0, 1]) < 0.006
    counts = np.bincount(randomness.integers(0, torch.arange(90_000), "test", 0, (1,), 9).numpy().ravel(), minlength=9)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_identities() -> None:
    images = torch.rand(3, 3, 4, 4)
    assert torch.equal(randomness.identify(images), randomness.identify(images.clone()))
    assert len(randomness.identify(torch.cat([images, images + 1 / 255])).unique()) == 6
    assert torch.equal(
        randomness.identify(images, ["a", "b", "a"]) == randomness.identify(images, ["a"] * 3),
        torch.tensor([True, False, True]),
    )


def test_take_reaches_everything() -> None:
    tree = {"a": torch.arange(4), "b": {"c": torch.arange(8).view(4, 2), "d": {}}}
    kept = take(tree, torch.tensor([3, 1]))
    assert kept["a"].tolist() == [3, 1]
    assert kept["b"]["c"].tolist() == [[6, 7], [2, 3]]
    with pytest.raises(TypeError, match="holds a list"):
        take({"a": [1, 2]}, torch.tensor([0]))


def no_passes(images: Tensor) -> Tensor:
    raise AssertionError("this term makes no passes of its own")


def test_the_raw_logit_of_the_class() -> None:
    logits, classes = some_logits()
    own = torch.stack([row[number] for row, number in zip(logits, classes, strict=True)])
    reading = uf.system.Reading(Recorded(logits, None, None, None, ()), {}, {})
    nothing = torch.zeros(7, dtype=torch.float64)
    for targeted, expected in ((True, -own), (False, own)):
        point = Point(nothing, reading, classes, attacks.Goal(targeted), {}, nothing, nothing, run=no_passes)
        assert torch.equal(attacks.Prediction("logit")(point), expected)


def test_several_maps_are_as_far_as_on_average() -> None:
    near, far = torch.full((2, 3, 3), 0.1), torch.full((2, 5, 5), 0.5)
    targets = {"near": torch.zeros(2, 3, 3), "far": torch.zeros(2, 5, 5)}
    found = attacks.ranking.map_distance({"near": near, "far": far}, targets)
    assert torch.allclose(found, torch.full((2,), 0.3))


def test_the_interpretation_term() -> None:
    """Squares, meant or summed over cells, meant over a view's looks, added over interpreters ([ADV2] eq. 5)."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    looks, targets = {"a": drawn(3, 2, 4, 5), "b": drawn(3, 1, 2, 2)}, {"a": drawn(3, 4, 5), "b": drawn(3, 2, 2)}
    said = uf.system.Reading(Recorded(drawn(3, 4), None, None, None, ()), looks, {})
    classes = torch.zeros(3, dtype=torch.int64)
    point = Point(drawn(3), said, classes, attacks.Goal(), targets, drawn(3), drawn(3), run=no_passes)
    for reduction in ("mean", "sum"):
        slow = {}
        for name, wanted in targets.items():
            rows = []
            for row in range(3):
                each = [float(((look - wanted[row]) ** 2).sum()) for look in looks[name][row]]
                rows.append(sum(each) / len(each) / (wanted[row].numel() if reduction == "mean" else 1))
            slow[name] = torch.tensor(rows, dtype=torch.float64)
            term = attacks.Interpretation(reduction, name)
            assert torch.allclose(term(point), slow[name])
        assert torch.allclose(attacks.Interpretation(reduction)(point), slow["a"] + slow["b"])
