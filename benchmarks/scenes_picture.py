"""Draw the picture in docs/scenes.md: all classes of scenes, and outlines of the objects' true masks.

python -m benchmarks.scenes_picture [--out docs/pictures/scenes.png] [--columns 8] [--subset test]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from underfire.data import Scenes

ZOOM = 2
GAP = 4
NAMES = 88  # width in pixels of the column of names


def outlined(data: Scenes, index: int) -> Image.Image:
    """Enlarge a picture and draw a white line around the mask, with a black line around it."""
    picture = np.array(data.read(index)).repeat(ZOOM, 0).repeat(ZOOM, 1)
    mask = data.mask(index).numpy().repeat(ZOOM, 0).repeat(ZOOM, 1)
    first = grown(mask)
    picture[grown(first) & ~first] = 0
    picture[first & ~mask] = 255
    return Image.fromarray(picture)


def grown(mask: np.ndarray) -> np.ndarray:
    """Enlarge the mask by the four neighbours of each of its pixels."""
    padded = np.pad(mask, 1)
    return mask | padded[2:, 1:-1] | padded[:-2, 1:-1] | padded[1:-1, 2:] | padded[1:-1, :-2]


def sheet(data: Scenes, columns: int) -> Image.Image:
    """Arrange the first ``columns`` pictures of each class in a row. Every second one has the outline of its mask."""
    rows: list[list[int]] = [[] for _ in data.class_names]
    for index in range(len(data)):
        rows[data.record(index).label].append(index)
    step = 64 * ZOOM + GAP
    page = Image.new("RGB", (NAMES + columns * step, len(rows) * step + GAP), "white")
    draw = ImageDraw.Draw(page)
    for row, (name, indices) in enumerate(zip(data.class_names, rows, strict=True)):
        top = GAP + row * step
        draw.text((8, top + 32 * ZOOM), name, "black", ImageFont.load_default(15), anchor="lm")
        for column, index in enumerate(indices[:columns]):
            plain = data.read(index).resize((64 * ZOOM, 64 * ZOOM), Image.Resampling.NEAREST)
            page.paste(outlined(data, index) if column % 2 else plain, (NAMES + column * step, top))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/scenes.png"))
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--subset", default="test")
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    page = sheet(Scenes(arguments.subset, count=10 * arguments.columns), arguments.columns)
    # With 256 colours the file is a quarter as large, and looks the same.
    page.quantize(256, dither=Image.Dither.NONE).save(arguments.out, optimize=True)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
