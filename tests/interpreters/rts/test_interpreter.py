"""RTS on features of the classifier and of another network: maps, view, presence term, and passes per step."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import underfire as uf
from tests.conftest import smooth_images
from tests.interpreters.rts.makers import pyramid, write_encoder, write_masker
from underfire import attacks
from underfire.interpreters import RTS
from underfire.interpreters.rts.files import open_masker, write


@pytest.fixture(params=["shared", "apart"])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> uf.System:
    """A system with a masker on the classifier's features, and one with a masker on another network's."""
    classifier = pyramid()
    if request.param == "shared":
        return uf.System(classifier, RTS(str(write_masker(tmp_path, classifier))))
    encoder, spec = write_encoder(tmp_path)
    return uf.System(classifier, RTS(str(write_masker(tmp_path, classifier, encoder, spec)), encoder=spec))


def interpreter_of(system: uf.System) -> RTS:
    interpreter = system.interpreters["rts"]
    assert isinstance(interpreter, RTS)
    return interpreter


def expected_reading(system: uf.System, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Compute map and presence term from the parts: the encoder's features, the masker, the formulas."""
    interpreter = interpreter_of(system)
    opened = interpreter.open(system.classifier.sha256())
    encoder = opened.encoder or system.classifier
    with torch.no_grad():
        _, *fine_to_coarse = encoder.module.features(encoder.normalise(images))
        maps, presence = opened.masker(fine_to_coarse[::-1], classes, 0.0)
        if opened.encoder is None:
            logits = torch.stack([-presence / 2, presence / 2], 1)
            return maps, F.cross_entropy(logits, torch.ones_like(classes), reduction="none")
        return maps, 0.1 * F.cross_entropy(encoder.logits(images), classes, reduction="none")


def test_maps_are_the_maskers(system: uf.System) -> None:
    images, classes = smooth_images(5, 32), torch.tensor([0, 1, 2, 3, 1])
    maps = system.maps(images, classes)["rts"]
    assert maps.shape == (5, 16, 16)
    assert torch.allclose(maps, expected_reading(system, images, classes)[0], atol=1e-5)
    assert bool(((maps >= 0) & (maps <= 1)).all())
    assert not torch.allclose(maps.amax((1, 2)), torch.ones(5)), "as they are, not scaled to [0, 1]"


def test_the_view_reads_the_honest_maps_and_the_presence_term(system: uf.System) -> None:
    images, classes = smooth_images(8, 32, seed=2), torch.arange(8) % 4
    view = system.view()
    states = view.begin(images, classes, classes)
    reading, states = view.read(images.clone().requires_grad_(), lambda _: classes, states, graph=True)
    maps, term = expected_reading(system, images, classes)
    assert torch.allclose(reading.maps["rts"], maps, atol=1e-4)
    assert torch.allclose(reading.terms["presence"], term, atol=1e-4)
    assert torch.allclose(reading.maps["rts"], system.maps(images, classes)["rts"], atol=1e-4)


def test_one_network_means_one_pass(system: uf.System) -> None:
    images, classes = smooth_images(8, 32).requires_grad_(), torch.arange(8) % 4
    view = system.view()
    states = view.begin(images, classes, classes)
    view.prepared.forwards = view.prepared.backwards = 0
    reading, _ = view.read(images, lambda _: classes, states, graph=True)
    assert len(reading.logits) == 8  # where nobody looks at the logits, no pass is made for them
    apart = interpreter_of(system).encoder is not None
    assert (view.prepared.forwards, view.prepared.backwards) == (1 + apart, 1 + apart)
    both = uf.System(system.classifier, [uf.interpreters.CAM(), interpreter_of(system)]).view()
    states = both.begin(images, classes, classes)
    both.prepared.forwards = 0
    both.read(images, lambda _: classes, states, graph=True)
    assert both.prepared.forwards == 1 + apart, "shared with CAM, too"


