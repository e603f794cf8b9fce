"""AID: a masker that learns to show attacks, by attacks on itself ([ADV2] section 6.2)."""

from __future__ import annotations

from underfire.defenses.aid.recipe import RECIPES, AidRecipe
from underfire.defenses.aid.train import train_aid

__all__ = ["RECIPES", "AidRecipe", "train_aid"]
