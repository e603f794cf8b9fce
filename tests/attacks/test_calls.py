"""The call of an attack: in any context, for any network, with arguments as people write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underfire as uf
from tests.conftest import Squared, smooth_images, tiny_network
from underfire import attacks
from underfire.attacks.perturbations import PGD
from underfire.check.other_inputs import try_other_inputs
from underfire.check.trials import try_interpreters
from underfire.classifiers.sigmoid import ends_in_sigmoid
from underfire.errors import ClassifierError, InputError, InterpreterError
from underfire.interpreters import REGISTRY

IMAGES = smooth_images(4)


def own(network: nn.Module, images: Tensor = IMAGES) -> Tensor:
    return uf.Classifier(network).logits(images).argmax(1)


def run(network: nn.Module, labels: Any = None, interpreter: Any = "cam", **options: Any) -> Any:
    attack = attacks.preset("adv2", eps="8/255", steps=(1, 2))
    return attack(uf.System(network, interpreter), IMAGES, own(network) if labels is None else labels, **options)


def test_eps_as_a_fraction() -> None:
    assert attacks.preset("adv2", eps="8/255") == attacks.preset("adv2", eps=8 / 255)
    with pytest.raises(InputError, match="eps is 'eight'"):
        attacks.preset("adv2", eps="eight")


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"])
@pytest.mark.parametrize("name", ["adv2", "bim"])
def test_it_works_where_gradients_are_off(context: Callable[[], object], name: str) -> None:
    attack = attacks.preset(name, eps=8 / 255, steps=(2, 3))
    network = tiny_network()
    system = uf.System(network, uf.interpreters.Grad())
    expected = attack(system, IMAGES, own(network))
    with context():
        images = IMAGES.clone()
        found = attack(system, images, own(network, images))
    assert torch.equal(found.adversarial, expected.adversarial)
    assert not torch.equal(found.adversarial, found.images)


def network_variants(network: nn.Module) -> Tensor:
    """The confidences that ``check`` finds under other normalisations."""
    labels = own(network)
    found, _ = try_other_inputs(uf.Classifier(network), IMAGES, labels, torch.zeros_like(labels, dtype=torch.bool))
    return torch.tensor([other.confidence for other in found])


class OfOneSize(nn.Module):
    """Only 16 x 16 images fit, and nothing says so."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Linear(512, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(F.relu(self.first(images)).flatten(1))


