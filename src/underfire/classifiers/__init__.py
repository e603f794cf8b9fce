"""Classifiers: pixels in [0, 1] -> logits, from any PyTorch network."""

from __future__ import annotations

from underfire.classifiers.attention import (
    ATTENTIONS,
    SOFTMAXES,
    Attended,
    attend,
    by_head,
    is_attention,
    multi_head,
)
from underfire.classifiers.beside import said_beside, share_beside, warn_of_ways_beside
from underfire.classifiers.classifier import WHY_NO_GRADIENT, Classifier
from underfire.classifiers.compiled import Compiled
from underfire.classifiers.copying import copied
from underfire.classifiers.inputs import check_images, check_labels, check_pixels, label_tensor, one_per_image
from underfire.classifiers.live import Live
from underfire.classifiers.pixels import Attackable
from underfire.classifiers.prepared import Prepared
from underfire.classifiers.recorded import Later, Recorded
from underfire.classifiers.sources import load

__all__ = [
    "ATTENTIONS",
    "SOFTMAXES",
    "WHY_NO_GRADIENT",
    "Attackable",
    "Attended",
    "Classifier",
    "Compiled",
    "Later",
    "Live",
    "Prepared",
    "Recorded",
    "attend",
    "by_head",
    "check_images",
    "check_labels",
    "check_pixels",
    "copied",
    "is_attention",
    "label_tensor",
    "load",
    "multi_head",
    "one_per_image",
    "said_beside",
    "share_beside",
    "warn_of_ways_beside",
]
