from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

PHOTOS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "imagenet-sample"


@pytest.fixture(scope="session")
def photos() -> Tensor:
    """Eight photographs, 8 x 3 x 160 x 192 in [0, 1], cropped from the middle, not resized."""
    files = sorted(PHOTOS.glob("*/*.JPEG"))[::20]
    crops: list[Tensor] = []
    for file in files:
        with Image.open(file) as image:
            pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
        top, left = (pixels.shape[1] - 160) // 2, (pixels.shape[2] - 192) // 2
        if top >= 0 and left >= 0 and len(crops) < 8:
            crops.append(pixels[:, top : top + 160, left : left + 192].float() / 255)
    if len(crops) < 8:
        pytest.skip(f"the sample of photographs is not at {PHOTOS}")
    return torch.stack(crops)
