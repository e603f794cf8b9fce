"""Maps with a certificate: sparsified SmoothGrad, and the overlap that no small change can undo; and an
attack on it."""

from __future__ import annotations

from underfire.interpreters.certified.attack import common, into_ball, undermine
from underfire.interpreters.certified.certificate import Certificate, certify
from underfire.interpreters.certified.sparsified import SparsifiedSmoothGrad

__all__ = ["Certificate", "SparsifiedSmoothGrad", "certify", "common", "into_ball", "undermine"]
