"""The loss that MASK minimises (Fong & Vedaldi 2017, eq. 3), for a batch, differentiable in masks and images.

Every linear operation (enlarging, blurring, upsampling) is two small matrix products, one for each side of the image.
That is faster than a convolution, and deterministic on a GPU, which bilinear upsampling is not.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire.interpreters.mask_settings import Settings
from underfire.numerics import of_class

TV_EPSILON = 1e-8
ALIGNED = 16
"""The number of 32-bit values that a processor's widest instructions process at once (64 bytes)."""


def _resize(inputs: int, outputs: int) -> Tensor:
    """Make the matrix of a linear interpolation between the centres of pixels, float64 ``outputs`` x ``inputs``."""
    return F.interpolate(torch.eye(inputs, dtype=torch.float64)[None], outputs, mode="linear")[0].T.contiguous()


def _blur(side: int, window: int, sigma: float) -> Tensor:
    """Make the matrix of a Gaussian blur that mirrors the image at its border, float64 ``side`` x ``side``."""
    offsets = torch.arange(window, dtype=torch.float64) - (window - 1) / 2
    weights = torch.exp(-0.5 * (offsets / sigma).square())
    reach = min((window - 1) // 2, side - 1)  # a window cannot mirror more than the whole image
    cut = (window - 1) // 2 - reach
    weights = weights[cut : window - cut]
    identity = F.pad(torch.eye(side, dtype=torch.float64)[None], (reach, reach), mode="reflect")
    kernel = (weights / weights.sum()).view(1, 1, -1)
    return F.conv1d(identity.transpose(0, 1), kernel).squeeze(1).T.contiguous()


class _Both:
    """The product ``rows`` @ image @ ``columns``^T for each image N x ... x h x w.

    Images are padded to a width that is a multiple of ``ALIGNED`` values. Otherwise the address at which an image
    begins decides which instructions multiply it: with AVX-512, the last bits of the gradient of a 5 x 5 mask then
    depend on its place in the batch.
    """

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        self.rows, (self.width, inputs) = rows, columns.shape
        self.columns = F.pad(columns, (0, -inputs % ALIGNED, 0, -self.width % ALIGNED))

    def __call__(self, images: Tensor) -> Tensor:
        lacking = self.columns.shape[1] - images.shape[-1]
        wide = F.pad(images, (0, lacking)) if lacking else images
        return torch.matmul(torch.matmul(self.rows, wide), self.columns.T)[..., : self.width]


class Problem:
    """The loss of masks for images of one size, dtype and device. Use ``problem_of`` to get one.

    Masks are N x h x w in [0, 1]: 1 keeps a pixel, 0 blurs it.
    """

    def __init__(self, settings: Settings, dtype: torch.dtype, device: torch.device) -> None:
        self.settings = settings
        here = settings

        def ready(matrix: Tensor) -> Tensor:
            return matrix.to(device=device, dtype=dtype)

        def softened(length: int) -> Tensor:
            return ready(_blur(length, here.blur, here.sigma))

        def spread(cells: int, length: int) -> Tensor:
            return ready(_blur(length, here.mask_blur, here.mask_sigma) @ _resize(cells, length))

        tall, wide = here.height + here.jitter, here.width + here.jitter
        self._enlarge = _Both(ready(_resize(here.height, tall)), ready(_resize(here.width, wide)))
        self._soften = _Both(softened(tall), softened(wide))
        self._upsample = _Both(spread(here.rows, here.height), spread(here.columns, here.width))

    def layers(self, images: Tensor) -> Tensor:
        """Compute the blurred image, and the sharp image minus the blurred one, both enlarged by the jitter.

        Returns:
            Both, joined along the channels: N x 2C x (H + jitter) x (W + jitter) for images N x C x H x W.
        """
        sharp = self._enlarge(images) if self.settings.jitter else images
        soft = self._soften(sharp)
        return torch.cat([soft, sharp - soft], 1)

    def upsampled(self, masks: Tensor) -> Tensor:
        """Enlarge masks N x h x w to the size of the images."""
        return self._upsample(masks)

    def blend(self, layers: Tensor, masks: Tensor, offsets: Tensor) -> Tensor:
        """Compute image * mask + blurred * (1 - mask), N x C x H x W in [0, 1].

        Args:
            layers: see ``layers``.
            offsets: int64 N x 2 in 0..jitter, the corner of each image's crop. The mask is not shifted.
        """
        soft, lack = self._crop(layers, offsets).chunk(2, 1)
        return torch.addcmul(soft, lack, self.upsampled(masks).unsqueeze(1))

    def _crop(self, layers: Tensor, offsets: Tensor) -> Tensor:
        here = self.settings
        if not here.jitter:
            return layers
        rows = (offsets[:, :1] + torch.arange(here.height, device=offsets.device)).view(len(layers), 1, -1, 1)
        columns = (offsets[:, 1:] + torch.arange(here.width, device=offsets.device)).view(len(layers), 1, 1, -1)
        count, planes = layers.shape[:2]
        tall = layers.gather(2, rows.expand(count, planes, here.height, layers.shape[3]))
        return tall.gather(3, columns.expand(count, planes, here.height, here.width))

    def penalty(self, masks: Tensor) -> Tensor:
        """Compute the penalty of masks, l1 * |1 - m|_1 + tv * sum (|dx|^2 + |dy|^2 + 1e-8)^(power/2), N.

        dx and dy are the differences of a cell to its right and its lower neighbour. (Published code pairs dx with the
        transpose of dy.)
        """
        across = masks[:, :-1, 1:] - masks[:, :-1, :-1]
        down = masks[:, 1:, :-1] - masks[:, :-1, :-1]
        squares = across.square() + down.square() + TV_EPSILON
        variation = squares.pow(self.settings.power / 2).sum((1, 2))
        return self.settings.l1 * (1 - masks).abs().sum((1, 2)) + self.settings.tv * variation

    def loss(self, logits: Tensor, classes: Tensor, masks: Tensor) -> Tensor:
        """Compute the probability of the class plus the penalty, N, from the logits N x K of the blends."""
        chosen = of_class(logits.softmax(1), classes)
        return chosen + self.penalty(masks)


@lru_cache(maxsize=16)
def problem_of(settings: Settings, dtype: torch.dtype, device: torch.device) -> Problem:
    """Return the loss for images of this size; its matrices are made once and kept."""
    return Problem(settings, dtype, device)
