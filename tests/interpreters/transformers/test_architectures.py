"""Features, maps and short attacks on small transformers of torchvision, timm and transformers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.interpreters.transformers.architectures import CASES, Case
from underfire import attacks
from underfire.check import trials
from underfire.errors import InterpreterError

CLASSES = torch.tensor([1, 2])
FEATURES = ("gradcam", "gradcam++", "layercam")
ATTENTION = ("attention", "rollout", "chefer", "chefer-lrp")


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def pictures(case: Case, count: int = 2) -> Tensor:
    torch.manual_seed(1)
    return torch.rand(count, 3, *case.size)


def vanishes(classifier: uf.Classifier, images: Tensor) -> bool:
    """True if random weights left so little of the values that the stabilisers of LRP's rules absorb all relevance."""
    return float(classifier.logits(images).abs().max()) < 1e-9


def test_features_and_attention_are_found(case: Case) -> None:
    classifier, images = case.classifier(), pictures(case)
    with torch.no_grad():
        recorded = classifier.record(images, attention=True)
    assert recorded.features is not None
    assert tuple(recorded.features.shape[1:]) == case.shape
    assert (recorded.cam_error() < 1e-4) == case.cam
    assert torch.allclose(recorded.logits, classifier.logits(images), atol=1e-5)
    attended = recorded.attention
    assert attended is not None
    for matrix in attended.matrices:
        assert torch.allclose(matrix.sum(-1), torch.ones(()), atol=1e-5)
    if case.attention:
        assert len(attended.matrices) == 2
        assert attended.arrangement is not None
        assert (attended.arrangement.grid, attended.arrangement.extra) == (case.shape[1:], case.extra)


def test_each_interpreter_reads_maps_or_says_why_not(case: Case) -> None:
    classifier, images = case.classifier(), pictures(case)
    possible = {"cam": case.cam, **dict.fromkeys(FEATURES, True), **dict.fromkeys(ATTENTION, case.attention)}
    for name, works in possible.items():
        interpreter = uf.interpreters.create(name)
        if not works:
            with pytest.raises(InterpreterError, match=r"Grad-?CAM"):
                interpreter.maps(classifier, images, CLASSES)
            continue
        maps = interpreter.maps(classifier, images, CLASSES)
        assert maps.shape == (2, *case.shape[1:]), name
        assert name not in ATTENTION or float(maps.std()) > 0.1, name
    found = uf.interpreters.AttnLRP().maps(classifier, images, CLASSES)
    assert found.shape == (2, case.size[0] // 2, case.size[1] // 2)
    assert float(found.std()) > 0.01 or vanishes(classifier, images)


def test_three_steps_of_an_attack_on_all_interpreters_at_once(case: Case) -> None:
    classifier, images = case.classifier(), pictures(case)
    labels = classifier.logits(images).argmax(1)
    # The rectifier of Grad-CAM++ and LayerCAM leaves nothing of the maps of some networks with random weights.
    left = [name for name in FEATURES[1:] if uf.interpreters.create(name).maps(classifier, images, labels).any()]
    left += [] if vanishes(classifier, images) else ["attnlrp"]
    names = ["grad", "gradcam", *left, *(["cam"] if case.cam else []), *(ATTENTION if case.attention else ())]
    attack = attacks.preset("adv2", eps=8 / 255, steps=(1, 2))  # the warm-up is the attack on the prediction alone
    result = attack(uf.System(classifier, names), images, labels, control=False, noise_draws=1)
    assert bool((result.linf > 0).all())
    assert bool((result.linf <= 8 / 255 + 1e-6).all())
    for name in names:
        assert torch.isfinite(result.maps[name]).all()


def features_by_hand(classifier: uf.Classifier, module: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """The output of ``module`` and the gradient of the class's logit in it, by a hook."""
    kept: list[Tensor] = []
    handle = dict(classifier.module.named_modules())[module].register_forward_hook(lambda _m, _i, o: kept.append(o))
    logits = classifier.run(images.clone().requires_grad_())
    handle.remove()
    chosen = logits.gather(1, CLASSES.unsqueeze(1)).sum()
    return kept[-1].detach(), torch.autograd.grad(chosen, kept[-1])[0]


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("timm-vit", "blocks.1.norm1", 1),
        ("timm-deit", "blocks.1.norm1", 2),
        ("timm-dinov2", "blocks.1.norm1", 5),
        ("torchvision-vit", "encoder.layers.encoder_layer_1.ln_1", 1),
        ("transformers-dinov2-registers", "dinov2_with_registers.encoder.layer.1.norm1", 5),
        ("timm-vit-normed-queries", "blocks.1.norm1", 1),
        ("normed-across", "norms.1", 1),
        ("normed-across-apart", "norms.1", 1),
        ("timm-vit-long-patches", "blocks.1.norm1", 1),
        ("zoo", "blocks.1.norm1", 1),
    ],
)
def test_grad_cam_is_that_of_the_first_norm_of_the_last_block(name: str, module: str, extra: int) -> None:
    case = CASES[name]
    classifier, images = case.classifier(), pictures(case)
    tokens, gradient = features_by_hand(classifier, module, images)
    height, width = case.shape[1:]
    found = uf.interpreters.GradCAM().maps(classifier, images, CLASSES)
    by_name = uf.interpreters.GradCAM().maps(case.classifier(features=module), images, CLASSES)
    for index in range(2):
        raw = torch.zeros(height, width)
        weights = gradient[index, extra:].mean(0)
        for row in range(height):
            for column in range(width):
                raw[row, column] = (weights * tokens[index, extra + row * width + column]).sum().clamp_min(0)
        expected = (raw - raw.min()) / (raw.max() - raw.min())
        assert torch.allclose(found[index], expected, atol=1e-4)
        assert torch.allclose(by_name[index], expected, atol=1e-4)


