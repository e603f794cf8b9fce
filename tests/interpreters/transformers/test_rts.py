"""A masker that reads the tokens of a vision transformer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import underfire as uf
from tests.interpreters.transformers.architectures import CASES
from underfire import attacks
from underfire.data import TensorData
from underfire.interpreters import RTS
from underfire.interpreters.rts import MaskerRecipe, train_masker

RECIPE = MaskerRecipe(selector_steps=2, decoder_steps=2, selector_batch=8, decoder_batch=4, width=8)


@pytest.mark.parametrize(("name", "shape"), [("zoo", (16, 24)), ("timm-vit", (4, 6))])
def test_a_masker_is_trained_on_tokens_and_attacked(name: str, shape: tuple[int, int], tmp_path: Path) -> None:
    """Its maps are as fine as the first convolution in front of the transformer, or as its tokens if there are none."""
    case = CASES[name]
    classifier = case.classifier()
    pictures = torch.randint(0, 256, (10, 3, *case.size), generator=torch.Generator().manual_seed(0)).byte()
    train_masker(classifier, TensorData(pictures, torch.arange(10) % 5, name="noise"), tmp_path, recipe=RECIPE)
    images = pictures[:2].float() / 255
    labels = classifier.logits(images).argmax(1)
    interpreter = RTS(masker=tmp_path)
    maps = interpreter.maps(classifier, images, labels)
    assert maps.shape == (2, *shape)
    assert float(maps.std()) > 0
    found = attacks.preset("adv2", eps=8 / 255, steps=(1, 2))(uf.System(classifier, interpreter), images, labels)
    assert bool((found.linf > 0).all())
