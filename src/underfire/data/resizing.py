"""How an image comes to a classifier's size: by which filter, and how much of it is cropped away."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageOps

from underfire.errors import InputError, unknown_name

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_LONGEST = 8  # times the short side: what lies beyond is cropped before resizing, not after


@dataclass(frozen=True)
class Resizing:
    """Resize, then crop to the centre. Networks are trained and measured with a recipe of their own for this; another
    one costs them a percent or two of accuracy.

    Args:
        to: the length in pixels that the short side is resized to, both axes alike; a pair (height, width) to resize
            to just that, whatever the proportions; None for as small as covers the crop, in one step with it (an image
            that has the size already keeps its pixels exactly).
        interpolation: ``bicubic``, ``bilinear``, ``nearest``, ``lanczos``, ``box`` or ``hamming``; antialiased.
    """

    to: int | tuple[int, int] | None = None
    interpolation: str = "bicubic"

    def __post_init__(self) -> None:
        if self.interpolation not in FILTERS:
            raise unknown_name("interpolation", self.interpolation, FILTERS)
        if isinstance(self.to, int) and self.to < 1:
            raise InputError(f"resize is {self.to}; expected the short side's length, at least 1 pixel.")

    def check(self, size: tuple[int, int] | None) -> None:
        """Raise InputError where a crop to ``size`` (height, width) does not fit into what images are resized to."""
        if self.to is None:
            return
        if size is None:
            raise InputError(f"resize is {self.to}, and no image size is given to crop to; expected both.")
        height, width = (self.to, self.to) if isinstance(self.to, int) else self.to
        if height < size[0] or width < size[1]:
            raise InputError(
                f"resize is {self.to}, smaller than the image size {size[0]} x {size[1]} (height x width) that is "
                "cropped from it; expected at least as much."
            )

    def apply(self, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        """``image`` (of any mode that can be interpolated) at ``size`` (height, width)."""
        method, (height, width) = FILTERS[self.interpolation], size
        if self.to is None:
            if (image.height, image.width) == (height, width):
                return image
            return ImageOps.fit(image, (width, height), method)
        resized = self._resized(image, self.to, method)
        # The same rounding as torchvision's CenterCrop, to the pixel.
        top, left = round((resized.height - height) / 2), round((resized.width - width) / 2)
        return resized.crop((left, top, left + width, top + height))

    @staticmethod
    def _resized(image: Image.Image, to: int | tuple[int, int], method: Image.Resampling) -> Image.Image:
        if isinstance(to, int):
            short = min(image.size)
            if max(image.size) > _LONGEST * short:  # a strip of one pixel would need gigabytes
                width, height = (min(side, _LONGEST * short) for side in image.size)
                image = ImageOps.fit(image, (width, height), method)
            width, height = (to if side == short else int(to * side / short) for side in image.size)
        else:
            height, width = to
        return image if (width, height) == image.size else image.resize((width, height), method)


DEFAULT_RESIZING = Resizing()
