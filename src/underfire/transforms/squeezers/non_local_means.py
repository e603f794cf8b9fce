"""Non-local means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from underfire.errors import InputError
from underfire.transforms.squeezers.arguments import whole
from underfire.transforms.squeezers.base import Squeezer


@dataclass(frozen=True)
class NonLocalMeans(Squeezer):
    """Average each pixel with the pixels around it whose patches look alike (Buades et al. 2005; Xu et al. 2018).

    Computed by scikit-image's ``denoise_nl_means(fast_mode=True)``, one image at a time. Xu et al. give the parameters
    of OpenCV's function ``fastNlMeansDenoisingColored``; they become

    - ``search`` (OpenCV's searchWindowSize, odd): ``patch_distance = (search - 1) / 2``;
    - ``patch`` (templateWindowSize, odd): ``patch_size = patch``;
    - ``strength`` (h, on the scale 0 to 255): ``h = strength / 255``.

    Both weigh a patch by exp(-d / h^2), where d is the mean squared difference over its cells and channels. OpenCV
    compares colours in CIELAB and rounds to 8 bits; here they are compared in RGB and not rounded. Text form:
    ``non-local-means:11-3-4`` (search, patch, strength). Attacks use the gradient of the identity (BPDA).

    Args:
        search: the side of the window in which patches are looked for, in pixels; odd.
        patch: the side of a patch in pixels; odd.
        strength: how different patches may be, on the scale 0 to 255; larger removes more.
    """

    name: ClassVar[str] = "non-local-means"

    search: int = 11
    patch: int = 3
    strength: int = 4

    def __post_init__(self) -> None:
        for argument, value, least in (("search", self.search, 3), ("patch", self.patch, 1)):
            if value < least or value % 2 == 0:
                raise InputError(f"{argument} is {value}; expected an odd number, at least {least}.")
        if self.strength < 1:
            raise InputError(f"strength is {self.strength}; expected at least 1.")

    @property
    def label(self) -> str:
        return f"{self.name}:{self.search}-{self.patch}-{self.strength}"

    @classmethod
    def from_argument(cls, argument: str) -> NonLocalMeans:
        label, numbers = f"{cls.name}:{argument}", argument.split("-")
        if len(numbers) != 3:
            raise InputError(
                f"squeezer is {label!r}; expected search, patch and strength, as in non-local-means:11-3-4."
            )
        return cls(*(whole(number, label, "non-local-means:11-3-4") for number in numbers))

    def squeeze(self, images: Tensor) -> Tensor:
        try:
            from skimage.restoration import denoise_nl_means
        except ImportError as error:
            raise InputError(
                "squeezer 'non-local-means' needs the package scikit-image: pip install scikit-image."
            ) from error
        dtype = images.dtype if images.dtype == torch.float64 else torch.float32
        squeezed = torch.empty_like(images)
        for place, image in enumerate(images.to("cpu", dtype).movedim(1, -1).contiguous()):
            found = denoise_nl_means(
                image.numpy(),
                patch_size=self.patch,
                patch_distance=self.search // 2,
                h=self.strength / 255,
                fast_mode=True,
                channel_axis=-1,
            )
            squeezed[place] = torch.from_numpy(found).view(image.shape).movedim(-1, 0)
        return squeezed.clamp_(0, 1)
