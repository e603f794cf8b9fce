"""Small networks with random weights, of the architectures that token features and attention are for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

import underfire as uf
from tests.classifiers.sources.models import package
from tests.interpreters.transformers.networks import Channels, Encoder, NormedAcross, TokensFirst, Windows
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
    "timm-swin-v2": Case(
        timm(
            "swinv2_tiny_window8_256",
            img_size=64,
            embed_dim=16,
            depths=(1, 1),
            num_heads=(2, 2),
            window_size=4,
        ),
        (32, 8, 8),
        cam=True,
    ),
    "timm-xcit": Case(
        timm("xcit_nano_12_p16_224", img_size=64, embed_dim=32, depth=2, num_heads=2, cls_attn_layers=1),
        (32, 4, 4),
        extra=1,
    ),
    "timm-edgenext": Case(timm("edgenext_xx_small"), (168, 2, 2)),
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
