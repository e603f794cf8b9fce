"""Attacks that evade detectors: the setting ``evade``, and the presets ``adaptive`` and ``adaptive-auto``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.attacks.coverings import covering
from tests.attacks.test_cross_product import EPS, World, check, images_and_labels, world
from tests.attacks.test_evading_terms import Brightness
from tests.conftest import by, smooth_images
from underfire import attacks
from underfire.attacks import KINDS, PERTURBATIONS, SHAPINGS, VARIANTS, Evade, Match, Ranking, Score, UnnoticedFirst
from underfire.attacks.evading import evading_terms, parse_evade
from underfire.attacks.grid_first import GridFirst
from underfire.errors import InputError, StoreError
from underfire.interpreters import REGISTRY
from underfire.transforms.squeezers import BitDepth, Median, squeezers

__all__ = ["world"]

ADAPTIVE = [name for name, kind in KINDS.items() if kind.adaptive]
LABELS = ("bit-depth:3", "median:2", "median:3")


def short(attack: str, steps: int = 3) -> dict[str, Any]:
    return {"budget": steps} if KINDS[attack].auto else {"steps": (1, steps - 1), "early_stop": False}


@pytest.mark.parametrize(
    ("interpreter", "perturbation", "attack", "shaping", "variant"),
    covering(2, list(REGISTRY), list(PERTURBATIONS), ADAPTIVE, list(SHAPINGS), list(VARIANTS)),
)
def test_everything_in_the_registries(
    world: World,
    interpreter: str,
    perturbation: str,
    attack: str,
    shaping: str,
    variant: str,
) -> None:
    world = world.of(interpreter)
    images, labels = images_and_labels(world)
    settings: dict[str, Any] = by(perturbation, EPS) | short(attack) | {"shaping": shaping, "variant": variant}
    if shaping != "uniform" and not KINDS[attack].auto:
        settings["edge_scope"] = "all"
    preset = attacks.preset(attack, **settings)
    assert preset.joint
    result = check(preset, world.system(interpreter), images, labels)
    assert bool(result.trace.columns["loss_evade"][-1].isfinite().all())
    assert ("loss_match" in result.trace.columns) == (variant == "published")


def test_adaptive_attacks_are_these() -> None:
    assert ADAPTIVE == ["adaptive", "adaptive-auto"]


def terms_of(attack: attacks.Attack) -> list[attacks.Term]:
    return [weighted.term for weighted in attack.stages[-1].moves[-1].terms]


@pytest.mark.parametrize("attack", ADAPTIVE)
def test_the_parts_of_an_adaptive_attack(classifier: uf.Classifier, attack: str) -> None:
    system = uf.System(classifier, "cam")
    usual = attacks.preset("auto" if KINDS[attack].auto else "adv2")
    adaptive = attacks.preset(attack)
    assert adaptive.class_rule == GridFirst()
    assert attacks.preset(attack, targeted=False).class_rule == attacks.RandomClass()
    assert attacks.preset(attack, target_class="least-likely").class_rule == attacks.LeastLikely()
    made, base = adaptive.build(system), usual.build(system)
    own = [term for term in terms_of(made) if term not in terms_of(base)]
    assert own == [Evade(LABELS, (0.0,) * 3, own[0].weights)]
    assert [stage.steps for stage in made.stages] == [stage.steps for stage in base.stages]
    assert made.ranking == UnnoticedFirst("map", base.kept_by.confidence, tuple(own))
    known = attacks.preset(attack, evade="median:3<0.5,bit-depth:2<0.25").build(system)
    assert (Median(3), BitDepth(2)) == (*(t for t in terms_of(known) if isinstance(t, Evade)),)[0].squeezers
    control = adaptive.control()
    assert control == usual.control().replace(target_class=GridFirst())
    assert not any(isinstance(term, Evade) for term in terms_of(control.build(system)))


@pytest.mark.parametrize("attack", ADAPTIVE)
def test_the_published_variant_matches_the_grid(classifier: uf.Classifier, attack: str) -> None:
    preset = attacks.preset(attack, variant="published", evade=["bit-depth:3<0.4", "median:2<0.5", "median:3<0.6"])
    made = preset.build(uf.System(classifier, "cam"))
    weighted = {type(each.term): each for each in made.stages[-1].moves[-1].terms}
    ours = attacks.preset(attack, evade=preset.evade).build(uf.System(classifier, "cam"))
    whole = next(term for term in terms_of(ours) if isinstance(term, Evade))
    assert weighted[Match] == attacks.Weighted(Match(0.4, 0.75), whole.weights[0])
    assert weighted[Evade].term == Evade(LABELS[1:], (0.5, 0.6), whole.weights[1:])
    only = attacks.preset(attack, variant="published", evade="bit-depth:3<0.4").build(uf.System(classifier, "cam"))
    assert not any(isinstance(term, Evade) for term in terms_of(only))
    assert any(isinstance(term, Match) for term in terms_of(only))
    for changes in ({"evade": "bit-depth:2<0.4"}, {"evade": "bit-depth:3<0.4", "target_class": "random"}):
        other = attacks.preset(attack, variant="published", **changes).build(uf.System(classifier, "cam"))
        assert any(isinstance(term, Evade) for term in terms_of(other))  # the grid of 3 bits says nothing of these
        assert not any(isinstance(term, Match) for term in terms_of(other))


@pytest.mark.parametrize("attack", ["adv2", "auto", "pgd", "cw"])
def test_a_detector_that_notices_nothing_changes_nothing(
    classifier: uf.Classifier, images: Tensor, labels: Tensor, attack: str
) -> None:
    """A threshold of 2 is never reached: the same images, bit for bit."""
    settings: dict[str, Any] = {"eps": 0.1} if attack != "cw" else {}
    settings |= {"budget": 6} if attack == "auto" else {"steps": (2, 4)}
    plain = uf.attack(classifier, images, labels, attack, control=False, **settings)
    found = uf.attack(classifier, images, labels, attack, control=False, evade="bit-depth:2<2,median:2<2", **settings)
    assert torch.equal(found.adversarial, plain.adversarial)


@pytest.mark.parametrize("attack", ["adv2", "auto", *ADAPTIVE])
def test_scores_fall_below_the_thresholds(classifier: uf.Classifier, attack: str) -> None:
    images = smooth_images(16, seed=6)
    labels = classifier.logits(images).argmax(1)

    def shifts(found: Tensor) -> Tensor:
        before = classifier.logits(found).softmax(1)
        return torch.stack(
            [(before - classifier.logits(each(found)).softmax(1)).abs().sum(1) for each in squeezers(LABELS)], 1
        )

    settings: dict[str, Any] = {"eps": 0.1, "control": False}
    settings |= {"budget": 40} if KINDS[attack].auto else {"steps": (10, 30), "early_stop": False}
    rule = GridFirst(eps=0.1)
    usual = "auto" if KINDS[attack].auto else "adv2"
    plain = uf.attack(classifier, images, labels, usual, target_class=rule, **settings)
    limits = shifts(plain.adversarial).quantile(0.4, 0)
    known = ",".join(f"{label}<{value}" for label, value in zip(LABELS, limits.tolist(), strict=True))
    found = uf.attack(classifier, images, labels, attack, target_class=rule, evade=known, **settings)

    def unnoticed(result: attacks.AttackResult) -> float:
        return float(((shifts(result.adversarial) <= limits).all(1) & result.success).float().mean())

    assert unnoticed(found) > 2 * unnoticed(plain)
    assert unnoticed(found) > 0.5


def test_terms_of_texts_and_objects() -> None:
    both = evading_terms("bit-depth:3<0.25,median:2=0.5")
    assert both == (attacks.Weighted(Evade(LABELS[:2], (0.25, 0.5), both[0].term.weights)),)
    assert both[0].term.weights[0] == 40
    assert evading_terms(["bit-depth:3<0.25", "median:2<0.5"]) == both
    assert evading_terms("median:3")[0].term.thresholds == (0.0,)
    score, heavy = Score(Brightness(), 0.5), attacks.Weighted(Evade("jpeg:50", (0.1,)), 3.0)
    mixed = evading_terms(["median:2<0.5", score, heavy])
    assert [each.weight for each in mixed] == [1.0, 1.0, 3.0]
    assert [each.term for each in mixed[1:]] == [score, heavy.term]
    assert evading_terms(score) == (attacks.Weighted(score),)
    assert evading_terms(()) == ()


def test_the_standard_form_is_read_again() -> None:
    text = " bit-depth:3 < 0.1 , MEDIAN=1e-2, non-local-means:11-3-4<2, jpeg"
    parts = parse_evade(text.replace(" < ", "<"))
    assert parts == ("bit-depth:3<0.1", "median:2<0.01", "non-local-means:11-3-4<2.0", "jpeg:75")
    assert parse_evade(",".join(parts)) == parts
    assert evading_terms(parts) == evading_terms(text.replace(" < ", "<"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "evade is empty; expected SQUEEZER<THRESHOLD"),
        ("median:2,", "evade is empty"),
        ("<0.2", "evade is empty"),
        ("median:2<much", "'much' is no number"),
        ("median:2<3", "thresholds holds 3.0; expected at least 0 and at most 2"),
        ("median:2<nan", "thresholds holds nan"),
        ("media:2<0.1", "Did you mean 'median'"),
        ("median:2,median:2<0.1", "'median:2' twice"),
        (3, "evade holds an object of type int"),
        ([attacks.Prediction()], "evade holds an object of type Prediction"),
    ],
)
def test_wrong_ones_are_refused(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        evading_terms(given)
    with pytest.raises((InputError, TypeError)):
        attacks.preset("adv2", evade=given)


def write(folder: Path, **record: Any) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "detector.json").write_text(json.dumps(record), encoding="utf-8")
    return str(folder)


def test_the_folder_of_a_fitted_detector(tmp_path: Path) -> None:
    third = 1 / 3
    record = {"settings": {"squeezers": list(LABELS[:2])}, "threshold": third, "target": {"classifier_sha256": "a1"}}
    folder = write(tmp_path / "squeezing", detector="squeezing", **record)
    parts = (f"bit-depth:3<{third!r}", f"median:2<{third!r}", "fitted-for:a1")
    assert parse_evade(folder) == parts
    assert parse_evade(",".join(parts)) == parts, "what a run writes down can be given back"
    assert parse_evade(",".join(reversed(parts))) == tuple(reversed(parts))
    assert evading_terms([folder, "median:3<0.5"])[0].term.thresholds == (third, third, 0.5)
    maps = write(tmp_path / "maps", detector="map-squeezing", **record)
    assert parse_evade(maps) == (f"detector:{maps}",)  # its threshold is none of squeezers
    other = write(tmp_path / "lid", detector="lid", settings={"k": 20}, threshold=0.5)
    assert parse_evade(other) == (f"detector:{other}",)
    with pytest.raises(InputError, match=r"a single attack in Python does not open.*evade=fitted\.term\(\)"):
        evading_terms([other])
    with pytest.raises(StoreError, match="cannot be read"):
        parse_evade(write(tmp_path / "broken", detector="squeezing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"a folder without detector\.json"):
        parse_evade(str(tmp_path / "empty"))


def test_a_detectors_own_score_by_name_of_a_term(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    """Images that the detector would not notice are kept, though others are nearer."""
    dark = float(images.mean((1, 2, 3)).min()) - 0.02
    settings: dict[str, Any] = {"eps": 0.2, "steps": (5, 15), "early_stop": False, "control": False}
    found = uf.attack(
        classifier, images, labels, evade=attacks.Weighted(Score(Brightness(), dark, 0.01), 50.0), **settings
    )
    plain = uf.attack(classifier, images, labels, **settings)
    below = found.adversarial.mean((1, 2, 3)) <= dark
    assert int((below & found.success).sum()) > int(((plain.adversarial.mean((1, 2, 3)) <= dark) & plain.success).sum())
    assert math.isfinite(float(found.map_l1["cam"].mean()))


def test_the_last_iterate_stays_the_last(classifier: uf.Classifier) -> None:
    system = uf.System(classifier, "cam")
    made = attacks.preset("adv2", variant="published", evade="median:2<0.5").build(system)
    assert made.ranking == Ranking("last")
    term = attacks.preset("pgd", terms={"evade": 1.0}, steps=(1, 1)).build(system)
    assert term.ranking == UnnoticedFirst("prediction", None, (Evade(),))
    assert attacks.preset("adv2").build(system).ranking == Ranking("map")


@pytest.mark.parametrize(("attack", "interpreter"), [("adaptive", "grad"), ("adaptive-auto", "cam")])
@pytest.mark.parametrize(
    "evade", [("bit-depth:3<0.5", "median:2"), ("bit-depth:3<0.5",), ("bit-depth:3<0.5", "median:2<0.4")]
)
def test_a_matched_bit_depth_still_tells_what_goes_unnoticed(
    classifier: uf.Classifier, attack: str, interpreter: str, evade: tuple[str, ...]
) -> None:
    """Regression: the bit depth had no part in the ranking, and with a squeezer without a threshold nothing had."""
    system = uf.System(classifier, interpreter)
    made, paper = (attacks.preset(attack, variant=name, evade=evade).build(system) for name in ("published", "paper"))
    assert any(isinstance(each.term, Match) for each in made.stages[-1].moves[-1].terms)
    assert isinstance(made.ranking, UnnoticedFirst)
    assert made.ranking.evading == paper.ranking.evading
    (term,) = made.ranking.evading
    assert term.thresholds == tuple(float(each.split("<")[1]) if "<" in each else None for each in evade)
