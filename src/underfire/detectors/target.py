"""The identity of the system that a detector was fitted for: it means nothing on another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from underfire.errors import InputError
from underfire.runs.identity import identities
from underfire.system import System


@dataclass(frozen=True)
class Target:
    """What a detector was fitted for.

    Args:
        classifier: the classifier's name, for messages. Two names of one network count as one.
        classifier_sha256: the hash of its weights and its normalisation.
        interpreters: what identifies each interpreter that the detector reads, by its name in the system.
        shape: channels, height and width of the images.
    """

    classifier: str
    classifier_sha256: str
    interpreters: Mapping[str, str]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, system: System, shape: Sequence[int]) -> Target:
        """Describe a system, and the shape C x H x W of its images."""
        classifier = system.classifier
        return cls(classifier.name, classifier.sha256(), identities(system), tuple(shape))

    def check(self, system: System, name: str) -> System:
        """Check that ``system`` is the one of this description, and return it with only its interpreters.

        Args:
            name: the detector's name, for messages.

        Raises:
            InputError: the classifier or an interpreter is another one.
        """
        other = self.of(system, self.shape)
        differences = []
        if other.classifier_sha256 != self.classifier_sha256:
            differences.append(
                f"the classifier {other.classifier} has other weights or another normalisation than {self.classifier}"
            )
        for each, identity in self.interpreters.items():
            if each not in other.interpreters:
                differences.append(f"the interpreter {each} is missing")
            elif other.interpreters[each] != identity:
                differences.append(f"the interpreter {each} is {other.interpreters[each]}, and was {identity}")
        if differences:
            raise InputError(
                f"detector {name} was fitted for another system: {'; '.join(differences)}. Fit it again for this one: "
                "scores and threshold of another system mean nothing here."
            )
        return system.only(self.interpreters)

    def check_shape(self, shape: Sequence[int], name: str) -> None:
        """Raise InputError if images of this shape C x H x W are not those that the detector was fitted for."""
        if tuple(shape) != self.shape:
            raise InputError(
                f"images are {' x '.join(map(str, shape))} (channels x height x width); detector {name} was fitted for "
                f"{' x '.join(map(str, self.shape))}."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the description as JSON values."""
        return {**vars(self), "interpreters": dict(self.interpreters), "shape": list(self.shape)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Target:
        """Make the description from JSON values."""
        return cls(**{**values, "shape": tuple(values["shape"])})
