"""underfire: can one small change to an image fool the classifier and leave its explanation looking right?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from underfire import attacks, classifiers, data, errors, interpreters, metrics
from underfire.attacks.plain import attack
from underfire.classifiers import Classifier
from underfire.system import System
from underfire.version import __version__

if TYPE_CHECKING:
    from underfire.runs.run import Run

__all__ = [
    "Classifier",
    "Run",
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


def __getattr__(name: str) -> Any:
    """Import ``Run`` when it is first asked for: it needs pyarrow."""
    if name != "Run":
        raise AttributeError(f"module 'underfire' has no attribute {name!r}")
    from underfire.runs.run import Run

    return Run
