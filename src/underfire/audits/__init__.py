"""Audits: is there any small change to an image that fools the classifier and leaves its explanation looking right?

An audit runs a fixed, versioned ensemble of attacks on each image until one of them succeeds, and counts the images on
which none does. Its number needs no choice of parameters, and it says what speaks against it.
"""

from underfire.audits.auditing import audit
from underfire.audits.decision import Decision
from underfire.audits.ensemble import ENSEMBLES, Member
from underfire.audits.gate import decide
from underfire.audits.result import Audit, Robustness

__all__ = ["ENSEMBLES", "Audit", "Decision", "Member", "Robustness", "audit", "decide"]
