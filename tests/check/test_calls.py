"""The lines of a check about calling the network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.conftest import smooth_images, tiny_network
from underfire.check.calls import repeats


class Keeping(nn.Module):
    """A network that keeps a mean of its inputs, or a count of its passes, in evaluation mode, too."""

    running: Tensor
    passes: Tensor

    def __init__(self, what: str) -> None:
        super().__init__()
        self.network, self.what = tiny_network(), what
        self.register_buffer("running", torch.zeros(3))
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Tensor) -> Tensor:
        if self.what == "running":
            self.running = torch.lerp(self.running, images.mean((0, 2, 3)).detach(), 1e-4)
        elif self.what == "passes":
            self.passes += 1
        logits: Tensor = self.network(images - self.running.view(1, -1, 1, 1))
        return logits


@pytest.mark.parametrize("what", ["running", "passes"])
def test_a_network_that_every_pass_changes(what: str) -> None:
    """Regression: nothing was said of it, although the hash of the classifier changes with every pass."""
    classifier = uf.Classifier(Keeping(what).eval())
    before = classifier.sha256()
    line = repeats(classifier, smooth_images(8))
    assert before != classifier.sha256()
    assert line.state == "hint"
    assert f"each pass changes the network, also in evaluation mode ({what})" in line.text
    assert line.details["changed"] == [what]


def test_a_network_that_stays_as_it_is() -> None:
    line = repeats(uf.Classifier(Keeping("nothing").eval()), smooth_images(8))
    assert (line.state, line.details["changed"]) == ("good", [])
