"""Which map is wanted: patches, another image's map of the class, a file; and what joint success then means."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import pytest
import torch

import underfire as uf
from tests.conftest import smooth_images
from underfire import attacks
from underfire.attacks.benign import Benign, read_benign
from underfire.errors import InputError


@pytest.fixture
def benign(classifier: uf.Classifier) -> Benign:
    images = smooth_images(24, seed=1)
    system = uf.System(classifier, [uf.interpreters.CAM(), uf.interpreters.Grad(pool=1)])
    return read_benign(system, images, classifier.logits(images).argmax(1))


def with_maps(size: int, count: int = 200, wide: float = 1) -> Benign:
    """Nothing but flat benign maps of ``size`` cells, on images that are ``wide`` times as wide as high."""
    ids = torch.arange(count) * 977
    none = torch.zeros(count, dtype=torch.int64)
    images, maps = torch.zeros(count, 3, 4, int(4 * wide)), torch.zeros(count, size, int(size * wide))
    return Benign(images, none, ids, torch.zeros(count, 2), {"a": maps})


def test_patches_have_the_published_shape() -> None:
    benign = with_maps(224, 70)
    for shape in ("disc", "rectangle"):
        maps = attacks.RandomPatch(shape).maps(benign, benign.labels, 0)["a"]
        inside = maps >= 0.5
        assert bool(((maps[inside] >= 0.9) & (maps[inside] <= 1)).all())
        assert bool(((maps[~inside] >= 0) & (maps[~inside] <= 0.1)).all())
        area = inside.sum((1, 2)).double()
        if shape == "disc":
            radius = (area / torch.pi).sqrt()
            assert 29.9 < float(radius.min()) < 32
            assert 57 < float(radius.max()) < 59.1
            rows = inside.any(2).sum(1).double()
            assert torch.allclose(rows, 2 * radius, atol=2), "as high as wide, and wholly inside"
        else:
            assert float(area.min()) > 60**2 * 0.97
            assert float(area.max()) < 120**2 * 1.03
            boxes = inside.any(2).sum(1) * inside.any(1).sum(1)
            assert float((area / boxes).min()) < 0.8, "turned"
            assert float((area / boxes).max()) > 0.95
    both = attacks.RandomPatch().maps(benign, benign.labels, 0)["a"]
    discs = attacks.RandomPatch("disc").maps(benign, benign.labels, 0)["a"]
    share = float((both == discs).all(2).all(1).float().mean())
    assert 0.35 < share < 0.65


def test_rectangles_are_as_long_and_as_turned_as_published() -> None:
    """Half-sides of 30 to 60 of 224 cells, angles of -30 to 30 degrees: read off the second moments of each."""
    benign = with_maps(224, 200)
    maps = attacks.RandomPatch("rectangle").maps(benign, benign.labels, 0)["a"]
    half_sides, angles = [], []
    for one in maps >= 0.5:
        moments = torch.cov(one.nonzero().flip(1).double().T, correction=0)
        values, axes = torch.linalg.eigh(moments)
        sides = (3 * values).sqrt()
        half_sides += sides.tolist()
        if sides[1] - sides[0] > 8:  # the axes of a square could be any
            x, y = axes[:, 1].tolist()
            angles.append((math.degrees(math.atan2(y, x)) + 45) % 90 - 45)
    assert (min(half_sides), max(half_sides)) == (pytest.approx(30, abs=0.5), pytest.approx(60, abs=0.5))
    assert (min(angles), max(angles)) == (pytest.approx(-30, abs=1.5), pytest.approx(30, abs=1.5))
    inside, outside = maps[maps >= 0.5], maps[maps < 0.5]
    for part, low in ((inside, 0.9), (outside, 0.0)):
        assert (float(part.min()), float(part.max())) == (
            pytest.approx(low, abs=1e-4),
            pytest.approx(low + 0.1, abs=1e-4),
        )
        assert float(part.mean()) == pytest.approx(low + 0.05, abs=1e-4)


@pytest.mark.parametrize("wide", [0.5, 2, 4])
def test_patches_keep_their_shape_on_other_images_than_squares(wide: float) -> None:
    """What is measured in shorter sides is as wide as high, and turned without being bent."""
    benign = with_maps(224, 70, wide)
    short = 224 * min(wide, 1)
    maps = attacks.RandomPatch("disc").maps(benign, benign.labels, 0)["a"] >= 0.5
    rows, columns = maps.any(2).sum(1).double(), maps.any(1).sum(1).double()
    assert torch.allclose(rows, columns, atol=2)
    assert torch.allclose(maps.sum((1, 2)).double(), torch.pi * rows * columns / 4, rtol=0.05)
    assert 0.9 * 59 * 2 < float(rows.max() / short * 224) < 120
    middle = maps.any(1).double() @ (torch.arange(maps.shape[2]) + 0.5).double() / columns / maps.shape[2]
    assert float(middle.amax() - middle.amin()) > 0.4, "anywhere along the longer side"
    boxes = attacks.RandomPatch("rectangle").maps(benign, benign.labels, 0)["a"] >= 0.5
    square = with_maps(int(short), 70)
    expected = attacks.RandomPatch("rectangle").maps(square, square.labels, 0)["a"] >= 0.5
    assert torch.allclose(boxes.sum((1, 2)).double(), expected.sum((1, 2)).double(), rtol=0.05)
    assert torch.allclose(boxes.any(2).sum(1).double(), expected.any(2).sum(1).double(), atol=2)
    assert torch.allclose(boxes.any(1).sum(1).double(), expected.any(1).sum(1).double(), atol=2)


def test_patches_lie_elsewhere_than_the_benign_map(benign: Benign) -> None:
    maps = attacks.RandomPatch().maps(benign, benign.labels, 0)
    first = attacks.RandomPatch(attempts=1).maps(benign, benign.labels, 0)
    overlap, before = (
        torch.stack([uf.metrics.map_iou(m[name], benign.maps[name]) for name in m]).amax(0) for m in (maps, first)
    )
    assert bool((overlap <= before + 1e-6).all())
    assert float((overlap < 0.25).float().mean()) > float((before < 0.25).float().mean())
    kept = before < 0.25
    assert torch.equal(maps["cam"][kept], first["cam"][kept]), "the first that will do"
    one = benign.take(torch.tensor([7]))
    assert torch.equal(attacks.RandomPatch().maps(one, one.labels, 0)["cam"][0], maps["cam"][7])
    other = attacks.RandomPatch().maps(benign, benign.labels, 1)
    assert not torch.equal(other["cam"], maps["cam"])


def test_the_same_patch_for_every_interpreter(benign: Benign) -> None:
    """Where it lies, at each one's resolution."""
    maps = attacks.RandomPatch().maps(benign, benign.labels, 0)
    small = torch.nn.functional.interpolate(maps["grad"][:, None], (8, 8), mode="area")[:, 0]
    large = torch.nn.functional.interpolate(maps["cam"][:, None], (8, 8), mode="nearest")[:, 0]
    assert float((small - large).abs().mean()) < 0.12


