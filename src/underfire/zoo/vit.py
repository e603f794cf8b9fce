"""A small vision transformer for the zoo, in the usual style of PyTorch."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from underfire.zoo.networks import BasicBlock, initialise


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2).

    Args:
        width: channels of a token.
        heads: number of heads; it divides ``width``.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        count, length, width = tokens.shape
        parts = self.qkv(tokens).view(count, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        joined: Tensor = self.proj(mixed.transpose(1, 2).reshape(count, length, width))
        return joined


class Block(nn.Module):
    """Attention and a two-layer perceptron, each after a layer norm and with a shortcut (Dosovitskiy et al. 2021).

    Args:
        width: channels of a token.
        heads: number of heads of the attention.
        expansion: the hidden layer of the perceptron has ``expansion * width`` channels.
    """

    def __init__(self, width: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, expansion * width)
        self.fc2 = nn.Linear(expansion * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        added: Tensor = self.fc2(F.gelu(self.fc1(self.norm2(tokens))))
        return tokens + added


class VisionTransformer(nn.Module):
    """A vision transformer (Dosovitskiy et al. 2021) whose tokens come from residual convolutions.

    Small data sets need that: a transformer on bare patches has to learn from the data what a convolution knows (Xiao
    et al. 2021). A class token is put before the tokens of the image, and the head reads that token alone.

    Args:
        image_size: height and width, multiples of ``stride * 2 ** blocks``.
        stride: stride of the first convolution.
        blocks: residual blocks of stride 2 after that. A token stands for ``stride * 2 ** blocks`` pixels a side.
        width: channels of a token, a multiple of ``8 * 2 ** blocks``.
        depth: number of transformer blocks.
        heads: number of heads of each attention.
        classes: number of logits.
        channels: 1 or 3.
        expansion: of the perceptrons.
    """

    def __init__(
        self,
        image_size: tuple[int, int] = (64, 64),
        stride: int = 2,
        blocks: int = 2,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        classes: int = 10,
        channels: int = 3,
        expansion: int = 2,
    ) -> None:
        super().__init__()
        widths = [width >> (blocks - step) for step in range(blocks + 1)]
        self.stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
            *(BasicBlock(before, after, 2) for before, after in pairwise(widths)),
        )
        side = stride << blocks
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + image_size[0] // side * (image_size[1] // side), width))
        self.blocks = nn.Sequential(*(Block(width, heads, expansion) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)
        initialise(self)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.stem(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], 1) + self.pos_embed
        tokens = self.norm(self.blocks(tokens))
        logits: Tensor = self.head(tokens[:, 0])
        return logits
