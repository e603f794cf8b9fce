"""underfire: can one small change to an image fool the classifier and leave its explanation looking right?

Importing the package imports nothing else: each public name is imported when it is first asked for. So the command
line can complete names without waiting for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from underfire.version import __version__

if TYPE_CHECKING:
    from underfire import attacks, classifiers, data, detectors, errors, interpreters, metrics, system
    from underfire.attacks.plain import attack
    from underfire.audits.auditing import audit
    from underfire.campaigns.folder import Campaign
    from underfire.classifiers import Classifier
    from underfire.runs.run import Run
    from underfire.runs.transfer import transfer
    from underfire.system import System

__all__ = [
    "Campaign",
    "Classifier",
    "Run",
    "System",
    "__version__",
    "attack",
    "attacks",
    "audit",
    "classifiers",
    "data",
    "detectors",
    "errors",
    "interpreters",
    "metrics",
    "system",
    "transfer",
]

_MODULES = ("attacks", "classifiers", "data", "detectors", "errors", "interpreters", "metrics", "system")
_HOMES = {
    "Campaign": "campaigns.folder",
    "Classifier": "classifiers",
    "Run": "runs.run",
    "System": "system",
    "attack": "attacks.plain",
    "audit": "audits.auditing",
    "transfer": "runs.transfer",
}
"""The modules of the public names that are no modules."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name in _MODULES:
        return import_module(f"underfire.{name}")
    if name in _HOMES:
        return getattr(import_module(f"underfire.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'underfire' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, for completion in notebooks."""
    return sorted({*globals(), *__all__})
