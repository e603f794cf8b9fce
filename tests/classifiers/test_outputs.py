"""Logits in what networks return: dicts, tuples, objects, and tensors that have lost dimensions."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.conftest import Tiny, tiny_network
from underfire.errors import ClassifierError

Named = namedtuple("Named", ["logits", "aux_logits"])
Unnamed = namedtuple("Unnamed", ["scores", "features"])


@dataclass
class Holder:
    pred: Tensor
    features: Tensor


class Returns(nn.Module):
    """A Tiny network that returns what ``how`` makes of its logits and its pooled features."""

    def __init__(self, how: Callable[[Tensor, Tensor], Any], classes: int = 4, in_head: bool = True) -> None:
        super().__init__()
        self.network, self.how, self.in_head = tiny_network(classes=classes), how, in_head

    def forward(self, images: Tensor) -> Any:
        pooled: list[Tensor] = []
        handle = self.network.head.register_forward_pre_hook(lambda _, given: pooled.append(given[0]))
        logits = self.network(images)
        handle.remove()
        if not self.in_head:
            logits = logits * 2
        return self.how(logits, pooled[0])


WORK: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "dict with logits": lambda z, f: {"features": f, "logits": z},
    "dict with out": lambda z, f: {"out": z, "aux": z + 1},
    "dict with output": lambda z, f: {"output": z},
    "dict with pred": lambda z, f: {"loss": None, "pred": z},
    "object": lambda z, f: Holder(z, f),
    "named tuple, as Inception's": lambda z, f: Named(z, z + 1),
    "another named tuple": lambda z, f: Unnamed(z, f),
    "tuple of one": lambda z, f: (z,),
    "list of one": lambda z, f: [z],
    "tuple with features": lambda z, f: (z, f),
    "tuple with maps": lambda z, f: (z, f[:, :, None, None], [f]),
    "auxiliary outputs": lambda z, f: (z, z + 1, z + 2),
    "convolution as head": lambda z, f: z[:, :, None, None],
    "squeezed": lambda z, f: z.squeeze(),
}


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("how", WORK)
def test_logits_are_found(images: Tensor, how: str, count: int) -> None:
    classifier, images = uf.Classifier(Returns(WORK[how])), images[:count]
    expected = uf.Classifier(tiny_network()).logits(images)
    assert torch.equal(classifier.logits(images), expected)
    for network in (classifier.prepare(size=(16, 16)), classifier.live()):
        assert torch.allclose(network.run(images).detach(), expected, atol=1e-5)


@pytest.mark.parametrize("how", WORK)
def test_an_attack_with_cam_runs(images: Tensor, how: str) -> None:
    system = uf.System(uf.Classifier(Returns(WORK[how])), uf.interpreters.CAM())
    expected = uf.System(uf.Classifier(tiny_network()), uf.interpreters.CAM())
    labels = system.classifier.logits(images).argmax(1)
    attack = uf.attacks.preset("adv2", eps=16 / 255, steps=(2, 3))
    assert torch.equal(attack(system, images, labels).adversarial, attack(expected, images, labels).adversarial)


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("how", [Tensor.squeeze, lambda z: z.squeeze(1), lambda z: z], ids=["all", "one", "none"])
def test_a_single_logit_may_lose_its_dimensions(images: Tensor, how: Callable[[Tensor], Tensor], count: int) -> None:
    """An output without a dimension at a batch of one would else end in an IndexError of torch."""
    classifier, images = uf.Classifier(Returns(lambda z, f: how(z), classes=1)), images[:count]
    logits = classifier.logits(images)
    assert logits.shape == (count, 2)
    z = tiny_network(classes=1)(images).detach()
    assert torch.equal(logits, torch.cat([-z / 2, z / 2], 1))
    system = uf.System(classifier, [uf.interpreters.CAM(), uf.interpreters.Grad()])
    uf.attacks.preset("adv2", eps=16 / 255, steps=(1, 2))(system, images, logits.argmax(1))


OUTPUTS: dict[str, tuple[Callable[[Tensor, Tensor], Any], str | int]] = {
    "key": (lambda z, f: {"a": f, "b": z}, "b"),
    "number": (lambda z, f: (f, z), 1),
    "number of a named tuple": (lambda z, f: Unnamed(f, z), 1),
    "field of a named tuple": (lambda z, f: Unnamed(f, z), "features"),
    "attribute": (lambda z, f: Holder(f, z), "features"),
    "one of two usual names": (lambda z, f: {"logits": f, "out": z}, "out"),
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_output_names_another_entry(images: Tensor, case: str) -> None:
    how, entry = OUTPUTS[case]
    network = Returns(how)
    classifier = uf.Classifier(network, output=entry)
    assert torch.equal(classifier.logits(images), uf.Classifier(tiny_network()).logits(images))
    assert classifier.prepare(size=(16, 16)).run(images).shape == (6, 4)
    assert classifier.sha256() != uf.Classifier(network).sha256(), "another output is another classifier"


REFUSED: dict[str, tuple[Callable[[Tensor, Tensor], Any], str]] = {
    "features first": (
        lambda z, f: (f, z),
        r"returns a tuple with 0 \(6 x 8\), 1 \(6 x 4\); two of its entries could be the logits, and its first does "
        r"not come from the last linear layer. Name the entry .* --output KEY .*Classifier\(\.\.\., output=KEY\)",
    ),
    "maps first": (lambda z, f: (f[:, :, None, None], z), r"0 \(6 x 8 x 1 x 1\), .*expected logits N x K as its first"),
    "two usual names": (
        lambda z, f: {"logits": z, "pred": z},
        r"a dict with logits \(6 x 4\), pred .*exactly one entry",
    ),
    "no usual name": (lambda z, f: {"a": z, "b": None}, r"a dict with a \(6 x 4\), b \(NoneType\); expected"),
    "nothing": (lambda z, f: None, "returns a NoneType; expected a tensor of logits"),
    "empty": (lambda z, f: (), "returns a tuple; expected a tensor of logits"),
    "a number": (lambda z, f: z.sum(), r"returns shape \(\) for 6 images; expected logits N x K"),
    "maps": (lambda z, f: z[:, :, None].repeat(1, 1, 3), r"returns shape \(6, 4, 3\) for 6 images; expected logits"),
    "another batch": (lambda z, f: z[:2], r"returns shape \(2, 4\) for 6 images"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_doubt_is_refused_with_the_choices(images: Tensor, case: str) -> None:
    how, said = REFUSED[case]
    with pytest.raises(ClassifierError, match=said):
        uf.Classifier(Returns(how))(images)


def test_the_number_of_classes_decides_where_it_is_known(images: Tensor) -> None:
    names = ("a", "b", "c", "d")
    scaled = Returns(lambda z, f: (z, f), in_head=False)  # the logits are no linear layer's output
    with pytest.raises(ClassifierError, match="two of its entries could be the logits"):
        uf.Classifier(scaled).logits(images)
    assert uf.Classifier(scaled, class_names=names).logits(images).shape == (6, 4)
    with pytest.raises(ClassifierError, match="expected logits N x 4 as its first entry"):
        uf.Classifier(Returns(lambda z, f: (f, z)), class_names=names).logits(images)


def test_an_output_that_is_not_there(images: Tensor) -> None:
    with pytest.raises(
        ClassifierError, match=r"output is 'c', and the network returns a dict with a .*; expected the key"
    ):
        uf.Classifier(Returns(lambda z, f: {"a": z}), output="c").logits(images)
    with pytest.raises(ClassifierError, match=r"output is '1', and the network returns a tensor 8 x 4"):
        uf.Classifier(Tiny().eval(), output=1).logits(images)


def test_output_by_name(images: Tensor, tmp_path: Any) -> None:
    """``load`` passes ``output`` on, and a classifier of the user's own keeps its own."""
    (tmp_path / "model.py").write_text(
        "import underfire as uf\nfrom tests.classifiers.test_outputs import Returns\n"
        "def build(): return Returns(lambda z, f: (f, z))\n"
        "def own(): return uf.Classifier(build(), output=1)\n"
    )
    expected = uf.Classifier(tiny_network()).logits(images)
    assert torch.equal(uf.classifiers.load(f"{tmp_path}/model.py:build", output="1").logits(images), expected)
    assert torch.equal(uf.classifiers.load(f"{tmp_path}/model.py:own", image_size=16).logits(images), expected)


