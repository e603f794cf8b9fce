"""Robust training of classifiers: against attacks on the prediction, on the explanation, or on both."""

from __future__ import annotations

from underfire.defenses.robust.discrepancy import class_maps, discrepancy
from underfire.defenses.robust.objectives import OBJECTIVES, Objective
from underfire.defenses.robust.recipe import RECIPES, RobustRecipe
from underfire.defenses.robust.train import train_robust

__all__ = ["OBJECTIVES", "RECIPES", "Objective", "RobustRecipe", "class_maps", "discrepancy", "train_robust"]
