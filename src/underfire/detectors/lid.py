"""Local intrinsic dimensionality of a network's activations (Ma et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from underfire import randomness
from underfire.arguments import check_at_least, check_between, whole_number
from underfire.attacks.terms import Point
from underfire.batching import in_batches
from underfire.classifiers import Classifier
from underfire.detectors.contract import Detector, State
from underfire.detectors.logistic import evidence, fit_logistic
from underfire.detectors.split import Split
from underfire.errors import InputError
from underfire.numerics import judging
from underfire.system import System

SMALLEST_RATIO = 1e-12
"""The smallest ratio of two distances: an image may be among the references, at distance 0."""

SMALLEST_MEAN = 1e-6
"""The smallest mean of logarithms: if all k neighbours were equally far, the dimensionality would be infinite."""

SIDE = 8
"""Activation maps are averaged to at most this height and width, so that networks for large images fit into memory."""


@dataclass(frozen=True)
class LID(Detector):
    """Local intrinsic dimensionality at each layer, and a logistic regression on it (Ma et al. 2018).

    The estimate at one layer is ``-1 / mean(log(r_i / r_k))`` over the distances r_1 <= ... <= r_k of the image's
    activations to those of its k nearest neighbours among reference images (equation 4). Layers are the outputs of all
    convolutions and linear layers, averaged to at most 8 x 8 cells. Benign images, and the same images with noise of
    the size of an attack, count as benign in the regression; the score is its log-odds.

    The references are benign images of the fit: 100 of them, or half of all if there are fewer than 200. Images whose
    attacked form is there are taken last, and the attacked form of a reference is left out.

    Args:
        neighbours: k; 10 to 50 in the paper.
        references: the number of reference images, 100 in the paper.
        noise: the size of the noise in pixel units.
        seed: of the noise.
    """

    neighbours: int = 20
    references: int = 100
    noise: float = 8 / 255
    seed: int = 0
    name: ClassVar[str] = "lid"
    learns: ClassVar[bool] = True
    needs_attacked: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, least in (("neighbours", 2), ("references", None), ("seed", None)):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), least))
        check_at_least("references", self.references, self.neighbours, ", the number of neighbours")
        check_between("noise", self.noise, 0, 1, "a size in pixel units in [0, 1), such as 8/255", "[)")

    @classmethod
    def from_argument(cls, argument: str) -> Self:
        """Make the detector from the number of neighbours, as in ``lid:30``."""
        if not (argument.isascii() and argument.isdigit()):
            raise InputError(f"detector is {f'lid:{argument}'!r}; expected a number of neighbours, as in lid:20.")
        return cls(neighbours=int(argument), references=max(100, 2 * int(argument)))

    @property
    def title(self) -> str:
        return f"{self.name} k={self.neighbours}"

    def learn(self, system: System, benign: Split, attacked: Split | None) -> State:
        assert attacked is not None
        chosen, rest = self._divided(benign, attacked)
        references = benign.images[chosen]
        held = {benign.members.ids[place] for place in chosen}
        kept = [place for place, source in enumerate(attacked.members.ids) if source not in held]
        if not kept:
            raise InputError(
                "attacked: every image is made from one of the reference images of lid. Give more benign images, which "
                "are not those that were attacked."
            )
        clean = benign.images[rest]
        ids = randomness.identify(clean)
        drawn = randomness.uniform(self.seed, ids, "lid", 0, clean.shape[1:])
        noisy = (clean + (2 * drawn - 1) * self.noise).clamp(0, 1)
        negatives = torch.cat([clean, noisy]) if self.noise else clean
        values = [self._values(system.classifier, references, each) for each in (negatives, attacked.images[kept])]
        levels = (references * 255).round().to(torch.uint8)
        return {"references": levels, **fit_logistic(*values)}

    def measure(self, system: System, state: State, images: Tensor) -> Tensor:
        references = state["references"].float() / 255
        return evidence(state, self._values(system.classifier, references, images))

    def differentiable(self, system: System, state: State) -> Callable[[Point], Tensor]:
        """Return the score with its gradient. Its pass of the network stands beside those that the attack counts."""
        classifier = system.classifier
        with classifier.evaluating(), torch.no_grad():
            held = activations(classifier, state["references"].float() / 255)

        def score(point: Point) -> Tensor:
            with classifier.evaluating():
                own = activations(classifier, point.image, detach=False)
            pairs = zip(own, held, strict=True)
            values = torch.stack([dimensionality(each, other, self.neighbours) for each, other in pairs], 1)
            return evidence(state, values).to(point.image)

        return score

    def _divided(self, benign: Split, attacked: Split) -> tuple[list[int], list[int]]:
        """Choose the references among the benign images, and return their places, and those of the rest."""
        needed = 2 * (self.neighbours + 1)
        if len(benign) < needed:
            raise InputError(
                f"benign holds {len(benign)} images, too few for lid with {self.neighbours} neighbours: at least "
                f"{needed} are needed, half of them as references. On the command line they are --count images and the "
                "clean ones of the attacked runs."
            )
        sources = set(attacked.members.ids)
        order = sorted(range(len(benign)), key=lambda place: benign.members.ids[place] in sources)
        count = min(self.references, len(benign) // 2)
        return sorted(order[:count]), sorted(order[count:])

    def _values(self, classifier: Classifier, references: Tensor, images: Tensor) -> Tensor:
        """Estimate the dimensionality at each layer: float64 N x layers."""
        with classifier.evaluating(), judging(classifier.device), torch.no_grad():
            held: list[Tensor] = []

            def gather(chunk: Tensor) -> Tensor:
                parts = activations(classifier, chunk)
                sizes.extend([part.shape[1] for part in parts] if not sizes else [])
                return torch.cat(parts, 1)

            sizes: list[int] = []
            held = list(in_batches(gather, references, device=classifier.device).split(sizes, 1))

            def look(chunk: Tensor) -> Tensor:
                parts = zip(activations(classifier, chunk), held, strict=True)
                return torch.stack([dimensionality(own, other, self.neighbours) for own, other in parts], 1)

            return in_batches(look, images, device=classifier.device)


def activations(classifier: Classifier, images: Tensor, *, detach: bool = True) -> list[Tensor]:
    """Run the network, and return the outputs of all convolutions and linear layers, float64 N x D on the CPU.

    They are in the order of the network's modules, and as the network leaves them: an in-place rectifier behind a
    convolution changes what it put out. A module that is called several times counts with its last call;
    modules that are not called, or whose output has no row for each image, are left out. They carry a gradient if
    ``detach`` is False.
    """
    with _recorded(classifier.module) as found:
        classifier.run(images.to(classifier.device))
        kept = [found[name] for name in sorted(found) if len(found[name]) == len(images)]
        return [_rows(each.detach() if detach else each) for each in kept]


@contextmanager
def _recorded(network: nn.Module) -> Iterator[dict[int, Tensor]]:
    """Context that records the outputs of convolutions and linear layers by their place among the modules."""
    found: dict[int, Tensor] = {}

    def keeper(place: int) -> Callable[..., None]:
        def keep(module: nn.Module, given: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim > 1:
                found[place] = output

        return keep

    handles = [
        module.register_forward_hook(keeper(place))
        for place, module in enumerate(network.modules())
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _rows(output: Tensor) -> Tensor:
    """Return one row per image: maps are averaged to at most ``SIDE`` cells a side, tokens are averaged."""
    values = output.float()
    if values.ndim == 4:
        size = (min(SIDE, values.shape[2]), min(SIDE, values.shape[3]))
        values = F.adaptive_avg_pool2d(values, size).flatten(1)
    elif values.ndim > 2:
        values = values.flatten(1, -2).mean(1)
    return values.cpu().double()


def dimensionality(rows: Tensor, references: Tensor, neighbours: int) -> Tensor:
    """Estimate the local intrinsic dimensionality of N rows among R references, float64 N (Ma et al. 2018, eq. 4)."""
    distances = torch.cdist(rows, references, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distances.topk(neighbours, dim=1, largest=False).values.sort(dim=1).values
    ratios = nearest / nearest[:, -1:].clamp_min(torch.finfo(nearest.dtype).tiny)
    return 1 / (-ratios.clamp_min(SMALLEST_RATIO).log().mean(1)).clamp_min(SMALLEST_MEAN)
