"""Logistic regression on standardised values, as plain tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from underfire.detectors.standard import SMALLEST


def fit_logistic(benign: Tensor, attacked: Tensor) -> dict[str, Tensor]:
    """Fit a logistic regression (L2 penalty, C = 1) with both kinds of images weighted alike.

    Args:
        benign, attacked: N x M and A x M values.

    Returns:
        ``logistic/mean`` and ``logistic/std`` of all values, and the weights ``logistic/weight`` M with
        ``logistic/bias``, float64.
    """
    from sklearn.linear_model import LogisticRegression

    values = torch.cat([benign, attacked]).double()
    mean, std = values.mean(0), values.std(0, correction=0).clamp_min(SMALLEST)
    labels = np.repeat([0, 1], [len(benign), len(attacked)])
    made = LogisticRegression(class_weight="balanced", max_iter=2000)
    made.fit(((values - mean) / std).numpy(), labels)
    weight = torch.tensor(made.coef_[0], dtype=torch.float64, device="cpu")
    bias = torch.tensor(made.intercept_, dtype=torch.float64, device="cpu")
    return {"logistic/mean": mean, "logistic/std": std, "logistic/weight": weight, "logistic/bias": bias}


def evidence(state: dict[str, Tensor], values: Tensor) -> Tensor:
    """Compute the log-odds N of being attacked from values N x M."""
    scaled = (values.double() - state["logistic/mean"]) / state["logistic/std"]
    return (scaled * state["logistic/weight"]).sum(1) + state["logistic/bias"]
