"""Small networks with attention in unusual places: torch's own layers, windows, channels, tokens that come first."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Encoder(nn.Module):
    """torch's own encoder layers: with ``nn.MultiheadAttention`` whose matrices are asked for inside torch."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 16, 16)
        self.token = nn.Parameter(torch.zeros(1, 1, 32))
        layer = nn.TransformerEncoderLayer(32, 2, 64, activation="gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 5)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.stem(images).flatten(2).transpose(1, 2)
        tokens = self.layers(torch.cat([self.token.expand(len(patches), -1, -1), patches], 1))
        logits: Tensor = self.head(tokens[:, 0])
        return logits


class Windows(nn.Module):
    """Attention in windows of 4 x 4 tokens by torch's layer, whose matrices are (N * windows * heads) x 16 x 16."""

    def __init__(self, norm_first: bool) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.stem, self.norm, self.last = nn.Conv2d(3, 16, 8, 8), nn.LayerNorm(16), nn.LayerNorm(16)
        self.inner, self.head = nn.MultiheadAttention(16, 2, batch_first=True), nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.stem(images).permute(0, 2, 3, 1)
        tokens = self.norm(tokens) if self.norm_first else tokens
        count, rows, columns = len(tokens), tokens.shape[1] // 4, tokens.shape[2] // 4
        windows = tokens.unflatten(1, (rows, 4)).unflatten(3, (columns, 4)).transpose(2, 3).reshape(-1, 16, 16)
        windows = windows if self.norm_first else self.norm(windows)
        windows = windows + self.inner(windows, windows, windows)[0]
        logits: Tensor = self.head(self.last(windows).view(count, -1, 16).mean(1))
        return logits


class Channels(nn.Module):
    """Attention between 16 channels: its matrices are square, and as large as those of 4 x 4 tokens would be."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 16, 16), nn.LayerNorm(16)
        self.qkv, self.head = nn.Linear(16, 48), nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.stem(images).flatten(2).transpose(1, 2)
        query, key, value = self.qkv(self.norm(tokens)).chunk(3, 2)
        mixed = (query.mT @ key / 6).softmax(-1) @ value.mT
        logits: Tensor = self.head((tokens + mixed.mT).mean(1))
        return logits


class TokensFirst(nn.Module):
    """Tokens as L x N x C, as torch's layers take them unless ``batch_first`` is set."""

    def __init__(self, mean: bool = False) -> None:
        super().__init__()
        self.mean = mean
        self.stem, self.token = nn.Conv2d(3, 32, 16, 16), nn.Parameter(torch.zeros(1, 1, 32))
        self.norms, self.last = nn.ModuleList(nn.LayerNorm(32) for _ in range(2)), nn.LayerNorm(32)
        self.layers = nn.ModuleList(nn.MultiheadAttention(32, 2) for _ in range(2))
        self.head = nn.Linear(32, 5)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.stem(images).flatten(2).permute(2, 0, 1)
        tokens = tokens if self.mean else torch.cat([self.token.expand(-1, len(images), -1), tokens])
        for norm, layer in zip(self.norms, self.layers, strict=True):
            normed = norm(tokens)
            tokens = tokens + layer(normed, normed, normed)[0]
        tokens = self.last(tokens)
        logits: Tensor = self.head(tokens.mean(0) if self.mean else tokens[0])
        return logits


class NormedAcross(nn.Module):
    """Queries and keys that are normalised over all heads together, as in InternViT, so that they look like tokens."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        self.stem, self.token = nn.Conv2d(3, 32, 16, 16), nn.Parameter(torch.zeros(1, 1, 32))
        self.norms = nn.ModuleList(nn.LayerNorm(32) for _ in range(2))
        self.mixes = nn.ModuleList(nn.Linear(32, 96) for _ in range(2))
        self.of_queries, self.of_keys = (nn.ModuleList(nn.LayerNorm(32) for _ in range(2)) for _ in range(2))
        self.head = nn.Linear(32, 5)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.stem(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(patches), -1, -1), patches], 1)
        for norm, mix, of_query, of_key in zip(self.norms, self.mixes, self.of_queries, self.of_keys, strict=True):
            normed = norm(tokens)
            if self.fused:
                query, key, value = mix(normed).chunk(3, 2)
            else:
                query, key, value = (nn.functional.linear(normed, weight) for weight in mix.weight.chunk(3))
            query, key = of_query(query), of_key(key)
            query, key, value = (each.unflatten(2, (2, 16)).transpose(1, 2) for each in (query, key, value))
            mixed = nn.functional.scaled_dot_product_attention(query, key, value)
            tokens = tokens + mixed.transpose(1, 2).flatten(2)
        logits: Tensor = self.head(tokens[:, 0])
        return logits
