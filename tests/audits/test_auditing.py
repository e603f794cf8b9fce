"""Audits: every image that counts as fooled is one, by the raw network and maps that are read anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.attacks.test_auto import point_of
from tests.attacks.test_no_sync import NoWaiting
from tests.audits.conftest import RADII, SHORT, Given, near, same
from tests.conftest import smooth_images, tiny_network
from underfire.attacks.benign import read_benign
from underfire.attacks.progress import Progress as Heard
from underfire.audits import Audit, Member, Robustness, audit
from underfire.audits.attacking import Made
from underfire.audits.case import Case
from underfire.audits.nearness import ByNearness
from underfire.audits.running import Runner
from underfire.audits.standing import SMALLER, member_of
from underfire.errors import InputError


def raw_classes(given: Given, images: Tensor) -> Tensor:
    """The classes that the network itself says, without the library's wrapper."""
    classifier = given.classifier
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (classifier.mean, classifier.std))
    with torch.no_grad():
        return classifier.module((images - mean) / std).argmax(1)


def test_every_found_image_is_one(digits: Given, found: Audit) -> None:
    assert [each.interpreter for each in found.results] == ["cam", "cam", "grad", "grad", "cam+grad", "cam+grad"]
    fooled = 0
    for each in found.results:
        places = np.flatnonzero(each.wrong)
        images = each.images[places]
        assert float((images - digits.images[places]).abs().max()) <= each.eps + 1e-6
        assert torch.equal((images * 255).round() / 255, images)
        classes = raw_classes(digits, images)
        assert torch.equal(classes, torch.tensor([each.classes[place] for place in places]))
        assert bool((classes != digits.labels[places]).all())
        assert list(each.distances) == each.interpreter.split("+")
        for name, distances in each.distances.items():
            interpreter = uf.interpreters.create(name)
            before = interpreter.maps(digits.classifier, digits.images[places], digits.labels[places])
            after = interpreter.maps(digits.classifier, images, classes)
            distance = (before - after).abs().flatten(1).mean(1)
            torch.testing.assert_close(torch.from_numpy(distances[places]).float(), distance, atol=1e-5, rtol=1e-4)
        fooled += int(each.fooled.sum())
    assert fooled > 5


def test_shares_are_counted_over_all_images(digits: Given, found: Audit) -> None:
    right = raw_classes(digits, digits.images) == digits.labels
    assert int(right.sum()) == 11
    for each in found.results:
        assert each.accuracy.mean == pytest.approx(11 / 12)
        assert each.robust.mean == pytest.approx(sum(right.numpy() & ~each.wrong) / 12)
        near = [each.distances[name] < limit.values for name, limit in each.limits.items()]
        kept = right.numpy() & ~(each.wrong & np.logical_and.reduce(near))
        joint = each.joint
        assert joint.mean == pytest.approx(kept.mean())
        assert each.robust.mean <= joint.mean <= 11 / 12
        alone = uf.metrics.rate(kept)
        assert joint.low <= alone.low + 1e-12
        assert joint.high >= alone.high - 1e-12


def test_a_wrong_image_is_not_attacked(found: Audit) -> None:
    for each in found.results:
        assert not each.correct[3]
        assert not each.wrong[3]
        assert each.gradients[3] == 0
        assert each.wrong_by[3] == each.kept_by[3] == ""


def test_what_a_small_radius_finds_counts_at_a_larger_one(found: Audit) -> None:
    for name in ("cam", "grad", "cam+grad"):
        small, large = found.of(name, RADII[0]), found.of(name, RADII[1])
        assert not (small.wrong & ~large.wrong).any()
        assert (large.nearest <= small.nearest).all()


def test_images_leave_when_they_fall(found: Audit) -> None:
    every = sum(member.steps for member in SHORT if member.kind != "search")
    least = every - SHORT[3].steps // 2  # ADV2 may stop early; an image that left too early and came back takes more
    for each in found.results:
        assert each.gradients[each.correct].min() >= SHORT[0].steps
        standing = each.correct & ~each.fooled
        assert (each.gradients[standing] >= least).all()
    large = found.of("cam", RADII[1])
    assert large.gradients[large.fooled].min() < least


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


