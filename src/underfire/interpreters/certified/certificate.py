"""The certificate of sparsified SmoothGrad: how many of the most important cells stay (Levine et al. 2019, theorem 1).

Each noisy copy of an image contributes 0 or 1 to a cell, and p is the expected value of that. If the image moves by at
most rho in L2, and the noise is Gaussian with standard deviation sigma, then p stays between Phi(Phi^-1(p) - rho /
sigma) and Phi(Phi^-1(p) + rho / sigma) (Cohen et al. 2019; Salman et al. 2019, lemma 2). So the order of two cells
whose bounds do not meet cannot change.

Nobody knows p, but only its mean over n copies. Both the map of the image and that of the changed image are such means.
The certificate allows for that, with a stated confidence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from underfire.arguments import check_at_least, check_between, whole_number
from underfire.errors import InputError
from underfire.interpreters.certified.sparsified import SparsifiedSmoothGrad
from underfire.user_parts import shape_of


@dataclass(frozen=True)
class Certificate:
    """Certificates for the maps of N images.

    Args:
        radius: rho, in L2, for pixels in [0, 1].
        top: K, the number of most important cells that are looked at.
        confidence: the probability, for each image, with which the certificate holds, over the noise of both maps.
        kept: int64 N. Of the K highest cells of the image's map, at least so many are among the K highest cells of
            the map of any image within ``radius``, read with fresh noise.
    """

    radius: float
    top: int
    confidence: float
    kept: Tensor

    @property
    def overlap(self) -> Tensor:
        """The certified share of common cells, ``kept / top``, N."""
        return self.kept.double() / self.top


def bounds(
    maps: Tensor, samples: int, noise: float, radius: float, confidence: float, fresh: int | None = None
) -> tuple[Tensor, Tensor]:
    """Bound the map of every image within ``radius``, in each cell.

    p lies in the interval of Clopper and Pearson, then moves by at most ``radius``, then is estimated again, which adds
    the error of Hoeffding's inequality. All 2 * cells bounds hold at once (union bound), each half of the failure
    probability going to one of the two maps.

    Args:
        maps: N x h x w, the shares of ``samples`` copies in which each cell was selected.
        samples: the number of copies n.
        noise: sigma.
        radius: rho.
        confidence: in (0, 1).
        fresh: the number of copies of the changed image's map; ``samples`` if None.

    Returns:
        The lower and the upper bounds, float64 N x h x w.
    """
    from scipy.special import betaincinv

    cells = maps.shape[1] * maps.shape[2]
    failure = (1 - confidence) / 2 / (2 * cells)
    count = (maps.double() * samples).round().cpu().numpy()
    low = torch.from_numpy(betaincinv(count.clip(min=1), samples - count + 1, failure) * (count > 0))
    upper = betaincinv(count + 1, (samples - count).clip(min=1), 1 - failure)
    high = torch.from_numpy(upper * (count < samples) + (count == samples))
    error = math.sqrt(math.log(1 / failure) / (2 * (fresh or samples)))
    normal = torch.special.ndtri
    moved = [torch.special.ndtr(normal(p) + sign * radius / noise) for p, sign in ((low, -1), (high, 1))]
    return (moved[0] - error).clamp(min=0), (moved[1] + error).clamp(max=1)


def certify(
    maps: Tensor,
    interpreter: SparsifiedSmoothGrad,
    *,
    radius: float,
    top: int | None = None,
    confidence: float = 0.99,
) -> Certificate:
    """Certify how many of the most important cells stay under any change of at most ``radius``.

    Theorem 1 of Levine et al.: let the cells be in falling order. If the lower bounds of the first R are above the
    upper bounds of all from number 2 K - R + 1 on, then at least R of the first K stay among the first K.

    Args:
        maps: the maps of ``interpreter``, N x h x w.
        interpreter: the interpreter that made them. Its seed must not be known to whoever changes the image: the bounds
            hold for noise that is independent of the change.
        radius: rho, in L2, for pixels in [0, 1].
        top: K; the interpreter's share of the cells if None.
        confidence: see ``Certificate``.

    Raises:
        InputError: the radius is negative, the confidence is not in (0, 1), or K exceeds half of the cells; or
            ``maps`` or ``interpreter`` is something else.
    """
    check_at_least("radius", radius, 0)
    check_between("confidence", confidence, 0, 1, "a probability in (0, 1)")
    if not isinstance(interpreter, SparsifiedSmoothGrad):
        raise InputError(f"interpreter is {interpreter!r:.80}; expected the SparsifiedSmoothGrad that made the maps.")
    if not isinstance(maps, Tensor) or maps.ndim != 3:
        raise InputError(f"maps is {shape_of(maps)}; expected a tensor N x h x w.")
    cells = maps.shape[1] * maps.shape[2]
    top = interpreter.cells(maps) if top is None else whole_number("top", top)
    if not 1 <= top <= cells // 2:
        raise InputError(f"top is {top}; expected 1 to {cells // 2}, half of the {cells} cells.")
    low, high = bounds(maps, interpreter.samples, interpreter.noise, radius, confidence)
    order = maps.double().cpu().flatten(1).sort(dim=1, descending=True, stable=True).indices
    # The lowest of the first R lower bounds, and the highest of the upper bounds from each place on.
    lowest = low.flatten(1).gather(1, order).cummin(1).values
    highest = high.flatten(1).gather(1, order).flip(1).cummax(1).values.flip(1)
    kept = torch.zeros(len(maps), dtype=torch.int64)
    for count in range(1, top + 1):
        sure = lowest[:, count - 1] > highest[:, 2 * top - count]
        kept = torch.where(sure, count, kept)
    return Certificate(radius, top, confidence, kept)
