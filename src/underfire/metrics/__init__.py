"""Metrics of predictions, maps and images, and their statistics. Pure functions on tensors."""

from __future__ import annotations

from underfire.metrics.comparing import holm, sign_flip_test
from underfire.metrics.detection import RocCurve, bootstrap_roc_area, roc_area, roc_curve
from underfire.metrics.images import changed_fraction, edge_energy, l2, linf, noise, ssim
from underfire.metrics.keeping import most_important
from underfire.metrics.maps import (
    IOU_THRESHOLDS,
    centre_of_mass_shift,
    map_cosine,
    map_iou,
    map_iou_curve,
    map_iou_nonzero,
    map_kendall,
    map_l1,
    map_l2,
    map_spearman,
    map_ssim,
    top_k_intersection,
)
from underfire.metrics.pointing import mass_inside, peak_inside
from underfire.metrics.prediction import (
    HALFWAY,
    confidence,
    joint_success,
    joint_success_curve,
    noise_threshold,
    prediction_interpretation_gap,
    success,
    untargeted_success,
)
from underfire.metrics.scatter import half_mass_area, mass_spread, rank_correlation
from underfire.metrics.statistics import (
    Interval,
    bootstrap_mean,
    interval,
    paired_difference,
    rate,
    rate_difference,
    score_interval,
)

__all__ = [
    "HALFWAY",
    "IOU_THRESHOLDS",
    "Interval",
    "RocCurve",
    "bootstrap_mean",
    "bootstrap_roc_area",
    "centre_of_mass_shift",
    "changed_fraction",
    "confidence",
    "edge_energy",
    "half_mass_area",
    "holm",
    "interval",
    "joint_success",
    "joint_success_curve",
    "l2",
    "linf",
    "map_cosine",
    "map_iou",
    "map_iou_curve",
    "map_iou_nonzero",
    "map_kendall",
    "map_l1",
    "map_l2",
    "map_spearman",
    "map_ssim",
    "mass_inside",
    "mass_spread",
    "most_important",
    "noise",
    "noise_threshold",
    "paired_difference",
    "peak_inside",
    "prediction_interpretation_gap",
    "rank_correlation",
    "rate",
    "rate_difference",
    "roc_area",
    "roc_curve",
    "score_interval",
    "sign_flip_test",
    "ssim",
    "success",
    "top_k_intersection",
    "untargeted_success",
]
