"""``square``: its candidates and its order of images against the definition, networks without gradients, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import underfire as uf
from tests.attacks.test_no_gradient import Steps
from tests.attacks.test_replicas import slow_cam
from tests.conftest import smooth_images, tiny_network
from underfire import attacks
from underfire.attacks import Point, Score, Weighted
from underfire.attacks.perturbations import CW, PGD
from underfire.attacks.schedule import Linear
from underfire.attacks.square import Square, candidate, whole_levels
from underfire.errors import InputError, NoGradientError

EPS = 0.2
LEVELS = 51


@given(
    query=st.integers(1, 39),
    seed=st.integers(0, 5),
    height=st.integers(3, 12),
    width=st.integers(3, 12),
    levels=st.integers(1, 40),
)
@settings(deadline=None, max_examples=30)
def test_a_candidate_changes_one_square_to_the_ends_of_the_ball(
    query: int, seed: int, height: int, width: int, levels: int
) -> None:
    images = torch.full((3, 2, height, width), 128 / 255)
    best = torch.zeros_like(images)  # a value that no candidate writes
    ids = torch.tensor([4, 5, 6])
    tried = candidate(images, best, ids, levels, query, 40, seed=seed, purpose="test") * 255
    side = max(1, round((0.3 * (1 - query / 40) ** 2 * height * width) ** 0.5))
    for image in tried.round():
        changed = (image != 0).any(0)
        rows, columns = changed.any(1).nonzero().flatten(), changed.any(0).nonzero().flatten()
        assert len(rows) == min(side, height)
        assert len(columns) == min(side, width)
        assert bool(changed[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all())
        for channel in image[:, changed]:
            assert {float(value) for value in channel} in ({128.0 + levels}, {128.0 - levels})


def test_the_first_candidate_has_vertical_stripes() -> None:
    images = torch.full((2, 3, 6, 5), 100 / 255)
    tried = (candidate(images, images, torch.arange(2), 7, 0, 10, seed=0, purpose="test") * 255).round()
    assert torch.equal(tried, tried[:, :, :1].expand_as(tried))
    assert set(tried.flatten().tolist()) == {93.0, 107.0}


def test_eps_holds_whole_levels() -> None:
    assert [whole_levels(eps) for eps in (8 / 255, 0.031, 1 / 255, 1.0)] == [8, 7, 1, 255]


def slow_square(
    classifier: uf.Classifier, image: Tensor, label: int, target: int, tried_at: list[Tensor], limit: float | None
) -> Tensor:
    """The search on one image, from its definition: ``tried_at[q]`` makes the candidate of query q from the best."""
    with torch.no_grad():
        _, clean = slow_cam(classifier, image, label)
    best, rank = image, (0, float("inf"))
    for make in tried_at:
        x = make(best)
        with torch.no_grad():
            logits, read = slow_cam(classifier, x, target)
        others = torch.cat([logits[0, :target], logits[0, target + 1 :]])
        margin = float(others.max() - logits[0, target])
        if margin >= 0:
            found = (0, margin)
        else:
            distance = float((read - clean).abs().mean())
            noticed = limit is not None and float(x.mean()) > limit
            found = (-1, distance + 3 * (float(x.mean()) - limit)) if noticed else (-1 - (limit is not None), distance)
        if found < rank:
            best, rank = x, found
    return best


@pytest.mark.parametrize("limit", [None, 0.5])
def test_it_does_what_its_definition_says(
    classifier: uf.Classifier, images: Tensor, labels: Tensor, limit: float | None
) -> None:
    """The detector notices images that are bright; its weight is 3."""
    second = classifier.logits(images).scatter(1, labels[:, None], -torch.inf).argmax(1)
    targets, queries, eps = tuple(second.tolist()), 80, 0.5
    evade = () if limit is None else Weighted(Score(lambda point: point.image.mean((1, 2, 3)), limit), 3.0)
    rule = attacks.GivenClass(targets)
    system, ids = uf.System(classifier, uf.interpreters.CAM()), torch.arange(len(images)) + 10
    result = attacks.preset("square", eps=eps, budget=queries, target_class=rule, evade=evade or ())(
        system, images, labels, ids=ids, control=False
    )
    rounded = (images * 255).round() / 255
    assert bool(result.success.any())
    for place, (image, label, target) in enumerate(zip(rounded, labels.tolist(), targets, strict=True)):

        def make(query: int, image: Tensor = image, place: int = place) -> Any:
            return lambda best: candidate(
                image[None], best[None], ids[place : place + 1], 127, query, queries, seed=0, purpose="square"
            )[0]

        expected = slow_square(classifier, image, label, target, [make(query) for query in range(queries)], limit)
        assert torch.equal((result.adversarial[place] * 255).round(), (expected * 255).round())


def test_an_image_does_not_depend_on_the_others(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    system = uf.System(classifier, "cam")
    ids = torch.arange(len(images))
    attack = attacks.preset("square", eps=EPS, budget=25, targeted=False)
    together = attack(system, images, labels, ids=ids)
    alone = attack(system, images[1:3], labels[1:3], ids=ids[1:3], batch_size=8)
    assert torch.equal(together.adversarial[1:3], alone.adversarial)


def test_steps_passes_and_the_course_are_told(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    heard: list[tuple[int, int]] = []
    result = attacks.preset("square", eps=EPS, budget=30, targeted=False)(
        uf.System(classifier, "cam"),
        images,
        labels,
        control=False,
        trace_every=1,
        progress=lambda step, steps: heard.append((step, steps)),
    )
    assert set(result.steps.tolist()) == {30}
    assert bool((result.forwards >= 30).all())  # one for each query, and one more where maps are read
    assert bool((result.forwards <= 60).all())
    assert heard[-1][0] == heard[-1][1]
    assert [step for step, _ in heard] == sorted(step for step, _ in heard)
    course = result.trace.columns
    assert bool((course["success"].diff(dim=0) >= 0).all())  # what has been reached is not given back
    kept = course["success"].bool()
    distances = course["map_l1/cam"]
    assert bool(distances[~kept].isnan().all())
    falls = distances.diff(dim=0)
    assert bool((falls[kept[:-1]] <= 1e-6).all())


def test_it_goes_where_no_gradient_leads() -> None:
    system, images = uf.System(Steps(), "cam"), smooth_images(6)
    labels = system.classifier.logits(images).argmax(1)
    with pytest.raises(NoGradientError):
        attacks.preset("auto", eps=EPS, budget=5, targeted=False)(system, images, labels, control=False)
    found = attacks.preset("square", eps=EPS, budget=60, targeted=False)(system, images, labels, control=False)
    assert int(found.success.sum()) >= 3
    levels = (found.adversarial - (images * 255).round() / 255).abs() * 255
    assert float(levels.max()) <= LEVELS + 1e-3
    assert torch.equal((found.adversarial * 255).round() / 255, found.adversarial)


def test_a_drifting_interpreter_is_read_as_an_analyst_would() -> None:
    """MASK's map is solved for each image that reaches the goal: what ranks images is the honest map."""
    system, images = uf.System(uf.Classifier(tiny_network(), image_size=16), uf.interpreters.create("mask:small")), None
    images = smooth_images(2)
    labels = system.classifier.logits(images).argmax(1)
    ids = torch.tensor([3, 4])
    result = attacks.preset("square", eps=EPS, budget=6, targeted=False)(
        system, images, labels, ids=ids, control=False, trace_every=1
    )
    name = next(iter(system.attacked))
    for place in result.success.nonzero().flatten().tolist():
        told = float(result.trace.columns[f"map_l1/{name}"][-1, place])
        assert told == pytest.approx(float(result.map_l1[name][place]), abs=1e-4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"perturbation": "cw"}, "changes squares inside an L-inf ball"),
        ({"perturbation": PGD(random_start=True)}, "changes squares inside an L-inf ball"),
        ({"shaping": "edge"}, "shaping is .*leave shaping out"),
        ({"edge_threshold": 0.1}, "edge_threshold is 0.1"),
        ({"early_stop": True}, "early_stop is True"),
        ({"steps": (1, 2)}, "steps is .*, and square chooses that by itself: give it a budget, such as 1000"),
        ({"search": 2}, "search is 2"),
        ({"budget": 0}, "budget is 0; expected at least 1"),
        ({"budget": "many"}, "budget is 'many'; expected a whole number of steps, such as 1000"),
        ({"terms": "penalty"}, "the perturbation's own cost"),
    ],
)
def test_settings_without_an_effect_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        attacks.preset("square", **given)


