"""How often intervals of joint success hold the truth, by simulation.

Each line draws images from a model whose true joint success is known. An image has a scale of its own; its noise draws,
and its distance under the attack, follow that scale more or less. Maps of other images are far away, so that noise sets
the limit::

    python -m benchmarks.intervals 500
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from underfire.attacks.intervals import JointIntervals, Outcome
from underfire.attacks.limits import kept_limit

DRAWS = 5
"""Noise draws of an image."""


@dataclass(frozen=True)
class Model:
    """A distribution of images; all distances are lognormal, and the median under noise is 0.05.

    Args:
        between: the spread between images under noise.
        within: the spread between the noise draws of an image.
        shared: the correlation of an image's distance under the attack with its scale under noise.
        shift: the logarithm of the median under the attack, in units of the median under noise.
        spread: the spread under the attack.
    """

    between: float
    within: float
    shared: float
    shift: float
    spread: float

    def draw(self, generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw noise distances N x 5, distances under the attack N, and N flags: the class is reached."""
        scale, other = generator.standard_normal((2, count))
        noise = self.between * scale[:, None] + self.within * generator.standard_normal((count, DRAWS))
        own = self.shift + self.spread * (self.shared * scale + (1 - self.shared**2) ** 0.5 * other)
        return 0.05 * np.exp(noise), 0.05 * np.exp(own), generator.random(count) < 0.95

    def truth(self) -> float:
        """Compute the true joint success, to about 0.001."""
        noise, own, reached = self.draw(np.random.default_rng(99), 400_000)
        return float((reached & (own < np.quantile(noise, 0.95))).mean())


MODELS = {
    "noise differs between images": Model(0.5, 0.1, 0.0, 0.6, 0.6),
    "noise differs between draws": Model(0.15, 0.5, 0.0, 0.6, 0.6),
    "the attack moves the same images": Model(0.5, 0.2, 0.8, 0.6, 0.6),
    "distances lie around the limit": Model(0.4, 0.2, 0.0, 0.6, 0.2),
    "long tails": Model(0.8, 0.3, 0.3, 0.9, 0.8),
    "most maps are kept": Model(0.4, 0.2, 0.3, -0.3, 0.5),
    "few maps are kept": Model(0.4, 0.2, 0.3, 1.4, 0.5),
}


def covered(model: Model, count: int, repeats: int, rounds: int = 300) -> tuple[float, float]:
    """Return the share of intervals that hold the truth, and their mean width."""
    generator, truth = np.random.default_rng(count), model.truth()
    maps = 20 * torch.eye(count).view(count, 1, count)  # any two are far apart
    hits, width = 0, 0.0
    for seed in range(repeats):
        noise, own, reached = model.draw(generator, count)
        limit = kept_limit(noise, np.ones(count, dtype=bool), lambda rows: maps[list(rows)])
        found = JointIntervals({"": limit}, rounds, seed).joint(Outcome(reached, {"": own}))
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= truth <= found.high
        width += found.high - found.low
    return hits / repeats, width / repeats


def lines(repeats: int) -> Iterator[str]:
    """Yield the rows of a table in Markdown."""
    yield "| model | true joint success | 8 images | 16 | 32 | 100 |"
    yield "|---|---|---|---|---|---|"
    for name, model in MODELS.items():
        cells = [covered(model, count, repeats) for count in (8, 16, 32, 100)]
        shown = " | ".join(f"{100 * share:.1f} % ({width:.2f} wide)" for share, width in cells)
        yield f"| {name} | {model.truth():.3f} | {shown} |"


if __name__ == "__main__":
    for line in lines(int(sys.argv[1]) if sys.argv[1:] else 500):
        print(line, flush=True)
