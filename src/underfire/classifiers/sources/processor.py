"""Conversion of a Hugging Face image processor to normalisation of pixels in [0, 1], image size and resizing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from underfire.data.resizing import DEFAULT_RESIZING, FILTERS, Resizing

Values = tuple[float, ...] | None
_WARPED = 384  # ConvNeXt's processors crop below this size, and warp from it on


def normalisation(processor: Mapping[str, Any]) -> tuple[Values, Values]:
    """Compute mean and std for pixels in [0, 1]; None and None if the processor does not normalise.

    A processor computes ((255 p) * factor - offset - mean) / std for a pixel p, and may leave out any part of that.

    Args:
        processor: its settings, as they are saved.
    """
    if not processor:
        return None, None
    factor = 255 * float(processor.get("rescale_factor", 1 / 255)) if processor.get("do_rescale", True) else 255.0
    offset = 1.0 if processor.get("rescale_offset") else 0.0
    given = processor.get("image_mean"), processor.get("image_std")
    # MobileViT's processor has a mean and std, but does not use them.
    normalises = processor.get("do_normalize", "do_flip_channel_order" not in processor)
    mean, std = ((0.0,) * 3, (1.0,) * 3) if not normalises or None in given else given
    mean, std = _channels(mean), _channels(std)
    pixel_mean = tuple((value + offset) / factor for value in mean)
    pixel_std = tuple(value / factor for value in std)
    if max(map(abs, pixel_mean)) < 1e-9 and max(abs(value - 1) for value in pixel_std) < 1e-6:
        return None, None
    return pixel_mean, pixel_std


def size_and_resizing(processor: Mapping[str, Any]) -> tuple[tuple[int, int] | None, Resizing]:
    """Read (height, width) of the network's images, None if nothing is resized or cropped, and the resizing."""
    size, crop = processor.get("size") or {}, _pair(processor.get("crop_size"))
    if isinstance(size, int):
        size = {"height": size, "width": size}
    if not processor.get("do_center_crop", False):
        crop = None
    if not processor.get("do_resize", True):
        return crop, DEFAULT_RESIZING
    interpolation = _filter(processor.get("resample"))
    short = size.get("shortest_edge")
    if short is None:
        whole = _pair(size)
        return crop or whole, Resizing(whole if whole and _fits(crop, whole) else None, interpolation)
    share = processor.get("crop_pct")
    if share and short >= _WARPED and crop is None:
        return (short, short), Resizing((short, short), interpolation)
    to = int(short / share) if share else short
    crop = crop or (short, short)
    return crop, Resizing(to if _fits(crop, (to, to)) else None, interpolation)


def _fits(crop: tuple[int, int] | None, whole: tuple[int, int]) -> bool:
    """Return True if the crop fits into the image; otherwise the processor would add black borders."""
    return crop is None or (crop[0] <= whole[0] and crop[1] <= whole[1])


def _pair(size: Any) -> tuple[int, int] | None:
    if isinstance(size, int):
        return size, size
    if isinstance(size, Mapping) and size.get("height") and size.get("width"):
        return int(size["height"]), int(size["width"])
    return None


def _channels(values: Any) -> tuple[float, ...]:
    return (float(values),) if isinstance(values, int | float) else tuple(float(value) for value in values)


def _filter(resample: Any) -> str:
    if resample is None:
        return DEFAULT_RESIZING.interpolation
    method = Image.Resampling(int(resample))
    return next(name for name, known in FILTERS.items() if known == method)
