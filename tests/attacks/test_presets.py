"""Presets against the tables of the papers: what they settle, where the variants part, what cannot be."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch

import underfire as uf
from tests.attacks.running import run_alone
from tests.attacks.test_parts import some_logits
from tests.conftest import smooth_images
from underfire import attacks
from underfire.attacks import Prediction
from underfire.attacks.schedule import Move
from underfire.errors import DeprecatedWarning, InputError
from underfire.interpreters import CAM, MASK, Grad

Terms = list[tuple[str, object, object]]


LENGTHS = (301, 201, 101, 101)
GROWING = attacks.Linear(5, 10)
PUBLISHED: list[tuple[str, str, int, int, object, str, float, float, float, float | None]] = [
    # perturbation, family, warm-up, joint, lambda, reduction, prediction's weight, cost's, presence's, confidence
    ("pgd", "grad", 300, 704, attacks.Phases((0.001, 0.004, 0.01, 0.05), LENGTHS), "sum", 1, 0, 0, 0.8),
    ("pgd", "cam", 400, 1200, GROWING, "mean", 1, 0, 0, None),
    ("pgd", "rts", 300, 1000, GROWING, "mean", 1, 0, 1, None),
    ("pgd", "mask", 400, 1000, GROWING, "mean", 1, 0, 0, None),
    ("cw", "grad", 450, 704, attacks.Phases((0.003, 0.01, 0.05, 0.2), LENGTHS), "sum", 2, 1, 0, 0.75),
    ("cw", "cam", 300, 1500, GROWING, "mean", 2, 1, 0, None),
    ("cw", "rts", 300, 1000, GROWING, "mean", 2, 1, 1, None),
    ("cw", "mask", 400, 1000, attacks.Constant(500), "mean", 1, 1, 0, None),
    ("stadv", "grad", 450, 704, attacks.Phases((0.003, 0.01, 0.05, 0.2), LENGTHS), "sum", 2, 5e-4, 0, 0.75),
    ("stadv", "cam", 200, 600, GROWING, "mean", 2, 5e-4, 0, None),
    ("stadv", "rts", 200, 600, GROWING, "mean", 2, 5e-4, 1, None),
    ("stadv", "mask", 400, 1000, attacks.Constant(500), "mean", 1, 0.004, 0, None),
]


@pytest.mark.parametrize("row", PUBLISHED)
def test_the_schedules_are_the_papers(row: tuple[Any, ...]) -> None:
    perturbation, family, *expected = row
    found = attacks.PERTURBATIONS[perturbation].rows[family]
    assert [
        *(found.warmup, found.joint, found.weight, found.reduction),
        *(found.prediction, found.penalty, found.presence, found.confidence),
    ] == expected
    on_mask = family == "mask"
    assert found.loss == ("margin" if on_mask else "cross_entropy")
    assert found.smoothing == (0.05 if (perturbation, family) == ("pgd", "grad") else 0)
    if on_mask:
        assert found.kappa == (math.inf if perturbation == "pgd" else 5)
    if perturbation == "pgd":
        assert (found.rule, found.size) == (attacks.Sign(), 1 / 255)
        assert (found.moves is not None) == on_mask
    else:
        assert found.moves is None


def test_the_two_moves_on_mask() -> None:
    """L2 sizes of 0.05 and 0.08, 0.04 in the last tenth, at 3 x 224 x 224 values."""
    moves = attacks.PGD.rows["mask"].moves
    assert moves is not None
    assert moves.prediction * math.sqrt(3 * 224**2) == pytest.approx(0.05)
    assert [size * math.sqrt(3 * 224**2) for size in moves.interpretation.values] == pytest.approx([0.08, 0.04])
    assert moves.interpretation.lengths == (900, 100)


def terms(move: Move) -> Terms:
    """Name, loss and weight of each."""
    return [(one.term.name, getattr(one.term, "loss", None), one.weight) for one in move.terms]


def warmup(name: str, interpreter: uf.interpreters.Interpreter, classifier: uf.Classifier, **settings: Any) -> Terms:
    built = attacks.preset(name, **settings).build(uf.System(classifier, interpreter))
    (move,) = built.stages[0].moves
    return terms(move)


def test_warm_ups(classifier: uf.Classifier) -> None:
    """As method.md has them: the joint stage's terms without the maps; as published, C&W's prediction counts 1e-4."""
    entropy, cost = ("prediction", "cross_entropy"), ("penalty", None)
    for each in (CAM(), Grad()):
        assert warmup("adv2", each, classifier) == [(*entropy, 1.0)]
        assert warmup("adv2", each, classifier, perturbation="cw") == [(*entropy, 2.0), (*cost, 1.0)]
        assert warmup("adv2", each, classifier, perturbation="stadv") == [(*entropy, 2.0), (*cost, 5e-4)]
        for variant in ("paper", "published"):
            built = attacks.preset("adv2", perturbation="cw", variant=variant).build(uf.System(classifier, each))
            joint = [one for one in terms(built.stages[1].moves[0]) if one[0] != "interpretation"]
            assert joint == [(*entropy, 2.0), (*cost, 1.0)]
        published = warmup("adv2", each, classifier, perturbation="cw", variant="published")
        assert published == [(*entropy, 2e-4), (*cost, 1.0)]
        still = warmup("adv2", each, classifier, perturbation="stadv", variant="published")
        assert still == [(*entropy, 2.0), (*cost, 5e-4)]


def test_the_radius_is_the_papers_where_there_is_a_ball() -> None:
    assert attacks.preset("adv2") == attacks.preset("adv2", eps=0.031) != attacks.preset("adv2", eps=0.03)
    for name, perturbation in (("cw", None), ("stadv", None), ("advedge", "cw"), ("adv2", "stadv")):
        made = attacks.preset(name, perturbation=perturbation)
        assert made.eps is made.control().eps is None
    assert attacks.preset("bim").eps == attacks.preset("advedge+").control().eps == 0.031


def test_the_prediction_only_attacks(classifier: uf.Classifier) -> None:
    """C&W's hinge asks for no confidence: its changes are the smallest that reach the class (Carlini & Wagner 2017)."""
    system = uf.System(classifier, CAM())
    (move,) = attacks.preset("cw").build(system).stages[0].moves
    assert (move.terms[0].term, move.terms[0].weight) == (Prediction("margin", kappa=0.0), 2.0)
    assert terms(move)[1:] == [("penalty", None, 1.0)]
    (move,) = attacks.preset("stadv").build(system).stages[0].moves
    assert terms(move) == [("prediction", "cross_entropy", 2.0), ("penalty", None, 5e-4)]
    (move,) = attacks.preset("pgd").build(system).stages[0].moves
    assert terms(move) == [("prediction", "cross_entropy", 1.0)]


