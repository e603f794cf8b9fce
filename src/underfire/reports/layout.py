"""The parts of a plotly chart that all charts have: its layout, vertical lines with words above them, and safe text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mark:
    """A vertical line at ``x``, with ``text`` above it."""

    x: float
    text: str


HEIGHTS = 3
"""Words of marks stand at so many different heights, because neighbouring marks may be close together."""

WORD, PLOT = 18, 222
"""The height of a mark's word and that of the area of the curves, in pixels."""


def layout(x_title: str, y_axis: dict[str, Any], words: int = 0) -> dict[str, Any]:
    """Return the layout that all charts share, for plotly.

    Args:
        x_title: the name of the axis of x.
        y_axis: the axis of y.
        words: the lines that marks' words need between the curves and the legend.
    """
    above = WORD * words
    return {
        "margin": {"l": 64, "r": 12, "t": 26 + above, "b": 52},
        "height": PLOT + 26 + 52 + above,
        "legend": {"orientation": "h", "x": 0, "y": 1.02 + above / PLOT, "yanchor": "bottom"},
        "xaxis": {"title": {"text": x_title, "standoff": 8}, "zeroline": False, "fixedrange": True},
        "yaxis": {**y_axis, "zeroline": False, "fixedrange": True},
        "shapes": [],
        "annotations": [],
    }


def as_markup(text: str) -> str:
    """Escape text for plotly, which reads a few HTML tags in names."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def line_of(mark: Mark) -> dict[str, Any]:
    """Return the line of a mark, as a shape of plotly."""
    ends = {"x0": mark.x, "x1": mark.x, "y0": 0, "y1": 1, "yref": "paper"}
    return {"type": "line", **ends, "line": {"width": 1, "dash": "dot"}}


def word_of(mark: Mark, number: int) -> dict[str, Any]:
    """Return the word of the mark of this number, as an annotation of plotly."""
    # Above the curves: inside, a curve that begins at 0 would go through the first word.
    place = {
        "x": mark.x,
        "y": 1,
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "xshift": 4,
        "yshift": WORD * (number % HEIGHTS),
    }
    return {"text": as_markup(mark.text), "showarrow": False, **place}
