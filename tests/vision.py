"""torchvision for tests, also where its compiled extension does not fit the installed torch."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch


def torchvision_models() -> ModuleType:
    """``torchvision.models``; skips the test where the package is absent."""
    for schema in (
        "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms(Tensor dets) -> Tensor",
    ):
        name = schema.split("(")[0]
        if not hasattr(torch.ops.torchvision, name):
            library = torch.library.Library("torchvision", "FRAGMENT")
            library.define(schema)
            _KEPT.append(library)
    return pytest.importorskip("torchvision.models", reason="torchvision is not installed", exc_type=ImportError)


_KEPT: list[torch.library.Library] = []
