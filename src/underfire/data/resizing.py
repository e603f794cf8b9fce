"""Resizing of images to a classifier's size, and cropping to the centre."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageOps

from underfire.arguments import check_known
from underfire.errors import InputError

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_LONGEST = 8  # times the short side; longer images are cropped before resizing


@dataclass(frozen=True)
class Resizing:
    """A method of resizing images: resize, then crop to the centre.

    Use the method with which the network was trained; another method may cost a percent or two of accuracy.

    Args:
        to: the new length of the short side in pixels, both axes scaled alike; or (height, width), whatever the
            proportions; or None for the smallest size that covers the crop, in one step with the crop (an image that
            already has the right size keeps its pixels exactly).
        interpolation: ``bicubic``, ``bilinear``, ``nearest``, ``lanczos``, ``box`` or ``hamming``; antialiased.

    Raises:
        InputError: unknown interpolation, or a length below 1.
    """

    to: int | tuple[int, int] | None = None
    interpolation: str = "bicubic"

    def __post_init__(self) -> None:
        check_known("interpolation", self.interpolation, FILTERS)
        if isinstance(self.to, int) and self.to < 1:
            raise InputError(f"resize is {self.to}; expected the length of the short side, at least 1 pixel.")

    def check(self, size: tuple[int, int] | None) -> None:
        """Raise InputError if a crop to ``size`` (height, width) does not fit into the resized images."""
        if self.to is None:
            return
        if size is None:
            raise InputError(f"resize is {self.to}, but there is no image size to crop to; expected both.")
        height, width = (self.to, self.to) if isinstance(self.to, int) else self.to
        if height < size[0] or width < size[1]:
            raise InputError(
                f"resize is {self.to}, smaller than the image size {size[0]} x {size[1]} (height x width), to which "
                "the resized image is cropped; expected at least the image size."
            )

    def apply(self, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        """Resize and crop ``image`` to ``size`` (height, width). Its mode must allow interpolation."""
        method, (height, width) = FILTERS[self.interpolation], size
        if self.to is None:
            if (image.height, image.width) == (height, width):
                return image
            return ImageOps.fit(image, (width, height), method)
        resized = self._resized(image, self.to, method)
        # The same rounding as in torchvision's CenterCrop.
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
