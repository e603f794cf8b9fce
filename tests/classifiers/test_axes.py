"""Features keep their places if a network moves the axes of its maps before it pools or flattens them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underfire as uf
from underfire.errors import InterpreterError

Pool = Callable[[Tensor], Tensor]

MOVED: dict[str, Pool] = {
    "channels last, flattened": lambda x: x.permute(0, 2, 3, 1).flatten(1),
    "channels last, viewed": lambda x: x.permute(0, 2, 3, 1).contiguous().view(len(x), -1),
    "activation after the move": lambda x: F.softplus(x.movedim(1, -1) + 1).reshape(len(x), -1),
    "moved back": lambda x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2).flatten(1),
    "sum": lambda x: x.permute(0, 2, 3, 1).sum((1, 2)),
    "two means": lambda x: x.permute(0, 2, 3, 1).mean(1).mean(1),
    "two maxima": lambda x: torch.movedim(x, 1, 3).amax(2, keepdim=True).amax(1).flatten(1),
    "list": lambda x: x.permute(0, 2, 3, 1).flatten(1, 2).mean(1),
    "height and width swapped": lambda x: x.transpose(2, 3).flatten(1),
    "height and width swapped, pooled": lambda x: x.mT.mean((2, 3)),
    "height and width swapped, as a matrix": lambda x: x.mH.amax((2, 3)),
    "height and width swapped by name": lambda x: torch.adjoint(x).flatten(1),
    "moved in place": lambda x: (x + 0).transpose_(1, 3).mean((1, 2)),
    "channels in the middle": lambda x: torch.swapaxes(x, 1, 2).flatten(1),
}


class Moved(nn.Module):
    """Two convolutions, which make 8 maps of 4 x 6, or as many channels as rows; any pooling; and a head."""

    def __init__(self, pool: Pool, channels: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.pool = pool
        self.first, self.second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, channels, 3, 2, 1)
        self.head = nn.Linear(pool(torch.rand(1, channels, 4, 6)).shape[1], 5)

    def forward(self, images: Tensor) -> Tensor:
        self.maps = self.second(F.relu(self.first(images)))
        logits: Tensor = self.head(self.pool(self.maps))
        return logits


@pytest.mark.parametrize("channels", [8, 4, 6])
@pytest.mark.parametrize("name", MOVED)
def test_features_have_their_places_whatever_the_order_of_axes(name: str, channels: int) -> None:
    """Regression: Grad-CAM read channels as places, and drew height as width, without a word."""
    network = Moved(MOVED[name], channels).eval()
    classifier = uf.Classifier(network)
    images, classes = torch.rand(3, 3, 16, 24), torch.tensor([0, 1, 2])
    recorded = classifier.record(images)
    assert recorded.features is not None
    assert recorded.features.shape == network.maps.shape
    # The activation after the move is the one that is flattened.
    expected = F.softplus(network.maps + 1) if name.startswith("activation") else network.maps
    assert torch.equal(recorded.features, expected)
    total = recorded.logits[:, 1].sum()
    gradient = recorded.gradient(total, graph=True)
    assert gradient is not None
    assert gradient.shape == network.maps.shape
    if not name.startswith("activation"):
        (real,) = torch.autograd.grad(total, network.maps)
        assert torch.equal(gradient, real)
    assert uf.interpreters.GradCAM().maps(classifier, images, classes).shape == (3, 4, 6)


def test_a_named_module_may_return_any_order_of_axes() -> None:
    class Middle(Moved):
        def __init__(self) -> None:
            super().__init__(lambda x: x.flatten(1))
            self.named = nn.Identity()

        def forward(self, images: Tensor) -> Tensor:
            self.maps = self.second(F.relu(self.first(images)))
            logits: Tensor = self.head(self.named(self.maps.transpose(2, 3)).flatten(1))
            return logits

    network = Middle().eval()
    recorded = uf.Classifier(network, features="named").record(torch.rand(2, 3, 16, 24))
    assert recorded.features is not None
    assert torch.equal(recorded.features, network.maps)


class Tokens(nn.Module):
    """Two blocks over tokens, each with a gate made of their mean, and any pooling; no attention."""

    def __init__(self, pool: Pool, first: str = "nlc") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.pool, self.first = pool, first
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(4)])
        self.head = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        order = {"nlc": (0, 2, 1), "lnc": (2, 0, 1)}[self.first]
        x, axis = self.patches(images).flatten(2).permute(order), order.index(2)
        for one, gate in zip(self.layers[:2], self.layers[2:], strict=True):
            x = x + one(x).tanh() * gate(x.mean(axis)).sigmoid().unsqueeze(axis)
        self.tokens = x
        logits: Tensor = self.head(self.pool(x.movedim(axis, 1)))
        return logits


@pytest.mark.parametrize("first", ["nlc", "lnc"])
@pytest.mark.parametrize("count", [1, 3])
def test_tokens_inside_a_block_are_not_the_last_features(first: str, count: int) -> None:
    """Regression: the gate of the last block pools tokens, and these were read without a word."""
    images, classes = torch.rand(count, 3, 16, 16), torch.arange(count)
    pools: list[Pool] = [lambda x: x.std(1), lambda x: x.sum(1), lambda x: x[:, 3]]
    for pool in pools:
        with pytest.raises(InterpreterError, match="none that could be found"):
            uf.interpreters.GradCAM().maps(uf.Classifier(Tokens(pool, first).eval()), images, classes)
    if first == "nlc":
        network = Tokens(lambda x: x.mean(1)).eval()
        recorded = uf.Classifier(network).record(images)
        assert recorded.source is not None
        assert torch.equal(recorded.source, network.tokens)


@pytest.mark.parametrize(
    "pool",
    [
        lambda x: (x.amax(2, keepdim=True) + 0).squeeze_(2)[:, :, None].mean((2, 3)),
        lambda x: (x + 0).unsqueeze_(1).mean(1).mean((2, 3)),
    ],
    ids=["an axis taken away", "an axis added"],
)
def test_axes_may_come_and_go_in_place(pool: Pool) -> None:
    """Regression: the order of four axes stayed on a tensor that had three or five, and the pass failed."""
    classifier = uf.Classifier(Moved(pool).eval())
    maps = uf.interpreters.GradCAM().maps(classifier, torch.rand(2, 3, 16, 24), torch.tensor([0, 1]))
    assert bool(torch.isfinite(maps).all())
