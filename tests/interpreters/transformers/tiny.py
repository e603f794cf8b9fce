"""A tiny transformer in float64 whose attention is written in three ways, and the parts of slow relevance replicas."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underfire as uf

WIDTH, HEADS, PATCH, SIDE = 8, 2, 4, 12
STYLES = ("fused", "softmax", "module")


class Attention(nn.Module):
    """Attention by torch's fused function, by a softmax that is written out, or by ``nn.MultiheadAttention``."""

    def __init__(self, style: str) -> None:
        super().__init__()
        self.style = style
        self.inner = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        if self.style == "module":
            found: Tensor = self.inner(tokens, tokens, tokens, need_weights=False)[0]
            return found
        projected = F.linear(tokens, self.inner.in_proj_weight, self.inner.in_proj_bias)
        query, key, value = projected.unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        if self.style == "fused":
            mixed = F.scaled_dot_product_attention(query, key, value)
        else:
            scores = torch.matmul(query, key.transpose(-1, -2)) / math.sqrt(WIDTH // HEADS)
            mixed = torch.matmul(F.softmax(scores, dim=-1), value)
        result: Tensor = self.inner.out_proj(mixed.transpose(1, 2).flatten(2))
        return result


class Block(nn.Module):
    def __init__(self, style: str) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = Attention(style)
        self.fc1, self.fc2 = nn.Linear(WIDTH, 12), nn.Linear(12, WIDTH)
        self.act = nn.GELU()

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.norm1(tokens))
        result: Tensor = tokens + self.fc2(self.act(self.fc1(self.norm2(tokens))))
        return result


class Tiny(nn.Module):
    """Two blocks on 3 x 3 patches and a class token. Without biases, embeddings and class token if ``plain``."""

    def __init__(self, style: str = "fused", plain: bool = False) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.places = nn.Parameter(torch.zeros(1, 10, WIDTH))
        self.blocks = nn.Sequential(Block(style), Block(style))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4)
        generator = torch.Generator().manual_seed(3)
        self.double().eval()
        with torch.no_grad():
            for name, weight in self.named_parameters():
                if name.endswith("bias") or name in ("token", "places"):
                    weight.copy_(0.0 if plain else 0.3 * torch.randn(weight.shape, generator=generator))
                else:
                    weight.copy_(0.5 * torch.randn(weight.shape, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        patches = self.embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(images), -1, -1), patches], 1) + self.places
        logits: Tensor = self.head(self.norm(self.blocks(tokens))[:, 0])
        return logits


def classifier(style: str = "fused", plain: bool = False) -> uf.Classifier:
    return uf.Classifier(Tiny(style, plain), image_size=SIDE)


def pictures(count: int = 2) -> Tensor:
    return torch.rand(count, 3, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


@dataclass
class Values:
    """The steps of a block for one image: tokens are L x C, and heads are lists of L x d or L x L."""

    before: Tensor
    normed: Tensor
    query: list[Tensor]
    key: list[Tensor]
    value: list[Tensor]
    scores: list[Tensor]
    matrices: list[Tensor]
    mixed: Tensor
    attended: Tensor
    middle: Tensor
    normed2: Tensor
    hidden: Tensor
    gated: Tensor
    added: Tensor


@torch.no_grad()
def values_of(network: Tiny, image: Tensor) -> tuple[Tensor, list[Values], Tensor]:
    """The patches L-1 x 3 P P of an image, what each block computes, and the last tokens."""
    pixels = F.unfold(image.unsqueeze(0), PATCH, stride=PATCH)[0].T
    patches = pixels @ network.embed.weight.flatten(1).T + network.embed.bias
    tokens = torch.cat([network.token[0], patches]) + network.places[0]
    found, size = [], WIDTH // HEADS
    for block in network.blocks:
        normed = block.norm1(tokens)
        inner = block.attention.inner
        projected = normed @ inner.in_proj_weight.T + inner.in_proj_bias
        parts = [[projected[:, part * WIDTH + head * size :][:, :size] for head in range(HEADS)] for part in range(3)]
        scores = [parts[0][head] @ parts[1][head].T / math.sqrt(size) for head in range(HEADS)]
        matrices = [each.softmax(1) for each in scores]
        mixed = torch.cat([matrices[head] @ parts[2][head] for head in range(HEADS)], 1)
        attended = inner.out_proj(mixed)
        middle = tokens + attended
        normed2 = block.norm2(middle)
        hidden = block.fc1(normed2)
        gated = F.gelu(hidden)
        added = block.fc2(gated)
        found.append(
            Values(tokens, normed, *parts, scores, matrices, mixed, attended, middle, normed2, hidden, gated, added)
        )
        tokens = middle + added
    return pixels, found, tokens


EXACT = 1e-12
"""A stabiliser of relevance propagation that absorbs nothing."""


def small(*layers: nn.Module) -> uf.Classifier:
    """A convolution, some layers, pooling and a head, without biases, in float64."""
    torch.manual_seed(0)
    body = (nn.Conv2d(1, 4, 3, bias=False), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3, bias=False))
    return uf.Classifier(nn.Sequential(*body).double(), image_size=8, channels=1)
