"""Gradient boosting (Friedman 2001) as plain tensors: grown by scikit-learn, and evaluated here."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

NAME = "trees"


def grow(features: Tensor, attacked: Tensor, count: int, depth: int, rate: float, seed: int) -> dict[str, Tensor]:
    """Grow boosted trees that tell attacked images from benign ones.

    Each tree sees a random half of the images, and looks at the square root of the number of features at each node.

    Args:
        features: N x F.
        attacked: bool N; both values occur.
        count: the number of trees.
        depth: the largest depth of a tree.
        rate: the learning rate.
        seed: of the random halves and features.

    Returns:
        Tensors with a row for each tree, filled up to the largest number of nodes: ``trees/left`` and ``trees/right``
        (the numbers of the next nodes; the node's own for a leaf), ``trees/feature``, ``trees/threshold`` and
        ``trees/value`` (times the learning rate); and ``trees/base``, the log-odds before the first tree.
    """
    from sklearn.ensemble import GradientBoostingClassifier

    made = GradientBoostingClassifier(
        n_estimators=count,
        max_depth=depth,
        learning_rate=rate,
        subsample=0.5,
        max_features="sqrt",
        random_state=seed,
    )
    made.fit(features.numpy().astype(np.float32), attacked.numpy())
    grown = [each.tree_ for each in made.estimators_[:, 0]]
    width = max(each.node_count for each in grown)
    own = np.arange(width)
    left, right = (np.tile(own, (count, 1)) for _ in range(2))
    feature = np.zeros((count, width), dtype=np.int64)
    threshold, value = np.zeros((count, width)), np.zeros((count, width))
    for row, each in enumerate(grown):
        nodes = each.node_count
        inner = each.children_left >= 0
        left[row, :nodes] = np.where(inner, each.children_left, own[:nodes])
        right[row, :nodes] = np.where(inner, each.children_right, own[:nodes])
        feature[row, :nodes] = np.where(inner, each.feature, 0)
        threshold[row, :nodes] = np.where(inner, each.threshold, 0.0)
        value[row, :nodes] = rate * each.value[:, 0, 0]
    share = float(attacked.double().mean())
    arrays = {"left": left, "right": right, "feature": feature, "threshold": threshold, "value": value}
    found = {f"{NAME}/{name}": torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    return {**found, f"{NAME}/base": torch.tensor([math.log(share / (1 - share))], dtype=torch.float64, device="cpu")}


def log_odds(state: dict[str, Tensor], features: Tensor) -> Tensor:
    """Compute the log-odds of being attacked, float64 N, from features N x F.

    Trees are summed in their order, so that the bits depend on nothing but the image's own features.
    """
    left, right, feature, threshold, value = (
        state[f"{NAME}/{name}"].numpy() for name in ("left", "right", "feature", "threshold", "value")
    )
    rows = features.numpy().astype(np.float32)  # as they were when the trees were grown
    every = np.arange(len(rows))
    total = np.full(len(rows), state[f"{NAME}/base"].item())
    for tree in range(len(left)):
        node = np.zeros(len(rows), dtype=np.int64)
        while True:
            lower = rows[every, feature[tree, node]] <= threshold[tree, node]
            following = np.where(lower, left[tree, node], right[tree, node])
            if np.array_equal(following, node):
                break
            node = following
        total += value[tree, node]
    return torch.from_numpy(total)