def test_one_attack_on_all_maps_at_once(found: Audit) -> None:
    """An image that fools all explanations at once fools each of them; the reverse need not hold."""
    fell = 0
    for eps in RADII:
        both, alone = found.of("cam+grad", eps), [found.of(name, eps) for name in ("cam", "grad")]
        for each in alone:
            assert not (both.fooled & ~each.fooled).any()
            assert each.joint.mean <= both.joint.mean
        assert both.robust == alone[0].robust
        assert np.array_equal(both.fooled, both.correct & both.wrong & (both.nearest < 0.5))
        fell += int(both.fooled.sum())
    assert fell > 3
    record = both.to_dict()
    assert (record["limit"], record["limit_set_by"], record["chance"]) == (None, None, None)
    with pytest.raises(ValueError, match="too many values"):
        _ = both.limit


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


def test_maps_are_kept_together_if_each_is_below_its_limit() -> None:
    both, single = near(cam=0.1, grad=0.4), near(cam=0.1)
    distances = {"cam": torch.tensor([0.05, 0.05, 0.1, 0.0]), "grad": torch.tensor([0.3, 0.5, 0.1, torch.inf])}
    found = both.of(distances)
    assert (found < both.kept).tolist() == [True, False, False, False]
    assert found.tolist() == pytest.approx([0.3 / 0.7, 0.5 / 0.9, 0.5, 1.0])
    assert torch.equal(single.of({"cam": distances["cam"]}), distances["cam"])
    assert (single.kept, both.label, single.label) == (pytest.approx(0.1), "cam+grad", "cam")
    assert both.leaves({"cam": 0.1, "grad": 0.2}) == pytest.approx(0.2 / 0.6)  # no map is further than its bound below
    assert single.leaves({"cam": 0.07}) == 0.07
    assert near(cam=0.0, grad=0.4).of({"cam": torch.zeros(1), "grad": torch.zeros(1)}).tolist() == [1.0]  # never kept


def test_robust_accuracy_does_not_depend_on_the_interpreter(found: Audit) -> None:
    for eps in RADII:
        cam, grad = found.of("cam", eps), found.of("grad", eps)
        assert np.array_equal(cam.wrong, grad.wrong)
        assert cam.robust == grad.robust


def test_images_found_for_one_interpreter_are_tried_on_the_other(digits: Given) -> None:
    """Only CAM is attacked on its map here: with a limit that every map passes, Grad has all its images."""
    system = uf.System(digits.classifier, ["cam", "grad"])
    benign = read_benign(system, digits.images, digits.labels, digits.ids)
    runner = Runner(system, benign, SHORT[:1], 0, None, None, None, lambda _words, _share: None)
    cases = {name: runner._begin((name,), RADII[1], None) for name in ("cam", "grad")}
    runner._run(cases["cam"], 0.0)
    empty = cases["grad"].state
    runner._try_on(cases["grad"], cases)
    cam = cases["cam"].state
    assert np.array_equal(empty.wrong, cam.wrong & runner.correct)
    assert {by for by in empty.wrong_by if by} == {"attack on cam"}
    places = torch.from_numpy(np.flatnonzero(empty.wrong))
    assert torch.equal(empty.images[places], cam.images[places])
    grad = uf.interpreters.create("grad")
    before = grad.maps(digits.classifier, digits.images[places], digits.labels[places])
    after = grad.maps(digits.classifier, empty.images[places], empty.classes[places])
    distance = (before - after).abs().flatten(1).mean(1).double()
    torch.testing.assert_close(torch.from_numpy(empty.nearest)[places], distance, atol=1e-5, rtol=1e-4)


