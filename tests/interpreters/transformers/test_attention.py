"""Maps of attention against slow replicas from their definitions, and their views against finite differences."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underfire as uf
from tests.interpreters.transformers import tiny
from tests.interpreters.transformers.architectures import CASES
from underfire.classifiers.attention import AttentionTap, by_head
from underfire.errors import InputError, InterpreterError
from underfire.interpreters import Attention, AttnLRP, Chefer, CheferLRP, Interpreter, Rollout, Smoothing
from underfire.zoo.vit import VisionTransformer

CLASSES = torch.tensor([1, 2])
SIZE = (64, 96)
SMOOTH = Smoothing("softplus", 1e-2)  # of the rectifiers in front of a transformer: attention and GELU need none


def pictures(count: int = 2) -> Tensor:
    torch.manual_seed(1)
    return torch.rand(count, 3, *SIZE)


def by_hand(
    network: VisionTransformer, image: Tensor, added: list[Tensor] | None = None
) -> tuple[Tensor, list[Tensor]]:
    """The logits of one image 3 x H x W, and A = softmax(QK^T / sqrt(d)) of each block, heads x L x L.

    ``added`` is added to each A before it is used: its gradient is that of A.
    """
    patches = network.stem(image.unsqueeze(0))[0].flatten(1).T
    tokens = torch.cat([network.cls_token[0], patches]) + network.pos_embed[0]
    matrices = []
    for number, block in enumerate(network.blocks):
        width, heads = tokens.shape[1], block.attn.heads
        size = width // heads
        qkv = block.attn.qkv(block.norm1(tokens))
        mixed, block_matrices = [], []
        for head in range(heads):
            query, key, value = (qkv[:, part * width + head * size :][:, :size] for part in range(3))
            matrix = torch.softmax(query @ key.T / math.sqrt(size), dim=1)
            block_matrices.append(matrix)
            used = matrix if added is None else matrix + added[number][head]
            mixed.append(used @ value)
        tokens = tokens + block.attn.proj(torch.cat(mixed, 1))
        tokens = tokens + block.fc2(F.gelu(block.fc1(block.norm2(tokens))))
        matrices.append(torch.stack(block_matrices))
    logits: Tensor = network.head(network.norm(tokens)[0])
    return logits, matrices


def scaled(row: Tensor) -> Tensor:
    values = row[1:].detach().view(4, 6)
    return (values - values.min()) / (values.max() - values.min())


def zoo(dtype: torch.dtype = torch.float32) -> tuple[uf.Classifier, VisionTransformer]:
    classifier = CASES["zoo"].classifier()
    network = classifier.module.to(dtype)
    assert isinstance(network, VisionTransformer)
    return classifier, network


@pytest.mark.parametrize("fusion", ["mean", "max", "min"])
@pytest.mark.parametrize("discard", [0.0, 0.7])
def test_rollout_is_the_product_of_its_definition(fusion: str, discard: float) -> None:
    classifier, network = zoo()
    images = pictures()
    found = Rollout(fusion, discard).maps(classifier, images, CLASSES)
    for index in range(2):
        _, matrices = by_hand(network, images[index])
        flow = torch.eye(25)
        for heads in matrices:
            fused = torch.zeros(25, 25)
            for i in range(25):
                for j in range(25):
                    values = heads[:, i, j].detach()
                    fused[i, j] = {"mean": values.mean(), "max": values.max(), "min": values.min()}[fusion]
            if discard:
                limit = fused.flatten().sort().values[int(25 * 25 * discard)]
                fused = torch.where(fused < limit, 0.0, fused)
            for i in range(25):
                fused[i, i] += 1
                fused[i] /= fused[i].sum()
            flow = fused @ flow
        assert torch.allclose(found[index], scaled(flow[0]), atol=1e-4)


@pytest.mark.parametrize("fusion", ["mean", "max"])
def test_attention_is_the_class_tokens_row_of_the_last_block(fusion: str) -> None:
    classifier, network = zoo()
    images = pictures()
    found = Attention.from_argument(fusion).maps(classifier, images, CLASSES)
    for index in range(2):
        last = by_hand(network, images[index])[1][-1]
        row = (last[0, 0] + last[1, 0]) / 2 if fusion == "mean" else torch.maximum(last[0, 0], last[1, 0])
        assert torch.allclose(found[index], scaled(row), atol=1e-4)


def test_chefer_weighs_attention_by_its_gradient() -> None:
    classifier, network = zoo()
    images = pictures()
    found = Chefer().maps(classifier, images, CLASSES)
    for index in range(2):
        added = [torch.zeros(2, 25, 25, requires_grad=True) for _ in network.blocks]
        logits, matrices = by_hand(network, images[index], added)
        gradients = torch.autograd.grad(logits[CLASSES[index]], added)
        relevance = torch.eye(25)
        for attention, gradient in zip(matrices, gradients, strict=True):
            mean, matrix = torch.zeros(25, 25), attention.detach()
            for head in range(2):
                for i in range(25):
                    for j in range(25):
                        mean[i, j] += max(float(matrix[head, i, j] * gradient[head, i, j]), 0.0) / 2
            relevance = relevance + mean @ relevance
        assert torch.allclose(found[index], scaled(relevance[0]), atol=1e-3)
    others = Chefer().maps(classifier, images, CLASSES.flip(0))
    assert float((others - found).abs().mean()) > 0.01, "unlike rollout, it depends on the class"
    rollout = Rollout()
    assert torch.equal(rollout.maps(classifier, images, CLASSES.flip(0)), rollout.maps(classifier, images, CLASSES))


@pytest.mark.parametrize(
    "interpreter",
    [
        Attention(),
        Attention("max"),
        Rollout(),
        Rollout("max", 0.5),
        Chefer(),
        CheferLRP(SMOOTH),
        AttnLRP(smoothing=SMOOTH),
        AttnLRP("values", 0, 0, smoothing=SMOOTH),
        uf.interpreters.GradCAM(),
        uf.interpreters.GradCAMPlusPlus(),
        uf.interpreters.LayerCAM(),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["zoo", "torch", "timm-vit-mean", "timm-eva", "transformers-dinov2-registers"])
def test_views_by_finite_differences(interpreter: Interpreter, name: str) -> None:
    check_by_finite_differences(interpreter, name)


@pytest.mark.parametrize("name", ["timm-vit-mean", "tokens-first-mean"])
def test_cams_view_by_finite_differences(name: str) -> None:
    check_by_finite_differences(uf.interpreters.CAM(), name)


def check_by_finite_differences(interpreter: Interpreter, name: str) -> None:
    case = CASES[name]
    classifier = case.classifier()
    view = uf.System(classifier, {"it": interpreter}).view("float64", size=case.size)
    torch.manual_seed(2)
    images = torch.rand(2, 3, *case.size, dtype=torch.float64)
    target = torch.rand(2, *case.size, dtype=torch.float64)

    def loss(given: Tensor) -> Tensor:
        reading, _ = view.read(given, lambda _: CLASSES, {"it": {}}, graph=True)
        maps = reading.maps["it"]
        return (maps - target[:, : maps.shape[1], : maps.shape[2]]).square().sum()

    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf), leaf)
    direction = torch.randn_like(images)
    step = 1e-6
    ahead, behind = (float(loss((images + sign * step * direction).requires_grad_()).detach()) for sign in (1, -1))
    assert float((gradient * direction).sum()) == pytest.approx((ahead - behind) / (2 * step), rel=2e-3, abs=1e-6)
    assert float(gradient.abs().max()) > 1e-6


class Masked(nn.Module):
    """Attention by torch's function, with everything that it takes."""

    def __init__(self, **options: object) -> None:
        super().__init__()
        self.options = options

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        result: Tensor = F.scaled_dot_product_attention(query, key, value, **self.options)
        return result


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": 0.3},
        {"is_causal": True},
        {"attn_mask": torch.randn(5, 5)},
        {"attn_mask": torch.rand(5, 5) > 0.3},
        {"enable_gqa": True},
    ],
    ids=["plain", "scale", "causal", "added mask", "boolean mask", "grouped heads"],
)
def test_recorded_attention_is_torchs(options: dict[str, object]) -> None:
    if isinstance(options.get("attn_mask"), Tensor) and options["attn_mask"].dtype == torch.bool:
        options["attn_mask"].fill_diagonal_(True)
    torch.manual_seed(0)
    query = torch.randn(2, 4, 5, 8)
    key, value = (torch.randn(2, 2 if "enable_gqa" in options else 4, 5, 8) for _ in range(2))
    expected = Masked(**options)(query, key, value)
    with AttentionTap() as tap:
        found = Masked(**options)(query, key, value)
    assert torch.allclose(found, expected, atol=1e-6)
    (matrix,) = tap.matrices
    assert matrix.shape == (2, 4, 5, 5)
    assert torch.allclose(matrix.sum(-1), torch.ones(2, 4, 5))


