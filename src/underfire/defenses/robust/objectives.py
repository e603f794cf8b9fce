"""The objectives of robust training: weighted sums of cross-entropies and a penalty, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire.classifiers import Recorded
from underfire.defenses.robust.penalties import AttributionNorm, Curvature, MapDiscrepancy, Penalty


@dataclass(frozen=True)
class Objective:
    """A loss of robust training, and what its inner attack ascends: weighted sums of up to three parts.

    Args:
        clean: the weight of the clean image's cross-entropy.
        attacked: the weight of the attacked image's cross-entropy.
        penalty: the part of the loss that the recipe's ``gamma`` weighs; None for none.
        ascend_prediction: True if the inner attack ascends the attacked image's cross-entropy.
        ascend_penalty: True if the inner attack ascends the penalty.
        meaning: one sentence for users.
    """

    clean: float
    attacked: float
    penalty: Penalty | None
    ascend_prediction: bool
    ascend_penalty: bool
    meaning: str

    @property
    def attacks(self) -> bool:
        """True if training needs attacked images."""
        return self.ascend_prediction or self.ascend_penalty

    @property
    def passes_clean(self) -> bool:
        """True if the loss reads a forward pass of the clean images."""
        return bool(self.clean) or (self.penalty is not None and self.penalty.passes)

    @property
    def passes_attacked(self) -> bool:
        """True if the loss reads a forward pass of the attacked images."""
        return bool(self.attacked) or (self.penalty is not None and self.penalty.passes)

    @property
    def inner_passes(self) -> bool:
        """True if the inner attack reads a forward pass of the attacked images."""
        return self.ascend_prediction or (self.ascend_penalty and self.penalty is not None and self.penalty.passes)

    @property
    def differentiates(self) -> bool:
        """True if the penalty takes gradients in images."""
        return self.penalty is not None and self.penalty.differentiates

    @property
    def integrates(self) -> bool:
        """True if the penalty takes gradients on a line."""
        return self.penalty is not None and self.penalty.integrates

    def inner(self, logits: Tensor | None, labels: Tensor, penalty: Tensor | None, gamma: float) -> Tensor:
        """Compute what the inner attack ascends, N.

        Args:
            logits: of the attacked images, N x K; None if ``ascend_prediction`` is False.
            labels: int64 N.
            penalty: of the attacked images, N; None if ``ascend_penalty`` is False.
            gamma: the weight of the penalty, if both are ascended.
        """
        total = torch.zeros(len(labels), device=labels.device)
        if self.ascend_prediction:
            assert logits is not None
            total = total + F.cross_entropy(logits, labels, reduction="none")
        if self.ascend_penalty:
            assert penalty is not None
            total = total + (gamma if self.ascend_prediction else 1.0) * penalty
        return total

    def parts(
        self,
        clean: Recorded | None,
        attacked: Recorded | None,
        labels: Tensor,
        penalty: Tensor | None,
        gamma: float,
    ) -> dict[str, Tensor]:
        """Compute the mean loss and its parts, by name.

        Args:
            clean, attacked: forward passes of the clean and the attacked images; None if this loss does not read them.
            labels: int64 N.
            penalty: its mean; None if this loss has none.
            gamma: the weight of the penalty.
        """
        found: dict[str, Tensor] = {}
        weights: list[float] = []
        for name, weight, recorded in (("clean", self.clean, clean), ("attacked", self.attacked, attacked)):
            if weight:
                assert recorded is not None
                found[name] = F.cross_entropy(recorded.logits, labels)
                weights.append(weight)
        if self.penalty is not None:
            assert penalty is not None
            found[self.penalty.name] = penalty
            weights.append(gamma)
        total = torch.stack([weight * value for weight, value in zip(weights, found.values(), strict=True)]).sum()
        return {"loss": total, **found}


_MAPS, _ATTRIBUTION = MapDiscrepancy(), AttributionNorm()

OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        "normal": Objective(1, 0, None, False, False, "cross-entropy of clean images: no defense, the same training"),
        "adversarial": Objective(0, 1, None, True, False, "cross-entropy of attacked images (Madry et al. 2018)"),
        "int": Objective(1, 0, _MAPS, False, True, "CE of clean images + gamma D2; the attack ascends D2"),
        "int-joint": Objective(
            1, 0, _MAPS, True, True, "CE of clean images + gamma D2; the attack ascends CE + gamma D2"
        ),
        "int-ce": Objective(1, 0, _MAPS, True, False, "CE of clean images + gamma D2; the attack ascends CE alone"),
        "int-adv": Objective(0, 1, _MAPS, True, True, "CE of attacked images + gamma D2; the attack ascends both"),
        "ig-norm": Objective(
            1, 0, _ATTRIBUTION, False, True, "CE of clean images + gamma |IG|_1 of the loss; the attack ascends |IG|_1"
        ),
        "ig-sum-norm": Objective(
            0, 1, _ATTRIBUTION, True, True, "CE of attacked images + gamma |IG|_1 of the loss; the attack ascends both"
        ),
        "ssr": Objective(
            1, 0, Curvature(), False, False, "CE of clean images + gamma times the largest eigenvalue of its Hessian"
        ),
    }
)
"""The losses by name.

``int`` and its kin are interpretation-robust training (Boopathy et al. 2020).

``ig-norm`` and ``ig-sum-norm`` are robust attribution regularisation (Chen, Wu, Rastogi, Liang & Jha 2019, "Robust
Attribution Regularization", NeurIPS): l(x) + lambda max_{x'} |IG(x, x')|_1, and max_{x'} l(x') + beta |IG(x, x')|_1,
where IG are the integrated gradients of the loss l from x to x', |x' - x| <= eps. (The second one is l(x) + max_{x'}
sum(IG) + beta |IG|_1, because the entries of IG sum to l(x') - l(x).) As in the authors' program
(github.com/jfc43/robust-attribution-regularization), IG are a sum of gradients at the right ends of equal segments, and
the inner attack, which ascends the same quantity, takes fewer of them.

``ssr`` is smooth surface regularisation (Wang, Wang, Ramkumar, Mardziel, Fredrikson & Datta 2020, "Smoothed Geometry
for Robust Attribution", NeurIPS): l(x) + beta s lambda_max of the Hessian of l in x; gamma is beta s. Their program
(github.com/zifanw/smoothed_geometry) takes the mean of the Jacobian over colours, and this one all values of the image.

The last three differentiate gradients in images. All their passes are in evaluation mode, so that batch norms keep the
statistics that the classifier came with, and each image is by itself: in training mode, batch norms add what an image
does to the others of its batch, and behind a batch norm the gradient of a sum over the batch is zero.
"""