def test_cam_on_mean_pooled_tokens_is_the_head_on_each_token() -> None:
    case = CASES["timm-vit-mean"]
    classifier, images = case.classifier(), pictures(case)
    tokens, _ = features_by_hand(classifier, "norm", images)
    head = classifier.module.head
    assert isinstance(head, nn.Linear)
    raw = (tokens[:, 1:] @ head.weight[CLASSES].unsqueeze(2)).view(2, 4, 6).detach()
    low, high = raw.amin((1, 2), keepdim=True), raw.amax((1, 2), keepdim=True)
    found = uf.interpreters.CAM().maps(classifier, images, CLASSES)
    assert torch.allclose(found, (raw - low) / (high - low), atol=1e-4)


@pytest.mark.parametrize("name", ["tokens-first", "tokens-first-mean"])
@pytest.mark.parametrize("count", [2, 16, 17])
@pytest.mark.parametrize("named", [False, True])
def test_tokens_before_images(name: str, count: int, named: bool) -> None:
    """Also if there are as many tokens as images, so that the shape does not tell them apart."""
    case = CASES[name]
    module = "last" if name == "tokens-first-mean" else "norms.1"
    classifier, images = case.classifier(**({"features": module} if named else {})), pictures(case, 17)
    classes = torch.arange(count) % 5
    with torch.enable_grad():
        recorded = classifier.record(images[:count].requires_grad_())
        gradient = recorded.gradient(recorded.logits.gather(1, classes[:, None]).sum(), graph=False)
    assert recorded.features is not None
    assert gradient is not None
    kept: list[Tensor] = []
    handle = dict(classifier.module.named_modules())[module].register_forward_hook(lambda _m, _i, o: kept.append(o))
    logits = classifier.run(images[:count])
    handle.remove()
    (expected,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), kept)
    for index in range(count):
        for row in range(4):
            for column in range(4):
                token = case.extra + 4 * row + column
                assert torch.equal(recorded.features[index, :, row, column], kept[0][token, index])
                assert torch.allclose(gradient[index, :, row, column], expected[token, index], atol=1e-6)


@pytest.mark.parametrize("name", ["timm-beit", "timm-dinov3", "timm-vit-mean"])
@pytest.mark.parametrize("interpreter", ["chefer", "chefer-lrp"])
def test_small_relevance_is_not_lost(name: str, interpreter: str) -> None:
    """The scales of their layers start at 1e-5, so that attention matters by that much to the class."""
    case = CASES[name]
    single, double = case.classifier(), case.classifier()
    double.module.double()
    made = uf.interpreters.create(interpreter)
    found, expected = (made.maps(each, pictures(case), CLASSES) for each in (single, double))
    assert float(expected.amax((1, 2)).min()) == 1
    assert float(expected.amin((1, 2)).max()) == 0
    assert torch.allclose(found, expected, atol=1e-3)


def test_a_module_after_the_last_attention_is_refused() -> None:
    classifier = CASES["zoo"].classifier(features="norm")
    with pytest.raises(InterpreterError, match="name a module before that"):
        uf.interpreters.GradCAM().maps(classifier, pictures(CASES["zoo"]), CLASSES)


CHECKED = ("cam", "gradcam", "rollout", "chefer", "attnlrp")


@pytest.mark.parametrize("name", ["torchvision-vit", "timm-eva", "timm-swin", "transformers-dinov2-registers"])
def test_a_check_names_what_works(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "REGISTRY", CHECKED)
    case = CASES[name]
    classifier, images = case.classifier(), pictures(case)
    parts, found = trials.try_interpreters(classifier, images, CLASSES)
    assert parts is not None
    expected = {"cam": case.cam, "gradcam": True, "rollout": case.attention, "chefer": case.attention, "attnlrp": True}
    assert {trial.name: trial.works for trial in found} == expected
    assert all(trial.problem is None if trial.works else "Grad" in str(trial.problem) for trial in found)