def test_the_gradient_passes_finite_differences(system: uf.System) -> None:
    """Map and presence term in float64, with steps so short that no rectifier switches."""
    torch.manual_seed(3)
    images, classes = smooth_images(3, 32, seed=4).double(), torch.tensor([0, 2, 3])
    view = system.view("float64")
    weights = torch.randn(3, 16, 16, dtype=torch.float64)

    def total(pixels: Tensor) -> Tensor:
        reading, _ = view.read(pixels, lambda _: classes, {"rts": {}}, graph=True)
        assert reading.maps["rts"].dtype is torch.float64
        return (weights * reading.maps["rts"]).sum() + reading.terms["presence"].sum()

    variable = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(total(variable), variable)
    assert float(gradient.abs().sum()) > 0
    for _ in range(5):
        direction = torch.randn_like(images)
        ends = [float(total((images + sign * 1e-8 * direction).requires_grad_()).detach()) for sign in (1, -1)]
        numeric = (ends[0] - ends[1]) / 2e-8
        assert numeric == pytest.approx(float((gradient * direction).sum()), rel=1e-3, abs=1e-5)


def test_maps_do_not_depend_on_the_batch(system: uf.System) -> None:
    images, classes = smooth_images(19, 32, seed=5), torch.arange(19) % 4
    together = system.maps(images, classes)["rts"]
    for cut in (1, 7, 16):
        parts = [system.maps(images[i : i + cut], classes[i : i + cut])["rts"] for i in range(0, 19, cut)]
        assert torch.equal(together, torch.cat(parts)), cut


def test_attacks_do_not_depend_on_the_batch(system: uf.System) -> None:
    images = smooth_images(11, 32, seed=6)
    labels = system.classifier.logits(images).argmax(1)
    attack = attacks.preset("adv2", eps=8 / 255, steps=(3, 6))
    whole = attack(system, images, labels)
    for index in (0, 10):
        alone = attack(system, images[index : index + 1], labels[index : index + 1])
        assert torch.equal(alone.adversarial[0], whole.adversarial[index])
        assert torch.equal(alone.maps["rts"][0], whole.maps["rts"][index])


def test_the_presence_term_is_in_the_objective(system: uf.System) -> None:
    """The traced objective contains it, and the attack lowers it."""
    images = smooth_images(8, 32, seed=6)
    labels = system.classifier.logits(images).argmax(1)
    preset = attacks.preset("adv2", eps=8 / 255, steps=(2, 10))
    built = preset.build(system)
    assert [w.term.name for w in built.stages[1].moves[0].terms] == ["prediction", "interpretation", "presence"]
    assert (built.stages[1].moves[0].terms[1].weight_at(0), built.stages[1].moves[0].terms[1].weight_at(1)) == (5, 10)
    result = preset(system, images, labels, trace_every=1)
    assert result.trace is not None
    course = result.trace.columns["loss_presence"]
    assert bool(course[:2].isnan().all())
    assert bool(course[2:].isfinite().all())
    assert float(course[-1].mean()) < float(course[2].mean())


def test_the_published_steps() -> None:
    row = attacks.PGD.rows["rts"]
    assert (row.warmup, row.joint, row.reduction, row.presence) == (300, 1000, "mean", 1.0)
    assert "presence" not in {
        weighted.term.name
        for stage in attacks.preset("adv2").build(uf.System(pyramid(), uf.interpreters.CAM())).stages
        for weighted in stage.moves[0].terms
    }


def test_confidence_comes_from_the_file_unless_given(tmp_path: Path) -> None:
    classifier = pyramid()
    images, classes = smooth_images(4, 32), torch.tensor([0, 1, 2, 3])
    plain = str(write_masker(tmp_path / "plain", classifier))
    strict = str(write_masker(tmp_path / "strict", classifier, confidence=2.0))
    assert open_masker(strict, None, classifier.sha256()).note.confidence == 2.0
    expected = RTS(strict).maps(classifier, images, classes)
    assert torch.equal(RTS(plain, confidence=2.0).maps(classifier, images, classes), expected)
    assert not torch.allclose(RTS(plain).maps(classifier, images, classes), expected, atol=1e-4)


