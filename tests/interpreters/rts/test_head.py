"""Maskers whose selector is the classifier's head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import underfire as uf
from tests.interpreters.rts.makers import pyramid
from tests.interpreters.rts.test_training import SHORT, blobs, data
from underfire.data import ImageData, TensorData
from underfire.errors import InputError, InterpreterError
from underfire.interpreters import RTS
from underfire.interpreters.rts import MaskerRecipe, train_masker
from underfire.interpreters.rts.files import read_note
from underfire.interpreters.rts.head import head_selector

HEAD = replace(SHORT, selector="head")


def test_the_vectors_by_the_definition() -> None:
    classifier = pyramid()
    images, labels = blobs(32)
    recorded = classifier.prepare().record(images / 255)
    with torch.no_grad():
        vectors = head_selector(recorded, labels)
        assert recorded.features is not None
        pooled = recorded.features.mean((2, 3))
        scores = pooled @ classifier.module.head.weight.T
    own = scores[range(32), labels]
    others = torch.stack([torch.cat([row[:k], row[k + 1 :]]).max() for row, k in zip(scores, labels, strict=True)])
    threshold = (own.mean() + others.mean()) / 2
    mean = pooled.mean(0)
    torch.testing.assert_close(vectors @ mean, scores.mean(0) - threshold)
    across = torch.randn(5, 24)
    across = across - (across @ mean).unsqueeze(1) * mean / mean.square().sum()
    torch.testing.assert_close(across @ vectors.T, across @ classifier.module.head.weight.T, atol=1e-4, rtol=1e-4)


def test_a_training_with_it_knows_classes_that_no_image_shows(tmp_path: Path) -> None:
    images, labels = blobs(40)
    few: ImageData = TensorData(images[labels < 2], labels[labels < 2], name="two of four classes")
    classifier = pyramid()
    reached = train_masker(classifier, few, tmp_path, recipe=HEAD, test=data(16, 2))
    assert (reached["selector_steps"], reached["decoder_steps"]) == (0, 6)
    note = read_note(tmp_path / "rts-pyramid.safetensors")
    assert (note.selector, note.selector_steps) == ("head", 0)
    assert "selector: the classifier's head, not trained; decoder" in (tmp_path / "rts-pyramid.md").read_text()
    vectors = RTS(str(tmp_path)).open(classifier.sha256()).masker.selector.weight
    weight = classifier.module.head.weight.detach()
    shift = vectors - weight
    torch.testing.assert_close(shift, shift[:1].expand_as(shift), msg="one threshold for all classes")
    train_masker(classifier, few, tmp_path, recipe=HEAD, test=data(16, 2), resume=True)


def test_a_network_without_a_linear_head_is_refused(tmp_path: Path) -> None:
    network = pyramid().module
    network.head = nn.Sequential(nn.Linear(24, 12), nn.ReLU(), nn.Linear(12, 4))
    with pytest.raises(InterpreterError, match="selector is 'head', and the logits of this encoder are no linear"):
        train_masker(uf.Classifier(network.eval(), image_size=32), data(16), tmp_path, recipe=HEAD)


def test_other_words_and_steps_are_refused() -> None:
    with pytest.raises(InputError, match=r"unknown selector 'haed'\. Did you mean 'head'"):
        MaskerRecipe(selector="haed")
    with pytest.raises(InputError, match="at least 1 for the selector"):
        MaskerRecipe(selector_steps=0)
    assert MaskerRecipe(selector="head", selector_steps=5).selector_steps == 0