def test_outputs_of_inception_and_googlenet(images: Tensor) -> None:
    """Their named tuples in training mode, and the sequences of Hugging Face without ``return_dict``."""
    inception = namedtuple("InceptionOutputs", ["logits", "aux_logits"])
    googlenet = namedtuple("GoogLeNetOutputs", ["logits", "aux_logits2", "aux_logits1"])
    hidden = [torch.zeros(6, 3, 8)]
    for how in (lambda z, f: inception(z, z), lambda z, f: googlenet(z, z, z), lambda z, f: (z, hidden)):
        assert uf.Classifier(Returns(how)).logits(images).shape == (6, 4)


@pytest.mark.parametrize("how", [lambda z, f: z.argmax(1), lambda z, f: {"logits": z.argmax(1, keepdim=True)}])
def test_numbers_of_classes_are_no_logits(images: Tensor, how: Callable[[Tensor, Tensor], Any]) -> None:
    classifier = uf.Classifier(Returns(how))
    for use in (classifier.logits, lambda x: uf.interpreters.CAM().maps(classifier, x, torch.zeros(len(x)).long())):
        with pytest.raises(ClassifierError, match=r"returns int64 .*return what argmax was given"):
            use(images)


@pytest.mark.parametrize(
    "how",
    [
        lambda z, f: (z + 9 * torch.eye(8)[: len(z), :4]).argmax(1).float(),
        lambda z, f: ((z + 9 * torch.eye(8)[: len(z), :4]).argmax(1, keepdim=True) + 0.0,),
    ],
)
def test_numbers_of_classes_in_floating_point_are_no_logit(
    images: Tensor, how: Callable[[Tensor, Tensor], Any]
) -> None:
    """Regression: they counted as one logit."""
    classifier = uf.Classifier(Returns(how))
    for use in (classifier.logits, lambda x: uf.interpreters.Grad().maps(classifier, x, torch.zeros(len(x)).long())):
        with pytest.raises(ClassifierError, match=r"single whole number .*float32: return what argmax was given"):
            use(images)


def test_single_logits_may_be_whole_numbers_if_they_have_a_gradient(images: Tensor) -> None:
    network = Returns(lambda z, f: z[:, :1] + (torch.arange(6)[:, None] - z[:, :1]).detach())
    with torch.enable_grad():
        logits = uf.Classifier(network).run(images.clone().requires_grad_())
    assert torch.equal(2 * logits[:, 1], torch.arange(6.0))
