"""RTS: the masker network, its training, its files, and the interpreter that reads it."""

from __future__ import annotations

from underfire.interpreters.rts.interpreter import RTS
from underfire.interpreters.rts.losses import MaskLoss
from underfire.interpreters.rts.network import Masker
from underfire.interpreters.rts.train import train_masker
from underfire.interpreters.rts.training import MaskerRecipe

__all__ = ["RTS", "MaskLoss", "Masker", "MaskerRecipe", "train_masker"]