def test_a_smaller_radius_run_later_counts_at_a_larger_one(digits: Given, tmp_path: Path) -> None:
    """The state of the larger radius is read back; what the smaller one finds is added, and said to be from there."""
    system = uf.System(digits.classifier, "cam")
    how = {"ensemble": SHORT[:2], "ids": digits.ids, "folder": tmp_path}
    (alone,) = audit(system, digits.images, digits.labels, eps=0.1, **how).results
    small, large = audit(system, digits.images, digits.labels, eps=(0.05, 0.1), **how).results
    assert not (small.wrong & ~large.wrong).any()
    assert (large.nearest <= np.minimum(small.nearest, alone.nearest)).all()


def test_a_radius_at_which_nothing_is_found_leaves_nothing_to_the_next(digits: Given) -> None:
    system = uf.System(digits.classifier, ["cam", "grad"])
    found = audit(system, digits.images[:3], digits.labels[:3], eps=(1 / 255, 0.25), ensemble=SHORT[:1])
    small, large = (found.of("cam+grad", eps) for eps in (1 / 255, 0.25))
    assert not small.wrong.any()
    assert large.wrong.any()


def test_a_find_of_a_smaller_radius_is_not_a_find_of_the_search(found: Audit) -> None:
    small, large = found.of("cam", RADII[0]), found.of("cam", RADII[1])
    inherited = [by for by, wrong in zip(large.wrong_by, small.wrong, strict=True) if wrong]
    assert inherited
    assert set(inherited) == {SMALLER}


def test_every_fooled_image_is_credited_once(found: Audit) -> None:
    """Over all radii, the images that a member was the first to fool add up to those that are fooled at the largest."""
    for name in ("cam", "grad"):
        results = [each for each in found.results if each.interpreter == name]
        first = [
            member_of(by)
            for each in results
            for by, fooled in zip(each.kept_by, each.fooled.tolist(), strict=True)
            if fooled and by != SMALLER
        ]
        small, large = results
        assert len(first) == int((small.fooled | large.fooled).sum())
        assert set(first) <= {member.name for member in SHORT} | {"attack on cam", "attack on grad"}


def test_attacks_that_could_not_run_are_made_up_for(digits: Given, tmp_path: Path) -> None:
    """A network that rounds its input has the same logits as its form with a gradient. What was skipped on the first
    is not done on the second."""
    own = digits.classifier

    class Rounding(torch.nn.Module):
        def __init__(self, straight: bool) -> None:
            super().__init__()
            self.network, self.straight = own.module, straight

        def forward(self, images: Tensor) -> Tensor:
            mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (own.mean, own.std))
            rounded = (images * 255).round() / 255
            if self.straight:
                rounded = images + (rounded - images).detach()
            return self.network((rounded - mean) / std)

    def run(straight: bool, folder: Path) -> Robustness:
        system = uf.System(uf.Classifier(Rounding(straight), image_size=own.image_size, channels=1), "gradcam")
        how = {"eps": 0.3, "ensemble": SHORT[:2], "folder": folder, "ids": digits.ids}
        (result,) = audit(system, digits.images, digits.labels, **how).results
        return result

    first = run(False, tmp_path)
    assert not first.wrong.any()
    assert first.gradients.max() == 0
    fresh, again = run(True, tmp_path / "fresh"), run(True, tmp_path)
    assert fresh.fooled.any()
    same(again, fresh)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"eps": ()}, "eps is empty"),
        ({"eps": 0.001}, "less than one 8-bit level"),
        ({"eps": "8"}, "eps"),
        ({"ensemble": "audit-9"}, "audit-1"),
        ({"ensemble": ()}, "ensemble is empty"),
    ],
)
def test_bad_input(digits: Given, how: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        audit(digits.classifier, digits.images, digits.labels, **how)


def test_nothing_right(digits: Given) -> None:
    with pytest.raises(InputError, match="none of the 12 images"):
        audit(digits.classifier, digits.images, (raw_classes(digits, digits.images) + 1) % 10)


def test_of_names_what_there_is(found: Audit) -> None:
    assert found.of("cam", RADII[0]) is found.results[0]
    with pytest.raises(KeyError, match="there are 2 results of 'cam'"):
        found.of("cam")
