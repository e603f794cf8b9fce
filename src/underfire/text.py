"""Names that others chose (classes, images, paths), made fit to be shown. They are data, and may hold anything."""

from __future__ import annotations

import unicodedata

# They turn the reading direction of what follows, so that a name could dress up as another one.
_DIRECTION = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def plain(text: object) -> str:
    """``text`` with everything that is no visible character spelled out, such as ``\\u202e``.

    Controls, line ends, marks of the reading direction, and the halves of characters that file names in another
    encoding leave behind (which no file in UTF-8 can hold).
    """
    return "".join(_spelled(character) if _hidden(character) else character for character in str(text))


def ascii_only(text: object) -> str:
    """``text`` in ASCII, for Pillow's built-in font: accents are dropped, other scripts become ``?``."""
    parts = unicodedata.normalize("NFKD", plain(text))
    return "".join(c if c.isascii() else "?" for c in parts if not unicodedata.combining(c))


def _hidden(character: str) -> bool:
    return character in _DIRECTION or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def _spelled(character: str) -> str:
    return f"\\u{ord(character):04x}"