@pytest.mark.parametrize("fails", ["maps", "view"])
def test_networks_are_left_as_they_were_also_after_an_error(
    system: uf.System, fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = system.classifier
    classifier.module.train()
    before = classifier.sha256()

    def broken(*_: object) -> Tensor:
        raise RuntimeError("broken")

    monkeypatch.setattr("underfire.interpreters.rts.network.Masker.forward", broken)
    images, classes = smooth_images(4, 32), torch.zeros(4, dtype=torch.int64)
    view = system.view() if fails == "view" else None

    def use() -> None:
        if view is None:
            system.maps(images, classes)
        else:
            view.read(images.requires_grad_(), lambda _: classes, view.begin(images, classes, classes), graph=True)

    with pytest.raises(RuntimeError, match="broken"):
        use()
    assert classifier.module.training
    assert classifier.sha256() == before
    for part in classifier.module.modules():
        assert not part._forward_hooks
        assert not part._forward_pre_hooks
    assert all(p.requires_grad and p.grad is None for p in classifier.module.parameters())
    assert torch.overrides._get_current_function_mode() is None


def test_untargeted_and_several_interpreters(system: uf.System) -> None:
    images = smooth_images(6, 32, seed=8)
    labels = system.classifier.logits(images).argmax(1)
    several = uf.System(system.classifier, [interpreter_of(system), uf.interpreters.CAM(), uf.interpreters.Grad()])
    result = attacks.preset("adv2", eps=8 / 255, steps=(2, 4), targeted=False)(several, images, labels)
    assert set(result.maps) == {"rts", "cam", "grad"}
    assert all(bool(torch.isfinite(value).all()) for value in result.map_l1.values())


def test_the_identity_changes_with_the_masker(tmp_path: Path) -> None:
    classifier = pyramid()
    file = write_masker(tmp_path, classifier)
    first = RTS(str(file)).identity(classifier)
    assert classifier.sha256() in first
    assert first == RTS(str(file)).identity(classifier)
    opened = open_masker(str(file), None, classifier.sha256())
    opened.masker.selector.weight.add_(1)
    write(opened.masker, opened.note, file)
    assert RTS(str(file)).identity(classifier) != first


def test_bfloat16_reads_in_float32(tmp_path: Path) -> None:
    classifier = pyramid()
    system = uf.System(classifier, RTS(str(write_masker(tmp_path, classifier))))
    images, classes = smooth_images(8, 32), torch.arange(8) % 4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is slow here
        view = system.view("bf16")
    reading, _ = view.read(images.requires_grad_(), lambda _: classes, view.begin(images, classes, classes), graph=True)
    assert reading.maps["rts"].dtype is torch.float32
    assert float((reading.maps["rts"].detach() - system.maps(images.detach(), classes)["rts"]).abs().max()) < 0.1


def test_classifiers_in_float64(tmp_path: Path) -> None:
    images, classes = smooth_images(3, 32), torch.tensor([0, 1, 2])
    single = pyramid()
    expected = RTS(str(write_masker(tmp_path / "single", single))).maps(single, images, classes)
    double = pyramid()
    double.module.double()
    interpreter = RTS(str(write_masker(tmp_path / "double", double)))
    assert torch.allclose(interpreter.maps(double, images, classes), expected, atol=1e-4)


class OneSize(torch.nn.Module):
    """A network that takes only images of 32 x 32 pixels, although its classifier names no size."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convs = torch.nn.ModuleList(torch.nn.Conv2d(c, 16, 3, stride=2, padding=1) for c in (3, 16, 16))
        self.head = torch.nn.Linear(16 * 4 * 4, 4)

    def forward(self, images: Tensor) -> Tensor:
        for conv in self.convs:
            images = F.relu(conv(images))
        logits: Tensor = self.head(images.flatten(1)) * 20
        return logits


def test_encoders_of_one_size_without_a_named_size(tmp_path: Path) -> None:
    (tmp_path / "encoder.py").write_text(
        "import underfire as uf\nfrom tests.interpreters.rts.test_interpreter import OneSize\n"
        "def build():\n    return uf.Classifier(OneSize().eval(), name='one size')\n"
    )
    encoder, spec = uf.Classifier(OneSize().eval(), name="one size"), f"{tmp_path / 'encoder.py'}:build"
    classifier = pyramid()
    file = write_masker(tmp_path, classifier, encoder, spec)
    system, images = uf.System(classifier, RTS(str(file), encoder=spec)), smooth_images(8, 32)
    result = attacks.preset("adv2", eps=0.1, steps=(2, 4))(system, images, classifier.logits(images).argmax(1))
    assert bool(torch.isfinite(result.map_l1["rts"]).all())