@pytest.mark.parametrize("name", ["adv2", "advedge", "advedge+"])
def test_the_raw_logit_is_published_with_edges_on_cam_alone(classifier: uf.Classifier, name: str) -> None:
    for interpreter, variant in ((CAM(), "paper"), (CAM(), "published"), (Grad(), "published")):
        built = attacks.preset(name, variant=variant).build(uf.System(classifier, interpreter))
        losses = [stage.moves[0].terms[0].term.loss for stage in built.stages]
        raw = variant == "published" and name != "adv2" and interpreter == CAM()
        assert losses == ["logit" if raw else "cross_entropy", "cross_entropy"]


@pytest.mark.parametrize("perturbation", ["cw", "stadv"])
def test_adam_keeps_the_largest_second_moment(classifier: uf.Classifier, perturbation: str) -> None:
    for interpreter, size in ((CAM(), 0.01), (Grad(), 0.01), (MASK(), 0.005)):
        built = attacks.preset("adv2", perturbation=perturbation).build(uf.System(classifier, interpreter))
        moves = [move for stage in built.stages for move in stage.moves]
        assert {(move.rule, move.size) for move in moves} == {(attacks.Adam(0.9, 0.999, 1e-8, amsgrad=True), size)}


def test_the_neighbours_of_the_flow(classifier: uf.Classifier) -> None:
    def neighbours(**settings: Any) -> Any:
        built = attacks.preset("adv2", perturbation="stadv", **settings).build(uf.System(classifier, "cam"))
        return built.perturbation.neighbours

    def given(neighbours: Any) -> Any:
        return attacks.StAdv(neighbours=neighbours)

    assert neighbours() == "adjacent"
    assert neighbours(variant="published") == "diagonal"
    for settings in ({"perturbation": given("diagonal")}, {"perturbation": "stadv", "variant": "published"}):
        assert attacks.preset("adv2", **settings).made_perturbation.neighbours == "diagonal"
    own = attacks.preset("adv2", perturbation=given("adjacent"), variant="published")
    assert own.made_perturbation.neighbours == "adjacent"
    with pytest.warns(DeprecatedWarning, match=r"use perturbation=StAdv\(neighbours='diagonal'\)"):
        assert neighbours(neighbours="diagonal") == "diagonal"
    with pytest.warns(DeprecatedWarning):
        assert neighbours(variant="published", neighbours="adjacent") == "adjacent"
    flow = torch.randn(2, 2, 4, 5)
    assert torch.equal(attacks.StAdv().penalty({}, flow, flow), given("adjacent").penalty({}, flow, flow))


