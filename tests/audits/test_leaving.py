"""Which iterate of an attack an audit keeps, and when an image leaves the attack."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.attacks.test_auto import point_of
from tests.attacks.test_no_sync import NoWaiting
from tests.audits.conftest import RADII, SHORT, Given, near
from tests.conftest import smooth_images, tiny_network
from underfire.attacks.benign import read_benign
from underfire.attacks.progress import Progress as Heard
from underfire.audits import Member
from underfire.audits.attacking import Made
from underfire.audits.case import Case
from underfire.audits.nearness import ByNearness
from underfire.audits.running import Runner


def test_an_image_leaves_an_attack_once_its_map_is_near_enough(digits: Given) -> None:
    """It does so at the first look after such an iterate; with several interpreters, once all of them are."""
    system = uf.System(digits.classifier, ["cam", "grad"])
    benign = read_benign(system, digits.images, digits.labels)
    member, places = Member("auto", "auto", 60), torch.arange(12)
    runner = Runner(system, benign, (member,), 0, None, None, None, lambda _words, _share: None)

    def make(names: tuple[str, ...], leaves: float, leaving: bool = True) -> tuple[Case, Made]:
        case = case_of(runner, names, leaves)
        return case, runner.attacks.make(member, case, places, lambda _step, _steps: None, leaving)

    _, whole = make(("cam",), 0.05, leaving=False)
    assert whole.gradients.tolist() == [60] * 12
    assert not whole.left.any()
    for names, leaves in ((("cam",), 0.05), (("cam", "grad"), 0.55)):
        case, made = make(names, leaves)
        assert torch.equal(made.left, made.gradients < 60)
        assert 0 < int(made.left.sum()) < 12, "some leave, some stay"
        found = runner._judged(case, places, made.images)
        assert bool(found.wrong[made.left].all())
        assert float(found.nearness[made.left].max()) < leaves
        if names == ("cam",):
            assert torch.equal(made.images[~made.left], whole.images[~made.left])


def case_of(runner: Runner, names: tuple[str, ...], leaves: float) -> Case:
    """An audit that has found nothing yet, in which images leave at this nearness."""
    case = runner._begin(names, RADII[1], None)
    return Case(case.near, case.eps, leaves, case.state)


def test_an_image_that_left_too_early_is_attacked_again(digits: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    """If an attack's maps are not the honest ones, the audit ends as if nobody had left."""
    system = uf.System(digits.classifier, "cam")
    benign = read_benign(system, digits.images, digits.labels)
    member, gone = Member("auto", "auto", 60), []

    def run(leaving: bool) -> Case:
        runner = Runner(system, benign, (member,), 0, None, None, None, lambda _words, _share: None)
        make, case = runner.attacks.make, case_of(runner, ("cam",), 0.02)

        def early(member: Member, case: Case, places: Tensor, heard: Heard, leaving: bool = leaving) -> Made:
            mistaken = Case(case.near, case.eps, 5 * case.leaves, case.state)  # as if maps were five times as near
            made = make(member, mistaken, places, heard, leaving)
            gone.append(int(made.left.sum()))
            return made

        monkeypatch.setattr(runner.attacks, "make", early)
        runner._run(case)
        return case

    whole, case = run(leaving=False).state, run(leaving=True).state
    assert gone[0] == 0
    assert gone[1] > gone[2] == 0
    near = case.nearest < 0.02
    assert 0 < near.sum() < 12
    assert np.array_equal(near, whole.nearest < 0.02)
    assert np.array_equal(case.nearest[~near], whole.nearest[~near])


def test_ranking_by_nearness_waits_for_nothing() -> None:
    """A GPU would be waited for at every step, and steps could not be recorded."""
    maps = {name: torch.rand(3, 1, 4, 4) for name in ("cam", "grad")}
    point = point_of(maps, {name: torch.rand(3, 4, 4) for name in maps}, torch.tensor([[1.0, 0.0]] * 3))
    for limits in ({"cam": 0.1, "grad": 0.4}, {"cam": 0.1}):
        ranking = ByNearness(near=near(**limits))
        with NoWaiting():
            _, value = ranking.rate(point)
        distances = {name: (maps[name][:, 0] - point.target_maps[name]).abs().mean((1, 2)) for name in limits}
        torch.testing.assert_close(value.double(), near(**limits).of(distances).double())
        assert value.dtype == torch.float32


