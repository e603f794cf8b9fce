"""Small networks with random weights, of the architectures that token features and attention are for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.classifiers.sources.models import package
from underfire.zoo.vit import VisionTransformer

SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2}


@dataclass(frozen=True)
class Case:
    """An architecture in a small size, and what must be found in it.

    Args:
        build: makes the network.
        shape: of the features, C x h x w.
        size: height and width of the images.
        cam: True if the head is linear on the mean of the features.
        attention: True if all tokens attend to all others.
        extra: tokens without a place.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, int, int]
    size: tuple[int, int] = (64, 64)
    cam: bool = False
    attention: bool = False
    extra: int = 0

    def classifier(self, features: str | None = None) -> uf.Classifier:
        torch.manual_seed(0)
        network = self.build().eval()
        for name, weight in network.named_parameters():  # random heads too: some libraries start them at zero
            if weight.ndim > 1 or "token" in name:
                nn.init.normal_(weight, std=0.1)
        return uf.Classifier(network, image_size=self.size, features=features)


def timm(name: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        made: nn.Module = package("timm").create_model(name, num_classes=5, **options)
        return made

    return build


def hugging_face(kind: str, head: str = "ForImageClassification", **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        library = package("transformers")
        if not hasattr(library, f"{kind}Config"):
            pytest.skip(f"transformers {library.__version__} has no {kind}")
        made: nn.Module = getattr(library, kind + head)(getattr(library, kind + "Config")(num_labels=5, **options))
        return made

    return build


def torchvision(kind: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        module, _, name = kind.partition(".")
        models = package("torchvision").models
        made: nn.Module = getattr(getattr(models, module), name)(num_classes=5, **options)
        return made

    return build


def convnext() -> nn.Module:
    models = package("torchvision").models.convnext
    settings = [models.CNBlockConfig(16, 32, 1), models.CNBlockConfig(32, None, 1)]
    made: nn.Module = models.ConvNeXt(settings, num_classes=5)
    return made


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


VIT = {"img_size": (64, 96), "patch_size": 16, **SMALL}
WIDE = {"size": (64, 96), "shape": (32, 4, 6)}
HF = {
    "image_size": 64,
    "patch_size": 16,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
TOKENS = {"shape": (32, 4, 4), "attention": True}

CASES: dict[str, Case] = {
    "zoo": Case(lambda: VisionTransformer((64, 96), 4, 2, 32, 2, 2, 5), **WIDE, attention=True, extra=1),
    "torch": Case(Encoder, **TOKENS, extra=1),
    "tokens-first": Case(TokensFirst, **TOKENS, extra=1),
    "tokens-first-mean": Case(lambda: TokensFirst(mean=True), **TOKENS, cam=True),
    "windows-normed-before": Case(lambda: Windows(True), (16, 8, 8), cam=True),
    "windows-normed-after": Case(lambda: Windows(False), (16, 8, 8), cam=True),
    "channels": Case(Channels, (16, 6, 6), (96, 96), cam=True),
    "normed-across": Case(lambda: NormedAcross(True), **TOKENS, extra=1),
    "normed-across-apart": Case(lambda: NormedAcross(False), **TOKENS, extra=1),
    "timm-vit": Case(timm("vit_tiny_patch16_224", **VIT), **WIDE, attention=True, extra=1),
    "timm-vit-mean": Case(
        timm("vit_tiny_patch16_224", **VIT, global_pool="avg", fc_norm=False), **WIDE, cam=True, attention=True, extra=1
    ),
    "timm-vit-normed-queries": Case(timm("vit_tiny_patch16_224", **VIT, qk_norm=True), **WIDE, attention=True, extra=1),
    "timm-vit-long-patches": Case(
        timm("vit_tiny_patch16_224", **VIT | {"patch_size": (8, 16)}), (32, 8, 6), (64, 96), attention=True, extra=1
    ),
    "timm-deit": Case(timm("deit_tiny_distilled_patch16_224", **VIT), **WIDE, attention=True, extra=2),
    "timm-beit": Case(timm("beit_base_patch16_224", **VIT), **WIDE, attention=True, extra=1),
    "timm-eva": Case(timm("eva02_tiny_patch14_224", **VIT), **WIDE, attention=True, extra=1),
    "timm-dinov2": Case(timm("vit_small_patch14_reg4_dinov2", **VIT), **WIDE, attention=True, extra=5),
    "timm-dinov3": Case(timm("vit_small_patch16_dinov3", **VIT), **WIDE, cam=True, attention=True, extra=5),
    "timm-swin": Case(
        timm(
            "swin_tiny_patch4_window7_224",
            img_size=(64, 96),
            embed_dim=16,
            depths=(1, 1),
            num_heads=(2, 2),
            window_size=4,
        ),
        (32, 8, 12),
        (64, 96),
        cam=True,
    ),
    "timm-davit": Case(timm("davit_tiny", embed_dims=(16, 32), depths=(1, 1), num_heads=(2, 2)), (32, 8, 8)),
    "timm-maxvit": Case(
        timm("maxvit_tiny_rw_224", img_size=64, embed_dim=(32, 64), depths=(1, 1)), (64, 8, 8), cam=True
    ),
    "timm-mobilevit": Case(timm("mobilevit_xxs"), (320, 2, 2), cam=True),
    "timm-convnext": Case(timm("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 8, 16, 32)), (32, 2, 3), (64, 96)),
    "torchvision-vit": Case(
        torchvision(
            "vision_transformer.VisionTransformer",
            image_size=64,
            patch_size=16,
            num_layers=2,
            num_heads=2,
            hidden_dim=32,
            mlp_dim=64,
        ),
        **TOKENS,
        extra=1,
    ),
    "torchvision-swin": Case(
        torchvision(
            "swin_transformer.SwinTransformer",
            patch_size=[4, 4],
            embed_dim=16,
            depths=[1, 1],
            num_heads=[2, 2],
            window_size=[4, 4],
        ),
        (32, 8, 12),
        (64, 96),
        cam=True,
    ),
    "torchvision-maxvit": Case(
        torchvision(
            "maxvit.MaxVit",
            input_size=(64, 64),
            stem_channels=16,
            partition_size=4,
            block_channels=[16, 32],
            block_layers=[1, 1],
            head_dim=16,
            stochastic_depth_prob=0.0,
        ),
        (32, 8, 8),
    ),
    "torchvision-convnext": Case(convnext, (32, 8, 12), (64, 96)),
    "transformers-vit": Case(hugging_face("ViT", **HF), **TOKENS, extra=1),
    "transformers-vit-eager": Case(hugging_face("ViT", **HF, attn_implementation="eager"), **TOKENS, extra=1),
    "transformers-deit": Case(hugging_face("DeiT", **HF), **TOKENS, extra=2),
    "transformers-deit-teacher": Case(
        hugging_face("DeiT", "ForImageClassificationWithTeacher", **HF), **TOKENS, extra=2
    ),
    "transformers-beit": Case(hugging_face("Beit", **HF, use_relative_position_bias=True), **TOKENS, extra=1),
    "transformers-dinov2": Case(hugging_face("Dinov2", **HF), **TOKENS, extra=1),
    "transformers-dinov2-registers": Case(hugging_face("Dinov2WithRegisters", **HF), **TOKENS, extra=5),
    "transformers-swin": Case(
        hugging_face("Swin", image_size=64, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4),
        (32, 8, 8),
        cam=True,
    ),
    "transformers-convnext": Case(
        hugging_face("ConvNext", hidden_sizes=[16, 32], depths=[1, 1], num_stages=2), (32, 8, 12), (64, 96)
    ),
    "transformers-mobilevit": Case(
        hugging_face(
            "MobileViT", image_size=64, hidden_sizes=[16, 24, 32], neck_hidden_sizes=[8, 8, 16, 16, 24, 24, 64]
        ),
        (64, 2, 2),
        cam=True,
    ),
}