def test_attacks_are_values(classifier: uf.Classifier) -> None:
    system = uf.System(classifier, uf.interpreters.Grad())
    preset = attacks.preset("adv2", eps=8 / 255, steps=(3, 5))
    first, second = preset.build(system), preset.build(system)
    assert first == second
    assert hash(first) == hash(second)
    assert pickle.loads(pickle.dumps(first)) == first
    assert first != attacks.preset("adv2", eps=7 / 255, steps=(3, 5)).build(system)
    assert "smoothing=0.05" in repr(first)


def test_presets_follow_the_interpreter(classifier: uf.Classifier) -> None:
    def stages(*interpreters: uf.interpreters.Interpreter) -> list[int]:
        built = attacks.preset("adv2").build(uf.System(classifier, list(interpreters)))
        return [stage.steps for stage in built.stages]

    grad, cam, grad_cam = uf.interpreters.Grad(), uf.interpreters.CAM(), uf.interpreters.GradCAM()
    assert stages(grad) == [300, 704]
    assert stages(cam) == stages(grad_cam) == [400, 1200]
    assert stages(grad, cam) == [400, 1200]
    both = attacks.preset("adv2").build(uf.System(classifier, [grad, cam]))
    terms = {w.term: w.weight for w in both.stages[1].moves[0].terms}
    assert terms[attacks.Interpretation("sum", "grad")] == attacks.Phases(
        (0.001, 0.004, 0.01, 0.05), (301, 201, 101, 101)
    )
    assert terms[attacks.Interpretation("mean", "cam")] == attacks.Linear(5, 10)
    control = attacks.preset("adv2", steps=(40, 160)).control().build(uf.System(classifier, grad))
    assert control.steps == 200
    assert not control.joint


def test_published_differs_from_paper_where_it_says(classifier: uf.Classifier) -> None:
    published, paper = attacks.preset("adv2", variant="published"), attacks.preset("adv2")
    on_cam, on_grad = uf.System(classifier, uf.interpreters.CAM()), uf.System(classifier, uf.interpreters.Grad())
    assert published.build(on_cam).early_stop is None
    assert published.build(on_cam).ranking == attacks.Ranking("last")
    assert paper.build(on_cam).ranking == attacks.Ranking("map")
    assert published.build(on_grad).ranking == paper.build(on_grad).ranking == attacks.Ranking("map", 0.8)
    terms = [preset.build(on_grad).stages[0].moves[0].terms[0].term for preset in (published, paper)]
    assert terms == [Prediction(smoothing=0.05, share=0.05 / 9), Prediction(smoothing=0.05)]
    logits, classes = some_logits()
    log_p = logits.log_softmax(1)
    own = log_p.gather(1, classes.unsqueeze(1)).squeeze(1)
    expected = -0.95 * own - 0.05 / 9 * (log_p.sum(1) - own)
    assert torch.allclose(attacks.Goal().cross_entropy(logits, classes, 0.05, 0.05 / 9), expected)


