"""Small image files, written by the tests themselves."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

WriteImage = Callable[..., Path]


@pytest.fixture
def write_image(tmp_path: Path) -> WriteImage:
    """``write_image("a/b.png", 7)`` writes a grey 4 x 4 image of level 7 below ``tmp_path``."""

    def write(name: str, level: int = 0, size: tuple[int, int] = (4, 4)) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()  # the format is given, because some tests use names without a usual suffix
        Image.new("L", size, level).save(buffer, "PNG")
        path.write_bytes(buffer.getvalue())
        return path

    return write


@pytest.fixture(scope="session")
def cifar10() -> Path:
    """The folder of the CIFAR-10 parquet files beside the checkout; skips the test if it is missing."""
    folder = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "cifar10"
    if not (folder / "test.parquet").is_file():
        pytest.skip("no CIFAR-10 at ../shared/data/cifar10: it is not part of the repository")
    return folder
