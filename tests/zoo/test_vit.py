"""The small vision transformer: its shape and parts, and its training by AdamW."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from underfire.zoo.recipes import OneCycle, Recipe, find
from underfire.zoo.training import train
from underfire.zoo.vit import Attention, Block, VisionTransformer


def test_numbers_of_weights() -> None:
    """Per block 4 width^2 of attention and 4 width^2 of a perceptron with expansion 2, and biases and norms."""
    width = 64
    network = VisionTransformer()
    per_block = 8 * width**2 + (3 + 1 + 2 + 1) * width + 4 * width
    assert sum(weight.numel() for weight in network.blocks.parameters()) == 4 * per_block
    assert network.pos_embed.shape == (1, 1 + 8 * 8, width)
    assert VisionTransformer((64, 96), 4, 1, 32, 1, 2).pos_embed.shape == (1, 1 + 8 * 12, 32)


def test_attention_is_softmax_times_values_head_by_head() -> None:
    torch.manual_seed(0)
    layer, tokens = Attention(8, 2), torch.randn(3, 5, 8)
    query, key, value = layer.qkv(tokens).split(8, 2)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        weights = torch.softmax(query[:, :, head] @ key[:, :, head].mT / 4**0.5, 2)
        heads.append(weights @ value[:, :, head])
    assert torch.allclose(layer(tokens), layer.proj(torch.cat(heads, 2)), atol=1e-6)


def test_a_block_adds_to_its_tokens() -> None:
    torch.manual_seed(0)
    block, tokens = Block(8, 2, 2), torch.randn(3, 5, 8)
    middle = tokens + block.attn(block.norm1(tokens))
    expected = middle + block.fc2(torch.nn.functional.gelu(block.fc1(block.norm2(middle))))
    assert torch.allclose(block(tokens), expected, atol=1e-6)


def test_the_head_reads_the_class_token_alone() -> None:
    torch.manual_seed(0)
    network = VisionTransformer((16, 16), 2, 1, 16, 1, 2, 3).eval()
    kept: list[Tensor] = []
    network.norm.register_forward_hook(lambda _m, _i, out: kept.append(out))
    logits = network(torch.rand(2, 3, 16, 16))
    (gradient,) = torch.autograd.grad(logits.sum(), kept[0])
    assert bool(gradient[:, 0].any())
    assert not gradient[:, 1:].any()


def test_training_takes_the_optimiser_of_its_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[float] = []
    original = torch.optim.AdamW.step

    def step(self: torch.optim.AdamW, *arguments: object) -> object:
        made.append(self.param_groups[0]["weight_decay"])
        return original(self, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    recipe: Recipe = replace(
        find("scenes-vit"),
        network=lambda: VisionTransformer((16, 16), 2, 1, 16, 1, 2),
        image_size=(16, 16),
        batch_size=4,
        phases=(OneCycle(2, 0.01),),
    )
    images = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = (images, torch.arange(8))
    train(recipe, data, data, tmp_path)
    assert made == [0.05] * 4
    assert recipe.optimising == "AdamW, weight decay 0.05"
    assert find("scenes-resnet").optimising == "SGD with Nesterov momentum 0.9, weight decay 0.0001"
