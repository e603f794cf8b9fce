"""Success of an attack: on the prediction, and on prediction and explanation at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from underfire.errors import InputError
from underfire.metrics._inputs import double, like_inputs, one_per_image, same_shape


def _check_logits(logits: Tensor, classes: Tensor, name: str) -> None:
    if logits.ndim != 2 or logits.shape[1] < 2 or classes.shape != logits.shape[:1]:
        raise InputError(
            f"logits have shape {tuple(logits.shape)} and {name} has shape {tuple(classes.shape)}; "
            "expected N x K with at least two classes, and N."
        )
    if classes.is_floating_point() or classes.is_complex() or classes.dtype == torch.bool:
        raise InputError(f"{name} is {classes.dtype}; expected class numbers as integers.")
    if not torch.isfinite(logits).all():
        raise InputError("logits hold NaN or infinite values; expected finite ones.")
    outside = (classes < 0) | (classes >= logits.shape[1])
    if outside.any():
        raise InputError(f"{name} holds {int(classes[outside][0])}; expected class numbers 0 to {logits.shape[1] - 1}.")


def success(logits: Tensor, target: Tensor) -> Tensor:
    """True for each image that is predicted as the target class: bool, N.

    Args:
        logits: N x K, of the saved 8-bit images.
        target: the target classes: integers, N, in [0, K).
    """
    _check_logits(logits, target, "target")
    return logits.argmax(dim=1) == target


def untargeted_success(logits: Tensor, labels: Tensor) -> Tensor:
    """True for each image that is predicted as any class but the true one: bool, N.

    Args:
        logits: N x K, of the saved 8-bit images.
        labels: the true classes: integers, N, in [0, K).
    """
    _check_logits(logits, labels, "labels")
    return logits.argmax(dim=1) != labels


def confidence(logits: Tensor, classes: Tensor) -> Tensor:
    """Softmax probability of one class per image, in [0, 1]: float, N, without a graph.

    For the target class, its mean over successful images is the misclassification confidence of Zhang et al. 2020
    (section 4).
    """
    _check_logits(logits, classes, "classes")
    probabilities = double(logits.detach()).softmax(dim=1)
    picked = probabilities.gather(1, classes.to(probabilities.device, torch.int64).unsqueeze(1))
    return like_inputs(picked.squeeze(1), logits)


HALFWAY = 0.5
"""A map has reached a target map if its distance is below this share of the benign map's distance."""


QUANTILE = 0.95
"""The share of maps under noise that a limit lets pass."""


def noise_threshold(noise_distances: Tensor, quantile: float = QUANTILE) -> float:
    """Compute the `quantile` of the map distances that benign noise causes: the largest limit for `joint_success`.

    Random noise moves some maps as much as attacks do, so this threshold tells the two apart.

    Args:
        noise_distances: N, at least one: the distance between the map of a clean image and the map of the same image
            with random noise of the attack's budget, both for the true class and by the same system.
        quantile: in [0, 1], with linear interpolation between two distances.
    """
    one_per_image(noise_distances, "noise_distances")
    if len(noise_distances) == 0 or not 0 <= quantile <= 1:
        raise InputError(
            f"noise_distances holds {len(noise_distances)} values and quantile is {quantile}; "
            "expected at least one value, and a quantile in [0, 1]."
        )
    return float(torch.quantile(double(noise_distances.detach()), quantile))


def joint_success(success: Tensor, distance: Tensor, threshold: float | Tensor) -> Tensor:
    """True for each image with the target class reached *and* a map distance below `threshold`: bool, N.

    Args:
        success: bool, N.
        distance: the map distance to the target map, N.
        threshold: one number, which is `noise_threshold` for benign target maps; or one number per image, N, which is
            half the benign map's distance for other target maps.
    """
    _check_joint(success, distance)
    if isinstance(threshold, Tensor) and threshold.ndim > 0:
        same_shape(distance, threshold, ("distance", "threshold"))
    if isinstance(threshold, Tensor):
        limit = double(threshold.detach())
    else:
        limit = torch.tensor(threshold, dtype=torch.float64)
    if limit.isnan().any():
        raise InputError("threshold is NaN; expected a map distance.")
    # In float64: float32 would round the threshold, and equal distances could count as closer.
    distances = double(distance)
    close = distances < limit.to(distances.device)
    return success & close.to(success.device)


def joint_success_curve(success: Tensor, distance: Tensor, thresholds: Sequence[float] | Tensor) -> Tensor:
    """Rate of `joint_success` over all N images at each of T thresholds: float32, T, in [0, 1].

    The rate never decreases when thresholds increase, and ends at the success rate. N must be at least 1.
    """
    _check_joint(success, distance)
    if len(success) == 0:
        raise InputError("success and distance are empty: the rate over no images is not defined.")
    distances = double(distance).unsqueeze(1)
    close = distances < _thresholds(thresholds).to(distances.device)
    rates = double(success.to(close.device).unsqueeze(1) & close).mean(dim=0)
    return rates.to(distance.device, torch.float32)


def prediction_interpretation_gap(
    curve_joint: Tensor, curve_prediction_only: Tensor, thresholds: Sequence[float] | Tensor
) -> float:
    """Area between two joint-success curves, divided by the range of the thresholds: in [-1, 1].

    It says how much more often, on average over the thresholds, an attack on prediction and explanation succeeds
    jointly than an attack on the prediction alone. Zhang et al. 2020 name the gap; this measure of it is underfire's.
    The area has a sign: if the curves cross, parts cancel.

    Args:
        curve_joint, curve_prediction_only: the rates of `joint_success_curve`, T.
        thresholds: at least two, strictly increasing, T.
    """
    same_shape(curve_joint, curve_prediction_only, ("curve_joint", "curve_prediction_only"))
    one_per_image(curve_joint, "curve_joint")
    one_per_image(curve_prediction_only, "curve_prediction_only")
    limits = _thresholds(thresholds)
    same_shape(curve_joint, limits, ("curve_joint", "thresholds"))
    if len(limits) < 2 or not (limits.diff() > 0).all():
        raise InputError(f"thresholds are {limits.tolist()}; expected at least two, strictly increasing.")
    difference = double(curve_joint).cpu() - double(curve_prediction_only).cpu()
    return float(torch.trapezoid(difference, limits) / (limits[-1] - limits[0]))


def _check_joint(success: Tensor, distance: Tensor) -> None:
    same_shape(success, distance, ("success", "distance"))
    if success.dtype != torch.bool:
        raise InputError(f"success is {success.dtype}; expected bool, N.")
    one_per_image(distance, "distance")


def _thresholds(thresholds: Sequence[float] | Tensor) -> Tensor:
    limits = torch.as_tensor(thresholds, dtype=torch.float64, device="cpu").detach()
    if limits.ndim != 1 or len(limits) == 0 or limits.isnan().any():
        raise InputError(f"thresholds have shape {tuple(limits.shape)}; expected T numbers, T at least 1.")
    return limits