class Fragile(nn.Module):
    """A network that gives NaN for dark images whose first value is above a limit."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.network, self.limit = tiny_network(), limit

    def forward(self, images: Tensor) -> Tensor:
        broken = (images[:, 0, 0, 0] > self.limit) & (images.mean((1, 2, 3)) < 0.4)
        return self.network(images * torch.where(broken, torch.nan, 1.0).view(-1, 1, 1, 1))


@pytest.mark.filterwarnings("ignore:the classifier returns NaN")
def test_a_network_that_breaks_during_an_attack_ends_no_audit() -> None:
    """Regression: maps of NaN, which an attack reads on its way, ended the audit."""
    images = (smooth_images(8) * 0.3 * 255).round() / 255
    classifier = uf.Classifier(Fragile(float(images[:, 0, 0, 0].max())), image_size=16)
    labels = classifier.logits(images).argmax(1)
    found = uf.audit(uf.System(classifier, "grad"), images, labels, eps=(0.1,), ensemble=SHORT)
    assert found.results[0].correct.all()
    logits = classifier.logits(found.results[0].images)
    assert bool(logits.isfinite().all())
    assert (logits.argmax(1) != labels).tolist() == found.results[0].wrong.tolist()


def test_of_several_maps_the_iterate_with_the_nearest_farthest_one_is_kept(digits: Given) -> None:
    """Against the recorded course of the attack; the mean of both distances would keep other iterates."""
    system = uf.System(digits.classifier, ["cam", "grad"])
    limits = {"cam": 0.03, "grad": 0.3}
    attack = uf.attacks.preset("auto", eps=RADII[1], budget=60, targeted=False).build(system)
    kept = [
        replace(attack, ranking=ranking)(system, digits.images, digits.labels, trace_every=1)
        for ranking in (ByNearness(near=near(**limits)), uf.attacks.Ranking())
    ]
    assert kept[0].trace is not None
    course = kept[0].trace.columns
    farthest = torch.stack([course[f"map_l1/{name}"] / limit for name, limit in limits.items()]).amax(0)
    best = farthest.where(course["success"] == 1, torch.inf).argmin(0)
    inside = (kept[0].best_step >= 0) & (kept[0].best_step < 60)  # the last reading is not in the course
    assert int(inside.sum()) > 6
    assert torch.equal(kept[0].best_step[inside], best[inside])
    assert int((kept[0].best_step != kept[1].best_step).sum()) > 2


def test_the_attack_sees_all_maps(digits: Given) -> None:
    """``auto`` on both maps alone, without what was found for single ones, ends with both of them nearer."""
    system = uf.System(digits.classifier, ["cam", "grad"])
    benign = read_benign(system, digits.images, digits.labels, digits.ids)
    runner = Runner(system, benign, SHORT[1:2], 0, None, None, None, lambda _words, _share: None)
    both, cam = (case_of(runner, names, 0.0) for names in (("cam", "grad"), ("cam",)))
    for case in (both, cam):
        runner._run(case, 0.0)
    grad = {each.label: runner._result(each) for each in (both, cam)}
    right = benign.correct.numpy() & grad["cam+grad"].wrong & grad["cam"].wrong
    images, classes = (torch.from_numpy(np.flatnonzero(right)), torch.tensor(grad["cam"].classes))
    moved = uf.interpreters.create("grad").maps(digits.classifier, grad["cam"].images[images], classes[images])
    one = (moved - benign.maps["grad"][images]).abs().flatten(1).mean(1)
    assert grad["cam+grad"].distances["grad"][right].mean() < 0.8 * float(one.mean())