def test_another_image_of_the_class(classifier: uf.Classifier, benign: Benign) -> None:
    system = uf.System(classifier, [uf.interpreters.CAM(), uf.interpreters.Grad(pool=1)])
    wrong = benign.labels.clone()
    wrong[5] = (wrong[5] + 1) % 4
    pool = attacks.MapPool.read(system, benign.images, wrong, benign.ids)
    assert len(pool.labels) == 23, "what is classified wrongly is no example of its class"
    right = torch.arange(24) != 5
    for name, maps in system.maps(benign.images[right], benign.labels[right], benign.ids[right]).items():
        assert torch.allclose(pool.maps[name], maps, atol=1e-6)
    first, second = benign.labels.unique().tolist()[:2]
    classes = torch.where(benign.labels == first, second, first)
    maps = attacks.ClassMap(pool).maps(benign, classes, 0)
    chosen = []
    for index in range(24):
        fits = [
            place
            for place in range(23)
            if torch.equal(pool.maps["cam"][place], maps["cam"][index])
            and torch.equal(pool.maps["grad"][place], maps["grad"][index])
        ]
        assert fits
        assert int(pool.labels[fits[0]]) == int(classes[index])
        chosen.append(fits[0])
    assert len(set(chosen)) > 4
    same = attacks.ClassMap(pool).maps(benign, benign.labels, 0)
    for index in range(24):
        assert not torch.equal(same["cam"][index], benign.maps["cam"][index]), "another image than its own"
    again = attacks.MapPool.read(system, benign.images, wrong, benign.ids)
    assert repr(attacks.ClassMap(pool)) == repr(attacks.ClassMap(again))
    few = attacks.MapPool.read(system, benign.images[:1], benign.labels[:1], benign.ids[:1])
    with pytest.raises(InputError, match="no correctly classified image of class"):
        attacks.ClassMap(few).maps(benign, classes, 0)


def test_a_pool_in_python(classifier: uf.Classifier, benign: Benign) -> None:
    system = uf.System(classifier, [uf.interpreters.CAM(), uf.interpreters.Grad(pool=1)])
    names = [f"{index}.png" for index in range(24)]
    pool = attacks.MapPool.read(system, benign.images, benign.labels.tolist(), names)
    same = read_benign(system, benign.images, benign.labels, names)
    assert torch.equal(pool.ids, same.ids)
    copy = pickle.loads(pickle.dumps(attacks.ClassMap(pool)))
    assert copy == attacks.ClassMap(pool)
    assert hash(copy) == hash(attacks.ClassMap(pool))
    other = attacks.MapPool({name: 1 - maps for name, maps in pool.maps.items()}, pool.labels, pool.ids)
    assert attacks.ClassMap(other) != copy
    assert repr(other) == repr(pool), "last bits of maps are not what tells runs apart"
    cam = attacks.MapPool.read(uf.System(classifier, "cam"), benign.images, benign.labels, names)
    assert repr(cam) != repr(pool)
    with pytest.raises(InputError, match=r"the pool has maps of cam, and none of grad.*same system"):
        attacks.ClassMap(cam).maps(benign, benign.labels, 0)
    with pytest.raises(InputError, match="none of the 24 images for a pool of maps is classified correctly"):
        attacks.MapPool.read(system, benign.images, (benign.labels + 1) % 4, names)
    small = attacks.MapPool.read(system, smooth_images(8, 8), classifier.logits(smooth_images(8, 8)).argmax(1))
    with pytest.raises(InputError, match="images of the same size"):
        attacks.ClassMap(small).maps(benign, benign.labels, 0)