@pytest.mark.parametrize("asked", [{"need_weights": False}, {}, {"average_attn_weights": False}])
def test_torchs_multi_head_attention_gives_its_matrices_with_a_gradient(asked: dict[str, bool]) -> None:
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(16, 4, batch_first=True).eval()
    tokens = torch.randn(3, 6, 16, requires_grad=True)
    expected, weights = layer(tokens, tokens, tokens, **asked)
    with AttentionTap() as tap:
        found, seen = layer(tokens, tokens, tokens, **asked)
    assert torch.allclose(found, expected, atol=1e-6)
    assert (seen is None) == (weights is None)
    if weights is not None:
        assert torch.allclose(seen, weights, atol=1e-6)
    matrix = by_head(tap.matrices[0], 3)
    assert matrix is not None
    assert matrix.shape == (3, 4, 6, 6)
    (gradient,) = torch.autograd.grad(found.sum(), tap.matrices)
    assert float(gradient.abs().max()) > 0


def test_rollout_by_name() -> None:
    for name, expected in {
        "rollout": Rollout(),
        "rollout:max": Rollout("max"),
        "rollout:0.9": Rollout(discard=0.9),
        "rollout:min:0.5": Rollout("min", 0.5),
    }.items():
        assert uf.interpreters.create(name) == expected
        assert uf.interpreters.create(uf.interpreters.canonical(name)) == expected


