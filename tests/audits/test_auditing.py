"""Audits: every image that counts as fooled is one, by the raw network and maps that are read anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.audits.conftest import RADII, SHORT, Given, near, same
from underfire.attacks.benign import read_benign
from underfire.audits import Audit, Robustness, audit
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
    assert {by for by in empty.wrong_by if by} == {f"{SHORT[0].name}, attack on cam"}
    assert {by for by in empty.kept_by if by} <= {f"{SHORT[0].name}, attack on cam"}
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
    pairs = zip(small.wrong_by, large.wrong_by, small.wrong, strict=True)
    inherited = [(before, by) for before, by, wrong in pairs if wrong]
    assert inherited
    assert all(by == f"{member_of(before)}, {SMALLER}" for before, by in inherited)


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
        assert set(first) <= {member.name for member in SHORT} | {SMALLER}


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


WRONG: dict[str, tuple[Any, str]] = {
    "eps": (None, "eps is None; expected a number"),
    "eps (in a list)": ([None], "eps is None; expected a number"),
    "ensemble": ([3], "ensemble holds 3; expected objects of type Member, or the name of an ensemble: audit-1"),
    "ensemble (names)": (["apgd-ce"], "ensemble holds 'apgd-ce'; expected objects of type Member"),
    "ensemble (twice)": ([SHORT[0], SHORT[4], SHORT[0]], "ensemble holds two members of the name .apgd-ce.; expected"),
    "seed": (1.5, "seed is 1.5; expected a whole number"),
    "batch_size": (0, "batch_size is 0; expected at least 1, or None for what suits the device"),
    "memory": ("much", "memory is 'much'; expected a size above zero with its unit"),
    "masks": (
        torch.ones(3, 16, 16, dtype=torch.bool),
        r"masks have shape \(3, 16, 16\); .* with N = 4",
    ),
    "masks (list)": ([[1]], "masks is an object of type list; expected a bool tensor N x H x W"),
    "again": ("digits-resnet", "again is an object of type str; expected a Classifier of the same network"),
    "progress": (True, "progress is True; expected None, or a function"),
}


@pytest.mark.parametrize("name", WRONG)
def test_arguments_that_are_none(digits: Given, name: str) -> None:
    value, message = WRONG[name]
    given = {"ensemble": SHORT[:1], name.partition(" ")[0]: value}
    with pytest.raises(InputError, match=message):
        audit(uf.System(digits.classifier, "cam"), digits.images[4:8], digits.labels[4:8], **given)


def test_values_of_numpy_and_texts_are_taken(digits: Given) -> None:
    images, labels = digits.images[4:8], digits.labels[4:8]
    masks = torch.ones(4, 16, 16, dtype=torch.bool)

    def run(**given: Any) -> Audit:
        return audit(uf.System(digits.classifier, "cam"), images, labels, **given)

    one = run(ensemble=SHORT[:1], eps=0.1, masks=masks)
    other = run(ensemble=SHORT[0], eps=np.float64(0.1), masks=masks.numpy(), memory="8GB", seed=np.int64(0))
    assert str(one) == str(other)
    assert one.quality == other.quality