def test_the_attacked_images_as_pool(classifier: uf.Classifier) -> None:
    """Random targets are classes of which there are maps, and the maps those of other correctly classified images."""
    images = smooth_images(24, seed=1)
    labels = classifier.logits(images).argmax(1)
    wrong = labels.clone()
    wrong[0] = next(label for label in range(4) if label not in labels)
    system = uf.System(classifier, "cam")
    found = uf.attack(system, images, wrong, target_map="class", eps=0.2, steps=(2, 6))
    assert set(found.target.tolist()) <= set(labels[1:].tolist())
    benign = read_benign(system, images, wrong)
    distances = (found.maps["cam"].unsqueeze(1) - benign.maps["cam"]).abs().mean((2, 3))
    for index, (target, reached) in enumerate(zip(found.target.tolist(), found.map_l1_target["cam"], strict=True)):
        examples = [place for place in range(1, len(labels)) if labels[place] == target and place != index]
        assert any(abs(float(distances[index, place] - reached)) < 1e-6 for place in examples)
    pool = attacks.ClassMap(attacks.MapPool.of(benign))
    attack = attacks.preset("adv2", eps=0.2, steps=(2, 6), target_map=pool)
    assert torch.equal(attack(system, images, wrong).adversarial, found.adversarial)
    assert torch.equal(attack.control().build(system).aim(system.view(), benign, 0).classes, found.target)
    with pytest.raises(InputError, match="give correctly classified images of more"):
        uf.attack(system, images[labels == labels[1]], labels[labels == labels[1]], target_map="class")


def test_an_untargeted_attack_has_no_map_of_a_class(classifier: uf.Classifier, benign: Benign) -> None:
    pool = attacks.ClassMap(attacks.MapPool.of(benign))
    for given in ("class", pool):
        with pytest.raises(InputError, match=r"target_map is 'class'.*untargeted"):
            attacks.preset("adv2", target_map=given, targeted=False)
    system = uf.System(classifier, [uf.interpreters.CAM(), uf.interpreters.Grad(pool=1)])
    made = replace(attacks.preset("adv2", steps=(1, 1)).build(system), target_map=pool, goal=attacks.Goal(False))
    with pytest.raises(InputError, match=r"target_map is 'class'.*untargeted"):
        made(system, benign.images, benign.labels)


def test_joint_success_is_to_come_halfway(classifier: uf.Classifier) -> None:
    images = smooth_images(16, seed=4)
    labels = classifier.logits(images).argmax(1)
    system = uf.System(classifier, "cam")
    preset = attacks.preset("adv2", eps=0.2, steps=(10, 80), target_map="patch")
    result = preset(system, images, labels)
    benign = read_benign(system, images, labels)
    wanted = attacks.RandomPatch().maps(benign, labels, 0)["cam"]
    far = (benign.maps["cam"] - wanted).abs().mean((1, 2))
    reached = (result.maps["cam"] - wanted).abs().mean((1, 2))
    assert torch.allclose(result.map_l1_target["cam"], reached, atol=1e-6)
    assert torch.allclose(result.map_limit["cam"], 0.5 * far.double())
    assert torch.equal(result.joint_success["cam"], result.success & (reached < 0.5 * far))
    assert 0 < int(result.joint_success["cam"].sum()) < 16
    assert torch.equal(result.target_maps["cam"], wanted)
    kept = attacks.preset("adv2", eps=0.2, steps=(10, 80))(system, images, labels)
    assert torch.equal(kept.target_maps["cam"], benign.maps["cam"])
    assert float(reached.mean()) < float((kept.maps["cam"] - wanted).abs().mean())
    assert float(reached.mean()) < 0.8 * float(far.mean())


@pytest.mark.parametrize("rule", ["benign", "patch", "class"])
def test_readers_change_nothing_of_the_attack(classifier: uf.Classifier, rule: str) -> None:
    images = smooth_images(12, seed=3)
    labels, ids = classifier.logits(images).argmax(1), torch.arange(12)
    attack = attacks.preset("adv2", eps=0.1, steps=(2, 4), target_map=rule)
    alone = attack(uf.System(classifier, "cam"), images, labels, ids=ids)
    read = attack(uf.System(classifier, "cam", readers=["grad", "ig"]), images, labels, ids=ids)
    assert torch.equal(read.adversarial, alone.adversarial)
    one = uf.System(classifier, "cam", readers="grad")
    assert (list(one.attacked), one.readers) == (["cam"], ["grad"])