def test_bad_settings() -> None:
    with pytest.raises(InputError, match=r"fusion is 'median'"):
        uf.interpreters.create("rollout:median")
    with pytest.raises(InputError, match=r"fusion is 'median'"):
        uf.interpreters.create("rollout:median:0.9")
    for share in ("1", "nan", "-0.1"):
        with pytest.raises(InputError, match=r"discard is .*; expected a share from 0 to below 1"):
            uf.interpreters.create(f"rollout:{share}")
    with pytest.raises(InputError, match=r"discard is 1\.0; expected a share from 0 to below 1"):
        Rollout(discard=1.0)


@pytest.mark.parametrize("name", ["attention", "rollout", "chefer", "chefer-lrp"])
def test_networks_without_attention_between_all_tokens(name: str, classifier: uf.Classifier, images: Tensor) -> None:
    interpreter = uf.interpreters.create(name)
    with pytest.raises(InterpreterError, match="no attention was seen in the forward pass"):
        interpreter.maps(classifier, images, [0] * len(images))
    swin = CASES["timm-swin"]
    with pytest.raises(InterpreterError, match=r"\(192, 2, 16, 16\)\] for 8 images: attention in windows"):
        interpreter.maps(swin.classifier(), pictures(), CLASSES)


class Both(tiny.Tiny):
    """A transformer whose head reads the class token beside the mean of the others."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(2 * tiny.WIDTH, 4).double()

    def forward(self, images: Tensor) -> Tensor:
        patches = self.embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(images), -1, -1), patches], 1) + self.places
        tokens = self.norm(self.blocks(tokens))
        logits: Tensor = self.head(torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1))
        return logits


@pytest.mark.parametrize("interpreter", [Attention(), Rollout(), Chefer(), CheferLRP()], ids=lambda part: part.name)
def test_a_name_of_features_changes_no_map_of_attention(interpreter: Interpreter) -> None:
    images, network = tiny.pictures(), Both().eval()
    expected = interpreter.maps(uf.Classifier(network), images, CLASSES)
    assert torch.equal(interpreter.maps(uf.Classifier(network, features="blocks.1.norm1"), images, CLASSES), expected)
