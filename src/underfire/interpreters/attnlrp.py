"""AttnLRP: layer-wise relevance propagation with rules for transformers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire.arguments import check_choice
from underfire.errors import InputError
from underfire.interpreters.lrp import PixelRelevance
from underfire.interpreters.products import SIGMOIDS
from underfire.interpreters.propagation import Layer, Propagation
from underfire.interpreters.smoothing import Smoothing
from underfire.interpreters.transformer_rules import TransformerPropagation

Through = Literal["all", "values"]
THROUGH: tuple[Through, ...] = ("all", "values")


@dataclass(frozen=True)
class AttnLRP(PixelRelevance):
    """Layer-wise relevance propagation for transformers (Achtibat et al. 2024).

    The logit of the class is distributed backwards, layer by layer, to the pixels; see ``AttnRules`` for the rules. The
    map is the positive part of the sum over channels, average-pooled, min-max per image. It works on convolutional
    networks too, where it is LRP with the gamma rule.

    Args:
        through: ``all``: relevance goes through attention's values and through its matrices, as in the paper.
            ``values``: through the values alone, as in CP-LRP (Ali et al. 2022). The paper's authors use that inside
            the attention of vision transformers, because its gamma is easier to tune.
        gamma: how much more the contributions of an output's sign count in linear layers, 0 or more; 0 is the epsilon
            rule.
        conv_gamma: the same in convolutions.
        epsilon: the stabiliser of both, above 0.
        pool: side of the pooling window in pixels; as for ``Grad`` if None.
        smoothing: the slope of rectifiers in the attack's view; honest maps never use it. GELU and softmax have second
            derivatives, and are not smoothed.
    """

    name: ClassVar[str] = "attnlrp"
    family: ClassVar[str] = "grad"

    through: Through = "all"
    gamma: float = 0.05
    conv_gamma: float = 0.25
    epsilon: float = 1e-6
    pool: int | None = None
    smoothing: Smoothing = field(default_factory=Smoothing)

    def __post_init__(self) -> None:
        check_choice("through", self.through, THROUGH)
        for name in ("gamma", "conv_gamma"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}; expected 0 or a positive number.")
        if not self.epsilon > 0:
            raise InputError(f"epsilon is {self.epsilon}; expected a positive number.")

    @classmethod
    def from_argument(cls, argument: str) -> AttnLRP:
        """Make AttnLRP with the path of relevance through attention, ``all`` or ``values``."""
        return cls(cast(Through, argument))  # the constructor refuses other texts

    def rules(self, smoothing: Smoothing | None) -> Propagation:
        return AttnRules(self.epsilon, self.gamma, self.conv_gamma, self.through == "values", smoothing)


class AttnRules(TransformerPropagation):
    """A context in which backward passes that propagate relevance follow AttnLRP (Achtibat et al. 2024).

    - Linear layers and convolutions: the gamma rule (Montavon et al. 2019) for inputs of both signs. A contribution
      c_ij = x_i w_ij to an output z_j counts (1 + gamma) times if it has the sign of z_j. With these c'_ij,
      R_i = sum_j c'_ij R_j / (sum_i' c'_i'j + epsilon). The bias is one more contribution, whose relevance is lost.
    - Softmax s of scores x (proposition 3.1): R_i = x_i (R_i - s_i sum_j R_j), which is what value x gradient gives.
    - Products of two tensors that depend on the image, of matrices (proposition 3.3) and of elements (proposition
      3.2): half of the relevance goes to each. A sigmoid counts as a constant where it multiplies, as in SiLU.
    - Norms (proposition 3.4): what the values are divided by counts as a constant; see ``norm_rules``. So it does in
      every quotient of two activations; see ``quotients``.
    - GELU and SiLU, x f(x): f(x) counts as a constant, so that x receives all relevance (eq. 9); also if they are
      written by hand. Powers and reciprocals hand all relevance to their base.

    Everything else passes on value x gradient.

    Args:
        epsilon: the stabiliser of linear layers and convolutions.
        gamma: of linear layers.
        conv_gamma: of convolutions.
        constant_attention: True if matrices of attention count as constants, and pass on no relevance.
        smoothing: the slope of rectifiers, for the attack's view; exact if None.
    """

    gates = SIGMOIDS

    def __init__(
        self, epsilon: float, gamma: float, conv_gamma: float, constant_attention: bool, smoothing: Smoothing | None
    ) -> None:
        super().__init__("epsilon", epsilon, smoothing)
        self.gamma, self.conv_gamma, self.constant_attention = gamma, conv_gamma, constant_attention

    def _linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        output = F.linear(input, weight, bias)
        return self._apply(output, self._stressed(F.linear, input, weight, bias, output, self.gamma))

    def _basis(self, layer: Layer, input: Tensor, weight: Tensor, bias: Tensor | None, output: Tensor) -> Tensor:
        return self._stressed(layer, input, weight, bias, output, self.conv_gamma)

    def _stressed(
        self, layer: Layer, input: Tensor, weight: Tensor, bias: Tensor | None, output: Tensor, gamma: float
    ) -> Tensor:
        """Compute the sum of contributions c in which those of the output's sign count (1 + gamma) times.

        The sum of the positive ones is half the sum of c + |c|, and that of the negative ones half the sum of c - |c|.
        """
        if not gamma:
            return self._away_from_zero(output)
        sizes = layer(input.abs(), weight.abs(), None if bias is None else bias.abs())
        signed = torch.where(output > 0, sizes, -sizes)
        return self._away_from_zero(output + 0.5 * gamma * (output + signed))

    def softmax(self, output: Tensor, scores: Tensor) -> Tensor:
        """Return the softmax; no relevance passes it if attention counts as a constant."""
        return self.scaled(output, output, output.new_zeros(())) if self.constant_attention else output
