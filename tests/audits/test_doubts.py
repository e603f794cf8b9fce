"""Audits notice hidden gradients, explanations that say nothing, and randomness."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.audits.conftest import RADII, SHORT, Given
from underfire.attacks.benign import read_benign
from underfire.audits import Audit, Member, audit, decide
from underfire.audits.doubts import of_result
from underfire.audits.running import Runner
from underfire.audits.standing import Found
from underfire.errors import ClassifierError
from underfire.interpreters import CAM, Interpreter, View


class Wrapped(nn.Module):
    """The network behind a change of its input or output."""

    def __init__(self, network: nn.Module, kind: str) -> None:
        super().__init__()
        self.network, self.kind = network, kind

    def forward(self, images: Tensor) -> Tensor:
        if self.kind == "quantised":
            images = (images * 7).round() / 7
        if self.kind == "random":
            images = images + 0.1 * torch.randn_like(images)
        logits = self.network(images)
        return logits * 100 if self.kind == "temperature" else logits


def wrapped(given: Given, kind: str) -> uf.Classifier:
    own = given.classifier
    return uf.Classifier(Wrapped(own.module, kind), mean=own.mean, std=own.std, image_size=own.image_size, channels=1)


@dataclass(frozen=True)
class Edges(Interpreter):
    """The Sobel edges of the image, whatever the classifier sees."""

    name: ClassVar[str] = "edges"
    family: ClassVar[str] = "cam"

    def read(self, classifier: uf.Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        return images.mean(1).diff(dim=1, append=images.mean(1)[:, -1:]).abs()

    def view(self) -> View:
        return CAM().view()


@dataclass(frozen=True)
class Ramp(Edges):
    """The same map for every image, which noise does not move."""

    name: ClassVar[str] = "ramp"

    def read(self, classifier: uf.Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        return torch.linspace(0, 1, 16).repeat(len(images), 16, 1)


def topics(found: Audit) -> set[str]:
    return {each.topic for each in found.doubts}


def test_a_sound_audit_has_none_of_them(found: Audit) -> None:
    assert not topics(found) & {"gradients", "search", "explanation"}


def test_a_quantised_input(digits: Given) -> None:
    found = audit(
        uf.System(wrapped(digits, "quantised"), "gradcam"), digits.images, digits.labels, eps=0.3, ensemble=SHORT
    )
    assert "gradients" in topics(found)
    (result,) = found.results
    # No gradient leads anywhere, and the search finds images all the same.
    assert set(result.wrong_by) == {"", "search"}
    assert "search" in topics(found)
    assert all(each.hides for each in found.doubts if each.topic in ("gradients", "search"))


def test_a_class_that_only_the_search_changed_is_doubted_at_larger_radii_too(digits: Given) -> None:
    """Regression: it was credited to the smaller radius alone there, and the result passed the gate."""
    system = uf.System(wrapped(digits, "quantised"), "gradcam")
    small, large = (found := audit(system, digits.images, digits.labels, eps=(0.3, 0.305), ensemble=SHORT)).results
    assert "search" in set(small.wrong_by)
    assert "search, smaller eps" in set(large.wrong_by)
    assert all("search" in {each.topic for each in found.doubts_of(result)} for result in (small, large))
    alone = replace(large, wrong_by=tuple(by if by.endswith("smaller eps") else "" for by in large.wrong_by))
    assert "search" in {each.topic for each in of_result(alone, SHORT)}


def test_maps_that_only_the_search_kept(found: Audit) -> None:
    """Two images, because one may be chance; an image at which only the class fell is no such image."""
    result = found.of("cam", RADII[1])
    places = np.flatnonzero(result.fooled)
    assert len(places) > 3
    for count, said in ((1, False), (2, True)):
        kept = ["auto" if by else "" for by in result.kept_by]
        for place in places[:count]:
            kept[place] = "search"
        doubted = of_result(replace(result, kept_by=tuple(kept), wrong_by=("",) * 12), SHORT)
        told = [each for each in doubted if each.topic == "search"]
        assert bool(told) == said
        assert all(each.hides and "only the search without gradients kept the map of 2" in each.text for each in told)


def test_a_find_of_the_search_for_one_interpreter_is_doubted_on_the_other(digits: Given) -> None:
    """Regression: it was credited to the attack on CAM alone, and nothing said that gradients had not found it."""
    system = uf.System(digits.classifier, ["cam", "grad"])
    benign = read_benign(system, digits.images, digits.labels, digits.ids)
    members = (*SHORT[:1], Member("search", "search", 40))
    runner = Runner(system, benign, members, 0, None, None, None, lambda _words, _share: None)
    cases = {name: runner._begin((name,), RADII[1], None) for name in ("cam", "grad")}
    state, rows = cases["cam"].state, torch.from_numpy(np.flatnonzero(runner.correct)[:2])
    other = (digits.labels[rows] + 1) % 10
    near = Found(rows, digits.images[rows], other, torch.tensor([True, True]), torch.zeros(2, dtype=torch.float64))
    state.add("search", near, cases["cam"].near.kept, 0)
    state.overrule([SHORT[0].name] * 2, replace(near, wrong=torch.tensor([True, False])), runner.searches)
    runner._judged = lambda case, places, images: near  # type: ignore[method-assign]
    runner._try_on(cases["grad"], cases)
    grad, places = cases["grad"].state, rows.tolist()
    assert [grad.kept_by[place] for place in places] == ["search, attack on cam"] * 2
    assert [grad.wrong_by[place] for place in places] == [f"{SHORT[0].name}, attack on cam", "search, attack on cam"]
    said = [each.text for each in of_result(runner._result(cases["grad"]), members) if each.topic == "search"]
    assert any("changed the class of 1 of" in text for text in said)
    assert any("kept the map of 2 of" in text for text in said)


@pytest.mark.parametrize("where", ["", ", smaller eps", ", attack on grad"])
def test_what_only_the_last_attack_kept_is_doubted_wherever_it_was_found(found: Audit, where: str) -> None:
    result = found.of("cam", RADII[1])
    last = [member.name for member in SHORT if member.kind in ("auto", "adv2")][-1]
    kept = tuple(f"{last}{where}" if by else "" for by in result.kept_by)
    topics = {each.topic for each in of_result(replace(result, kept_by=kept), SHORT)}
    assert "convergence" in topics


def test_a_map_that_noise_does_not_move_passes_no_gate(digits: Given) -> None:
    system = uf.System(digits.classifier, [Ramp()])
    found = audit(system, digits.images, digits.labels, eps=0.3, ensemble=SHORT[:1])
    assert found.results[0].limit.mean == 0
    told = [each for each in found.doubts if each.topic == "limit"]
    assert [each.hides for each in told] == [True]
    (decision,) = decide(found, 0.5)
    assert decision.state != "pass"


def test_nor_do_several_maps_with_one_that_noise_does_not_move(digits: Given) -> None:
    system = uf.System(digits.classifier, [CAM(), Ramp()])
    found = audit(system, digits.images, digits.labels, eps=0.3, ensemble=SHORT[:1])
    together = found.of("cam+ramp")
    (told,) = (each for each in found.doubts_of(together) if each.topic == "limit")
    assert told.hides
    assert "does not move the map of ramp at all" in told.text
    assert decide(found, 0.5)[found.results.index(together)].state == "investigate"


def test_a_number_that_the_limit_makes(found: Audit) -> None:
    """Half of the limit, and most images are robust; the doubt says what twice that, the old limit, would count."""
    result = found.of("cam", RADII[1])
    tight = replace(
        result,
        limits={"cam": replace(result.limit, values=np.sort(result.nearest)[1] * np.ones(12), set_by="noise")},
    )
    count = int((result.correct & (result.nearest < 2 * tight.limit.mean)).sum())
    assert count > int(tight.fooled.sum()) + 1
    (told,) = (each for each in of_result(tight, SHORT) if "makes much of the number" in each.text)
    assert f"{count} of 11 right images" in told.text
    assert not told.hides


@pytest.mark.parametrize(("copies", "cap", "said"), [(1, 4, True), (6, 4, False), (1, 2, False)])
def test_few_images_do_not_settle_the_limit(found: Audit, copies: int, cap: int, said: bool) -> None:
    """11 right images, or 66: are there images between the limit and the highest one that chance allows?

    The limit lies between the second and third nearest map; ``cap`` is the number of maps that chance would allow.
    """
    result = found.of("cam", RADII[1])
    assert int((result.correct & result.wrong).sum()) > 5
    near = np.sort(np.where(result.correct & result.wrong, result.nearest, np.inf))
    limit = replace(
        result.limit,
        values=np.full(12 * copies, near[1:3].mean()),
        correct=np.tile(result.correct, copies),
        set_by="noise",
        by_other=near[cap - 1 : cap + 1].mean(),
        by_average=np.inf,
    )
    more = replace(
        result,
        correct=np.tile(result.correct, copies),
        wrong=np.tile(result.wrong, copies),
        distances={"cam": np.tile(result.distances["cam"], copies)},
        limits={"cam": limit},
        kept_by=result.kept_by * copies,
    )
    texts = [each for each in of_result(more, SHORT) if "highest limit that chance allows" in each.text]
    assert bool(texts) == said
    if said:
        assert texts[0].hides
        assert f"{cap} would count as fooled, and not 2" in texts[0].text


def test_a_softmax_temperature(digits: Given) -> None:
    found = audit(
        uf.System(wrapped(digits, "temperature"), "gradcam"), digits.images, digits.labels, eps=0.1, ensemble=SHORT[:1]
    )
    said = [each.text for each in found.doubts if each.topic == "gradients"]
    assert any("softmax temperature" in text for text in said)


def test_a_randomised_layer(digits: Given) -> None:
    with pytest.raises(ClassifierError, match="random"):
        audit(uf.System(wrapped(digits, "random"), "grad"), digits.images, digits.labels, eps=0.1, ensemble=SHORT[:1])


def test_an_explanation_that_says_nothing(digits: Given) -> None:
    found = audit(uf.System(digits.classifier, [Edges()]), digits.images, digits.labels, eps=0.1, ensemble=SHORT[:1])
    (doubt,) = (each for each in found.doubts if each.topic == "explanation")
    assert doubt.interpreter == "edges"
    assert "the class" in doubt.text
    assert "the weights" in doubt.text
