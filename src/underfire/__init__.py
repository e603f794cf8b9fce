"""underfire: can one small change to an image fool the classifier and leave its explanation looking right?"""

from __future__ import annotations

from underfire import attacks, classifiers, data, errors, interpreters, metrics
from underfire.attacks.plain import attack
from underfire.classifiers import Classifier
from underfire.system import System
from underfire.version import __version__

__all__ = [
    "Classifier",
    "System",
    "__version__",
    "attack",
    "attacks",
    "classifiers",
    "data",
    "errors",
    "interpreters",
    "metrics",
]