def test_parts_by_hand_are_checked() -> None:
    with pytest.raises(InputError, match=r"expected PGD\(eps\)"):
        Square(perturbation=CW())  # type: ignore[arg-type]  # refused at run time, too
    for part in (PGD(random_start=True), PGD(evened=True)):
        with pytest.raises(InputError, match="with a radius alone"):
            Square(perturbation=part)
    with pytest.raises(InputError, match="the weight would do nothing"):
        Square(terms=(Weighted(attacks.Penalty()),))
    with pytest.raises(InputError, match="has no stage over which it could change"):
        Square(terms=(Weighted(Score(lambda point: point.penalty), Linear(0, 1)),))
    with pytest.raises(InputError, match="queries is 0"):
        Square(queries=0)


def test_a_term_counts_beside_the_map(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    """A term that no detector stands for is part of the value of every image that meets the goal."""

    class Dark(attacks.Term):
        name = "dark"

        def __call__(self, point: Point) -> Tensor:
            return point.image.mean((1, 2, 3))

    system = uf.System(classifier, "cam")
    plain, dark = (
        attacks.preset("square", eps=EPS, budget=80, targeted=False, terms=terms)(system, images, labels, control=False)
        for terms in ((), Weighted(Dark(), 50.0))
    )
    both = plain.success & dark.success
    assert int(both.sum()) >= 2
    assert float(F.relu(dark.adversarial[both].mean()) - plain.adversarial[both].mean()) < -0.02


def test_settings_that_say_what_it_does_anyway_are_taken() -> None:
    """A campaign says them once for several attacks."""
    attacks.preset("square", early_stop=False, shaping="uniform", perturbation=PGD(0.1))


def test_its_control_is_no_longer_than_it_has_to_be() -> None:
    assert attacks.preset("square", budget=5000).control().steps == (0, 200)
    assert attacks.preset("square", budget=50).control().steps == (0, 50)