def test_published_keeps_the_last_iterate(classifier: uf.Classifier) -> None:
    system, images = uf.System(classifier, uf.interpreters.CAM()), smooth_images(24)
    benign = attacks.benign.read_benign(system, images, classifier.logits(images).argmax(1))
    attack = attacks.preset("adv2", eps=0.2, steps=(10, 60), variant="published").build(system)
    _, outcome = run_alone(attack, system.view(), benign, batch_size=24)
    assert torch.equal(outcome.images, attack.perturbation.levels(benign.images, outcome.last))
    _, best = run_alone(replace(attack, ranking=attacks.Ranking("map")), system.view(), benign, batch_size=24)
    assert not torch.equal(best.images, outcome.images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "adv3"}, "Did you mean 'adv2'"),
        ({"name": "adv2", "variant": "papers"}, "Did you mean 'paper'"),
        ({"name": "adv2", "steps": (0, 0)}, "steps is"),
        ({"name": "adv2", "steps": (-1, 5)}, "steps is"),
        ({"name": "adv2", "eps": 0}, "eps is 0"),
        ({"name": "adv2", "eps": 8}, "eps is 8"),
        ({"name": "cw", "eps": 0.1}, "eps is 0.1, and cw has no ball.*noise_eps"),
        ({"name": "cw", "eps": 8}, "eps is 8, and cw has no ball"),
        ({"name": "adv2", "perturbation": "stadv", "eps": "8/255"}, "eps is 0.03.*, and stadv has no ball"),
        ({"name": "pgd", "noise_eps": 0.1}, "noise_eps is 0.1, and pgd has no such setting: .* is as large as its eps"),
        ({"name": "pgd", "eps": (0.1, 0.2)}, "eps is .* expected a number"),
        ({"name": "cw", "noise_eps": [0.1]}, "noise_eps is .* expected a number"),
        ({"name": "adv2", "edge_threshold": 0.3}, "edge_threshold is 0.3, and adv2 has none"),
        ({"name": "advedge", "edge_threshold": 0.3}, "advedge has none: advedge\\+ has"),
        ({"name": "adv2", "edge_scope": "warmup"}, "edges have no part in adv2"),
        ({"name": "cw", "random_start": True}, "random_start is True, and cw has no such setting"),
        ({"name": "adv2", "neighbours": "diagonal"}, "neighbours is 'diagonal', and pgd has no such setting"),
        ({"name": "adv2", "target_class": []}, "target_class is \\[\\]"),
        ({"name": "adv2", "target_class": 1.5}, "target_class is 1.5 \\(float\\)"),
    ],
)
def test_presets_that_cannot_be(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        attacks.preset(**arguments)


def test_former_settings_of_the_perturbation_still_work() -> None:
    with pytest.warns(DeprecatedWarning, match=r"use perturbation=PGD\(random_start=True\)"):
        found = attacks.preset("adv2", eps=0.1, random_start=True)
    assert found == attacks.preset("adv2", perturbation=attacks.PGD(0.1, random_start=True))
    with pytest.warns(DeprecatedWarning), pytest.raises(InputError, match="neighbours is 'all'"):
        attacks.preset("stadv", neighbours="all")
    assert attacks.preset(name="cw") == attacks.preset("cw")
    assert attacks.preset("adv2", random_start=None, neighbours=None) == attacks.preset("adv2")


def test_who_leaves_early(classifier: uf.Classifier) -> None:
    """Only where the weight stands still at last, never as published, and wherever it is asked for."""
    cam, grad = uf.interpreters.CAM(), uf.interpreters.Grad()
    cases: list[tuple[list[uf.interpreters.Interpreter], str, bool | None, float | None]] = [
        ([grad], "paper", None, 0.86),
        ([cam], "paper", None, None),
        ([cam, grad], "paper", None, None),
        ([grad], "published", None, None),
        ([cam], "paper", True, 0.5),
        ([grad], "paper", False, None),
    ]
    for interpreters, variant, wanted, after in cases:
        preset = uf.attacks.preset("adv2", variant=variant, early_stop=wanted)
        stop = preset.build(uf.System(classifier, interpreters)).early_stop
        assert (stop and stop.after) == after, (interpreters, variant, wanted)


def test_the_control_differs_in_its_objective_alone(classifier: uf.Classifier) -> None:
    """The same perturbation, start, edges, targets and search, and as many steps, with no eye on maps."""
    presets = [
        attacks.preset("advedge+", eps=0.1, steps=(3, 4), edge_threshold=0.2, edge_scope="warmup", target_map="patch"),
        attacks.preset("adv2", perturbation="cw", search=3, noise_eps=0.1, target_class="least-likely"),
        attacks.preset("advedge", perturbation=attacks.StAdv(neighbours="diagonal"), targeted=False),
        attacks.preset("adv2", perturbation=attacks.PGD(random_start=True), variant="published"),
    ]
    for preset in presets:
        joint, alone = (each.build(uf.System(classifier, "cam")) for each in (preset, preset.control()))
        assert (joint.joint, alone.joint) == (True, False)
        assert alone.steps == joint.steps
        assert vars(alone.perturbation) == vars(joint.perturbation), "bim is pgd from the image, and nothing else"
        assert isinstance(alone.perturbation, type(joint.perturbation))
        for name in ("shaping", "goal", "target_class", "target_map", "search"):
            assert getattr(alone, name) == getattr(joint, name), name
