"""The losses of robust training: cross-entropy, and the discrepancy of class activation maps (Boopathy et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire.classifiers import Recorded
from underfire.errors import InterpreterError
from underfire.numerics import full_precision, is_class


def class_maps(recorded: Recorded) -> Tensor:
    """Compute the CAM of every class as it stands, without scaling: g_c = sum_k W[c, k] A_k.

    Args:
        recorded: a forward pass of a network whose head is linear in the mean of the features A over space.

    Returns:
        N x K x h x w, differentiable in features and weights.

    Raises:
        InterpreterError: the network has no such features, or no such head.
    """
    weight, features = recorded.cam_weight(), recorded.features
    if features is None or features.ndim != 4 or weight is None or weight.shape[1] != features.shape[1]:
        raise InterpreterError(
            "the loss compares class activation maps, and this classifier has none: its logits are no linear layer of "
            "the spatial mean of its last convolutional features. Choose an objective without maps: adversarial."
        )
    return torch.einsum("kc,nchw->nkhw", weight, full_precision(features))


def discrepancy(clean: Tensor, attacked: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """Compute the distance D2 of the maps of clean and attacked images over all classes (Boopathy et al. 2020).

    D2 = |g'_y - g_y|_1 + sum over c != y of q_c |g'_c - g_c|_1, where q is the softmax of the attacked image's logits
    over the classes other than y.

    Args:
        clean, attacked: g and g', N x K x h x w; see ``class_maps``.
        logits: of the attacked images, N x K.
        labels: y, int64 N.

    Returns:
        D2, N.
    """
    moved = (attacked - clean).abs().sum((2, 3))
    own = is_class(labels, logits.shape[1])
    others = logits.masked_fill(own, -torch.inf).softmax(1)
    return (moved * torch.where(own, 1.0, others)).sum(1)


@dataclass(frozen=True)
class Objective:
    """A loss of robust training, and what its inner attack ascends: weighted sums of up to three parts.

    Args:
        clean: the weight of the clean image's cross-entropy.
        attacked: the weight of the attacked image's cross-entropy.
        maps: True if the loss has gamma * D2.
        ascend_prediction: True if the inner attack ascends the attacked image's cross-entropy.
        ascend_maps: True if the inner attack ascends D2.
        meaning: one sentence for users.
    """

    clean: float
    attacked: float
    maps: bool
    ascend_prediction: bool
    ascend_maps: bool
    meaning: str

    @property
    def attacks(self) -> bool:
        """True if training needs attacked images."""
        return self.ascend_prediction or self.ascend_maps

    @property
    def needs_clean(self) -> bool:
        """True if the loss, or its inner attack, reads the clean images."""
        return bool(self.clean) or self.maps

    def inner(self, clean: Tensor | None, recorded: Recorded, labels: Tensor, gamma: float) -> Tensor:
        """Compute what the inner attack ascends, N.

        Args:
            clean: the clean images' maps, N x K x h x w, without a graph; None if ``ascend_maps`` is False.
            recorded: the forward pass of the attacked images.
            labels: int64 N.
            gamma: the weight of D2.
        """
        total = recorded.logits.new_zeros(len(labels))
        if self.ascend_prediction:
            total = total + F.cross_entropy(recorded.logits, labels, reduction="none")
        if self.ascend_maps:
            assert clean is not None
            weight = gamma if self.ascend_prediction else 1.0
            total = total + weight * discrepancy(clean, class_maps(recorded), recorded.logits, labels)
        return total

    def parts(
        self, clean: Recorded | None, attacked: Recorded | None, labels: Tensor, gamma: float
    ) -> dict[str, Tensor]:
        """Compute the mean loss and its parts, by name.

        Args:
            clean, attacked: forward passes of the clean and the attacked images; None if this loss does not read them.
            labels: int64 N.
            gamma: the weight of D2.
        """
        found: dict[str, Tensor] = {}
        if self.clean:
            assert clean is not None
            found["clean"] = F.cross_entropy(clean.logits, labels)
        if self.attacked:
            assert attacked is not None
            found["attacked"] = F.cross_entropy(attacked.logits, labels)
        if self.maps:
            assert clean is not None
            assert attacked is not None
            found["maps"] = discrepancy(class_maps(clean), class_maps(attacked), attacked.logits, labels).mean()
        weights = {"clean": self.clean, "attacked": self.attacked, "maps": gamma}
        total = torch.stack([weights[name] * value for name, value in found.items()]).sum()
        return {"loss": total, **found}


OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        "normal": Objective(1, 0, False, False, False, "cross-entropy of clean images: no defense, the same training"),
        "adversarial": Objective(0, 1, False, True, False, "cross-entropy of attacked images (Madry et al. 2018)"),
        "int": Objective(1, 0, True, False, True, "CE of clean images + gamma D2; the attack ascends D2"),
        "int-joint": Objective(
            1, 0, True, True, True, "CE of clean images + gamma D2; the attack ascends CE + gamma D2"
        ),
        "int-ce": Objective(1, 0, True, True, False, "CE of clean images + gamma D2; the attack ascends CE alone"),
        "int-adv": Objective(0, 1, True, True, True, "CE of attacked images + gamma D2; the attack ascends both"),
    }
)
"""The losses by name. ``int`` and its kin are interpretation-robust training (Boopathy et al. 2020)."""