def test_a_network_that_takes_one_size_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the attack, and by the check before it."""
    monkeypatch.setattr(
        "underfire.check.trials.REGISTRY", {name: REGISTRY[name] for name in ("cam", "grad", "smoothgrad")}
    )
    _, trials = try_interpreters(uf.Classifier(OfOneSize()), IMAGES, own(OfOneSize()))
    assert {trial.name: trial.works for trial in trials}["grad"]
    result = run(OfOneSize(), interpreter="grad")
    assert bool((result.linf > 0).all())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_a_network_in_another_precision(dtype: torch.dtype) -> None:
    """Double weights agree with the same weights in float32; bfloat16 ones with themselves, rounded."""
    network = tiny_network()
    expected = uf.Classifier(network).logits(IMAGES)
    logits = uf.Classifier(tiny_network().to(dtype)).logits(IMAGES)
    assert logits.dtype == torch.float32
    assert torch.allclose(logits, expected, atol=1e-4 if dtype is torch.float64 else 0.2)
    assert not ends_in_sigmoid(uf.Classifier(tiny_network().to(dtype)), IMAGES)
    assert bool(torch.isfinite(network_variants(tiny_network().to(dtype))).all())
    result = run(tiny_network().to(dtype))
    if dtype is torch.float64:
        assert torch.equal(result.adversarial, run(network).adversarial)
    for interpreter in ("cam", "grad", "gradcam"):
        assert bool((run(tiny_network().to(dtype), interpreter=interpreter).linf > 0).all())


@pytest.mark.parametrize("count", [2, 4, 8, 16])
def test_a_verdict_that_depends_on_the_neighbours(count: int) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip
    images = smooth_images(count)
    with pytest.raises(ClassifierError, match="depends on the other images"):
        attacks.preset("adv2", steps=(1, 1))(uf.System(network, "cam"), images, torch.zeros(count, dtype=torch.int64))


def test_images_that_were_wrong_before_are_no_successes() -> None:
    network = tiny_network()
    labels = own(network)
    mixed = torch.where(torch.arange(4) < 2, labels, (labels + 1) % 4)
    attack = attacks.preset("bim", eps=0.2, steps=(0, 20), targeted=False)
    result = attack(uf.System(network, "cam"), IMAGES, mixed)
    assert result.correct_before.tolist() == [True, True, False, False]
    assert bool(result.success[2:].all()), "they are not of their label, before as after"
    assert not bool(result.joint_success["cam"][2:].any())
    summary = result.summary()
    assert summary["success"].n == 2
    assert summary["success"].mean == float(result.success[:2].float().mean())
    assert summary["success_over_all_images"].mean == float(result.success[:2].float().sum()) / 4
    assert "4 images, 2 of them" in repr(result)
    limit, noise = result.limits["cam"], result.controls["noise"].map_l1["cam"]
    assert limit.noise is not None
    assert limit.noise.shape == (2, 5)
    assert limit.noise[:, 0].tolist() == noise[:2].tolist(), "of the two correct images alone"
    assert limit.by_noise == pytest.approx(float(np.quantile(limit.noise, 0.95)))
    assert len(limit.chance.average) == 2
    one = attack(uf.System(network, "cam"), IMAGES, mixed, noise_draws=1).limits["cam"]
    assert one.by_noise == pytest.approx(float(noise[:2].double().quantile(0.95)))
    assert not torch.isclose(noise[:2].quantile(0.95), noise.quantile(0.95)), "the others would have moved it"
    with pytest.raises(InputError, match="noise_draws is 0; expected at least 1"):
        attack(uf.System(network, "cam"), IMAGES, mixed, noise_draws=0)
    with pytest.raises(InputError, match="none of the 4 images is classified correctly"):
        attack(uf.System(network, "cam"), IMAGES, (labels + 1) % 4)


class Squashed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network, self.squash = tiny_network(), Squared()

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.squash(images))


def test_the_part_without_second_derivative_is_named() -> None:
    with pytest.raises(InterpreterError, match=r"squash \(Squared\) has no second derivative"):
        run(Squashed(), interpreter="grad")


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = tiny_network()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(images), images


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "too few ids": ({"ids": ["a"]}, "ids has 1 names for 4 images"),
    "too many ids": ({"ids": torch.arange(9)}, "ids has 9 names"),
    "batch size": ({"batch_size": -1}, "batch_size is -1"),
    "no batch": ({"batch_size": 0}, "batch_size is 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_arguments_that_cannot_be(name: str) -> None:
    options, message = BAD[name]
    with pytest.raises(InputError, match=message):
        run(tiny_network(), **options)


def test_labels_as_a_list_and_names_as_text() -> None:
    network = tiny_network()
    labels = own(network).tolist()
    assert torch.equal(run(network, labels).adversarial, run(network).adversarial)
    assert attacks.preset("adv2", target_class="least-likely").target_class == attacks.LeastLikely()
    assert attacks.preset("adv2", target_class="7").target_class == attacks.preset("adv2", target_class=7).target_class
    with pytest.raises(InputError, match="Did you mean 'least-likely'"):
        attacks.preset("adv2", target_class="least_likely")
    with pytest.raises(InputError, match="Did you mean 'cam'"):
        uf.System(network, "camm")


def test_an_untargeted_attack_has_no_target_class() -> None:
    with pytest.raises(InputError, match="target_class is 3"):
        attacks.preset("adv2", targeted=False, target_class=3)


def test_a_network_that_returns_more_than_logits() -> None:
    """The logits are found if they come first; ``tests/classifiers/test_outputs.py`` has the other cases."""
    assert torch.equal(uf.Classifier(Pair()).logits(IMAGES), uf.Classifier(tiny_network()).logits(IMAGES))
    with pytest.raises(ClassifierError, match=r"returns shape \(8, 3, 16, 16\) for 8 images; expected logits N x K"):
        uf.Classifier(Pair(), output=1).logits(IMAGES)


def test_what_is_kept_goes_with_the_objective() -> None:
    move = attacks.Move((attacks.Weighted(attacks.Prediction()),), 1 / 255)
    both = attacks.Move((*move.terms, attacks.Weighted(attacks.Interpretation("mean", "cam"))), 1 / 255)
    assert attacks.Attack("alone", (attacks.Stage("one", 2, (move,)),)).kept_by == attacks.Ranking("prediction")
    assert attacks.Attack("both", (attacks.Stage("one", 2, (both,)),)).kept_by == attacks.Ranking("map")


def test_two_equal_terms_count_twice() -> None:
    """Their gradients add up; under Adam or plain steps a dict of terms would have lost one."""
    term = attacks.Weighted(attacks.Prediction())
    seen: list[float] = []

    class Recording(attacks.Sign):
        def direction(self, gradient: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
            seen.append(float(gradient.norm()))
            return super().direction(gradient, state)

    network = tiny_network()
    for terms in ((term,), (term, term)):
        move = attacks.Move(terms, 1 / 255, rule=Recording())
        attacks.Attack("x", (attacks.Stage("one", 1, (move,)),), PGD(8 / 255))(
            uf.System(network, "cam"), IMAGES, own(network)
        )
    assert seen[1] == pytest.approx(2 * seen[0], rel=1e-5)


def test_the_exact_prediction_gradient() -> None:
    """With one interpreter that smooths rectifiers, the prediction's gradient comes from a pass that does not."""
    from dataclasses import replace

    network = tiny_network()
    system, labels = uf.System(network, "grad"), own(network)
    only_prediction = attacks.Weighted(attacks.Interpretation("mean", "grad"), 0.0)
    move = attacks.Move((attacks.Weighted(attacks.Prediction()), only_prediction), 1 / 255)
    joint = attacks.Attack("joint", (attacks.Stage("one", 4, (move,)),), PGD(8 / 255), ranking=attacks.Ranking("last"))
    alone = attacks.Attack(
        "alone",
        (attacks.Stage("one", 4, (attacks.Move(move.terms[:1], 1 / 255),)),),
        PGD(8 / 255),
        ranking=attacks.Ranking("last"),
    )
    expected = alone(system, IMAGES, labels)
    exact = replace(joint, exact_prediction_gradient=True)(system, IMAGES, labels)
    smoothed = joint(system, IMAGES, labels)
    assert torch.equal(exact.adversarial, expected.adversarial)
    assert not torch.equal(smoothed.adversarial, expected.adversarial)
    assert exact.forwards.tolist() == [2 * 4 + 1] * 4  # and one for the image after the last step
    assert smoothed.forwards.tolist() == [4 + 1] * 4
