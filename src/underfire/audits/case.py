"""One part of an audit: one interpreter, or several at once, at one radius."""

from __future__ import annotations

from dataclasses import dataclass

from underfire.attacks.limits import Flags
from underfire.audits.nearness import Nearness
from underfire.audits.standing import Standing


@dataclass
class Case:
    """The audit of one interpreter, or of several at once, at one radius.

    Args:
        near: the interpreters with their limits.
        eps: the radius in L-inf, in pixel units.
        leaves: the nearness of maps below which an image needs no further attack.
        state: what was found so far.
    """

    near: Nearness
    eps: float
    leaves: float
    state: Standing

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the interpreters."""
        return self.near.names

    @property
    def label(self) -> str:
        """The names of the interpreters, such as ``cam+grad``."""
        return self.near.label

    @property
    def fallen(self) -> Flags:
        """True for images for which another class with all maps kept was found, bool N."""
        found: Flags = self.state.wrong & (self.state.nearest < self.near.kept)
        return found
