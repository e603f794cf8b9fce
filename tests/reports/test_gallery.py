"""Images and maps as data URIs."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
from PIL import Image

from underfire.drawing.pictures import ANCHORS, veil
from underfire.reports.gallery import data_uri, map_uri


def decoded(uri: str) -> Image.Image:
    head, _, content = uri.partition(",")
    assert re.fullmatch(r"data:image/(png|webp|jpeg);base64", head)
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_small_images_are_exact_and_large_ones_small() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    assert (np.array(decoded(data_uri(picture))) == picture).all()
    large = np.tile(np.arange(0, 255, dtype=np.uint8)[None, :, None], (600, 4, 3))
    assert decoded(data_uri(large)).size == (256, 151)


def test_maps_keep_their_colours_and_how_clear_they_are() -> None:
    values = np.array([[0.0, 1.0], [0.5, 0.25]], dtype=np.float32)
    shown = np.array(decoded(map_uri(values)).convert("RGBA"))
    assert shown[0, 0, 3] == 0
    assert shown[0, 1].tolist() == [*ANCHORS[-1], 217]
    assert np.abs(shown[1].astype(int) - veil(values)[1]).max() <= 5
    assert len(map_uri(np.random.default_rng(0).random((8, 8), dtype=np.float32))) < 800
