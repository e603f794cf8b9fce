"""AttnLRP against its authors' program, and Chefer's attribution against one that kept the rules of its authors.

The packages ``lxt`` with ``zennit``, and ``txv``, are no dependencies. Tests skip where they are absent.
"""

from __future__ import annotations

import importlib
import math
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.classifiers.sources.models import package
from tests.interpreters.transformers.architectures import CASES
from tests.interpreters.transformers.tiny import HEADS, SIDE, WIDTH, Tiny, pictures
from underfire.interpreters import AttnLRP, CheferLRP, Rollout

CLASSES = torch.tensor([1, 3])


@pytest.fixture
def lxt(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The authors' program, and its changes of zennit's hooks."""
    package("torchvision")  # zennit imports it
    pytest.importorskip("zennit")
    found = pytest.importorskip("lxt")
    # Its package imports models of older versions of transformers; the rules need none of them.
    efficient = types.ModuleType("lxt.efficient")
    efficient.__path__ = [str(Path(found.__file__).parent / "efficient")]
    monkeypatch.setitem(sys.modules, "lxt.efficient", efficient)
    for name in ("rules", "patches", "zennit_patches"):
        monkeypatch.setitem(sys.modules, f"lxt.efficient.{name}", None)
        del sys.modules[f"lxt.efficient.{name}"]
        setattr(efficient, name, importlib.import_module(f"lxt.efficient.{name}"))
    from zennit.core import BasicHook

    for name in ("forward", "backward"):
        monkeypatch.setattr(BasicHook, name, getattr(efficient.zennit_patches, name))
    return efficient


class Gated(nn.Module):
    """GELU by the authors' rule."""

    def __init__(self, rules: Any) -> None:
        super().__init__()
        self.rules = rules

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.rules.identity_rule_implicit(nn.functional.gelu, x)
        return found


class Divided(nn.Module):
    """Attention whose gradients are divided by the authors' rule, with the weights of another one."""

    def __init__(self, rules: Any, source: nn.MultiheadAttention) -> None:
        super().__init__()
        self.rules = rules
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH).double()
        self.qkv.load_state_dict({"weight": source.in_proj_weight, "bias": source.in_proj_bias})
        self.out = source.out_proj

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.qkv(tokens).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        query, key, value = (
            self.rules.divide_gradient(part, factor) for part, factor in ((query, 4), (key, 4), (value, 2))
        )
        mixed = torch.softmax(query @ key.mT / math.sqrt(WIDTH // HEADS), -1) @ value
        found: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return found


def theirs(network: nn.Module, images: Tensor) -> Tensor:
    leaf = images.clone().requires_grad_()
    network(leaf).gather(1, CLASSES[:, None]).sum().backward()
    assert leaf.grad is not None
    return leaf.detach() * leaf.grad


@pytest.mark.parametrize(("gamma", "conv_gamma"), [(0.05, 0.25), (1.0, 10.0)])
def test_all_rules_and_gamma(lxt: Any, monkeypatch: pytest.MonkeyPatch, gamma: float, conv_gamma: float) -> None:
    from zennit.composites import LayerMapComposite
    from zennit.rules import Gamma

    ours = AttnLRP("all", gamma, conv_gamma).relevance(
        uf.Classifier(Tiny(), image_size=SIDE), pictures().requires_grad_(), CLASSES
    )
    network = Tiny()
    for block in network.blocks:
        block.act, block.attention = Gated(lxt.rules), Divided(lxt.rules, block.attention.inner)
    monkeypatch.setattr(nn.LayerNorm, "forward", lxt.patches.layer_norm_forward)
    composite = LayerMapComposite([(nn.Conv2d, Gamma(conv_gamma)), (nn.Linear, Gamma(gamma))])
    composite.register(network)
    expected = theirs(network, pictures())
    composite.remove()
    assert torch.allclose(ours, expected, rtol=1e-4, atol=1e-7)


def test_through_the_values_alone_on_torchvisions(lxt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their settings for vision transformers, without gamma."""
    case = CASES["torchvision-vit"]
    classifier = case.classifier()
    classifier.module.double()
    images = torch.rand(2, 3, *case.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours = AttnLRP("values", 0, 0, 1e-12).relevance(classifier, images.clone().requires_grad_(), CLASSES)
    for kind, forward in (
        (nn.GELU, lxt.patches.non_linear_forward),
        (nn.LayerNorm, lxt.patches.layer_norm_forward),
        (nn.MultiheadAttention, lxt.patches.cp_multi_head_attention_forward),
    ):
        monkeypatch.setattr(kind, "original_forward", kind.forward, raising=False)
        monkeypatch.setattr(kind, "forward", forward)
    assert torch.allclose(ours, theirs(classifier.module, images), rtol=1e-5, atol=1e-10)


class Attributed(nn.Module):
    """A ``Tiny`` network made of layers that hand relevance on themselves."""

    def __init__(self, layers: Any, source: Tiny) -> None:
        super().__init__()
        self.source, self.head, self.pool = (
            source,
            with_weights(layers.Linear(WIDTH, 4), source.head),
            layers.IndexSelect(),
        )
        self.norm = with_weights(layers.LayerNorm(WIDTH), source.norm)
        self.blocks = nn.ModuleList(AttributedBlock(layers, block) for block in source.blocks)

    def forward(self, image: Tensor) -> Tensor:
        patches = self.source.embed(image).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.source.token, patches], 1) + self.source.places
        for block in self.blocks:
            tokens = block(tokens)
        logits: Tensor = self.head(self.pool(self.norm(tokens), dim=1, indices=torch.tensor(0)).squeeze(1))
        return logits

    def relprop(self, received: Tensor) -> None:
        received = self.norm.relprop(self.pool.relprop(self.head.relprop(received, 1).unsqueeze(1), 1), 1)
        for block in reversed(self.blocks):
            received = block.relprop(received)


class AttributedBlock(nn.Module):
    """A block of ``Attributed``. It keeps its attention, and the relevance of that."""

    matrices: Tensor
    relevance: Tensor

    def __init__(self, layers: Any, source: Any) -> None:
        super().__init__()
        inner = source.attention.inner
        self.qkv = layers.Linear(WIDTH, 3 * WIDTH).double()
        self.qkv.load_state_dict({"weight": inner.in_proj_weight, "bias": inner.in_proj_bias})
        self.out = with_weights(layers.Linear(WIDTH, WIDTH), inner.out_proj)
        self.fc1 = with_weights(layers.Linear(*source.fc1.weight.shape[::-1]), source.fc1)
        self.fc2 = with_weights(layers.Linear(*source.fc2.weight.shape[::-1]), source.fc2)
        self.norm1 = with_weights(layers.LayerNorm(WIDTH), source.norm1)
        self.norm2 = with_weights(layers.LayerNorm(WIDTH), source.norm2)
        self.softmax, self.act = layers.Softmax(dim=-1), layers.GELU()
        self.scores, self.mix = layers.einsum("bhid,bhjd->bhij"), layers.einsum("bhij,bhjd->bhid")
        self.add1, self.add2, self.clone1, self.clone2 = layers.Add(), layers.Add(), layers.Clone(), layers.Clone()

    def forward(self, tokens: Tensor) -> Tensor:
        tokens, branch = self.clone1(tokens, 2)
        parts = self.qkv(self.norm1(branch)).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        self.matrices = self.softmax(self.scores([parts[0], parts[1]]) / math.sqrt(WIDTH // HEADS))
        mixed = self.mix([self.matrices, parts[2]]).transpose(1, 2).flatten(2)
        tokens, branch = self.clone2(self.add1([tokens, self.out(mixed)]), 2)
        result: Tensor = self.add2([tokens, self.fc2(self.act(self.fc1(self.norm2(branch))))])
        return result

    def relprop(self, received: Tensor) -> Tensor:
        received, branch = self.add2.relprop(received, 1)
        for layer in (self.fc2, self.act, self.fc1, self.norm2):
            branch = layer.relprop(branch, 1)
        received, branch = self.add1.relprop(self.clone2.relprop((received, branch), 1), 1)
        branch = self.out.relprop(branch, 1).unflatten(2, (HEADS, -1)).transpose(1, 2)
        matrices, value = (part / 2 for part in self.mix.relprop(branch, 1))
        self.relevance = matrices
        query, key = (part / 2 for part in self.scores.relprop(self.softmax.relprop(matrices, 1), 1))
        branch = torch.stack([query, key, value]).permute(1, 3, 0, 2, 4).flatten(2)
        found: Tensor = self.clone1.relprop((received, self.norm1.relprop(self.qkv.relprop(branch, 1), 1)), 1)
        return found


def with_weights(layer: nn.Module, source: nn.Module) -> Any:
    layer.double().load_state_dict(source.state_dict())
    return layer


def test_chefers_attribution_by_the_layers_of_txv() -> None:
    """Their whole models leave out the shortcuts of blocks, so the layers are put together here as in the paper."""
    pytest.importorskip("txv")
    layers = pytest.importorskip("txv.lrp_modules")
    found = CheferLRP().maps(uf.Classifier(Tiny(), image_size=SIDE), pictures(), CLASSES)
    network = Attributed(layers, Tiny())
    for index, label in enumerate(CLASSES.tolist()):
        logits = network(pictures()[index : index + 1])
        slopes = torch.autograd.grad(logits[0, label], [block.matrices for block in network.blocks], retain_graph=True)
        network.relprop(nn.functional.one_hot(torch.tensor([label]), 4).double())
        flow = torch.eye(10, dtype=torch.float64)
        for block, slope in zip(network.blocks, slopes, strict=True):
            flow = flow + (slope * block.relevance).clamp_min(0).mean(1)[0] @ flow
        row = flow[0, 1:].view(3, 3).detach()
        assert torch.allclose(found[index], ((row - row.min()) / (row.max() - row.min())).float(), atol=1e-4)


def test_rollout_by_txv(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their program multiplies the matrices that a model of theirs would give it."""
    package("torchvision")
    pytest.importorskip("txv")
    for name in ("cv2", "einops", "requests", "tqdm"):  # for pictures and downloads alone
        absent = types.ModuleType(name)
        vars(absent).update(COLORMAP_JET=2, einsum=None, rearrange=None, tqdm=None)
        monkeypatch.setitem(sys.modules, name, absent)
    published = importlib.import_module("txv.exp")
    case = CASES["zoo"]
    classifier = case.classifier()
    images = torch.rand(2, 3, *case.size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        attended = classifier.record(images, attention=True).attention
    assert attended is not None
    model = Matrices(attended.matrices)
    rows = published.AttentionRollout(model).explain(images).view(2, *case.shape[1:])
    low, high = rows.amin((1, 2), keepdim=True), rows.amax((1, 2), keepdim=True)
    assert torch.allclose(Rollout().maps(classifier, images, CLASSES), (rows - low) / (high - low), atol=1e-5)


class Matrices(nn.Module):
    """A model of txv, as far as its rollout looks at one: it has attention, and computes nothing."""

    def __init__(self, matrices: tuple[Tensor, ...]) -> None:
        super().__init__()
        self.depth, self.arch = len(matrices), "vit"
        self.patch_embed = types.SimpleNamespace(num_patches=matrices[0].shape[-1] - 1)
        self.blocks: Any = [
            types.SimpleNamespace(attn=types.SimpleNamespace(get_attn=lambda matrix=matrix: matrix))
            for matrix in matrices
        ]

    def forward(self, images: Tensor) -> Tensor:
        return images
