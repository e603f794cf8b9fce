"""Display of names from outside (classes, images, paths), which may contain any characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Literal

# These characters change the reading direction, so that one name could look like another.
_DIRECTION = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def plain(text: object) -> str:
    """Replace invisible characters in ``text`` by escapes such as ``\\u202e``.

    These are control characters, line ends, marks of the reading direction, and lone surrogates, which come from file
    names in another encoding and cannot be written in UTF-8.
    """
    return "".join(_spelled(character) if _hidden(character) else character for character in str(text))


_ROOTED = re.compile(r"""(^|[:=@+,;|(\['" ])(?:/(?!/)|~[^/\\]*[/\\]|[A-Za-z]:[/\\]|\\\\)(?:.*[/\\])?(?=[^/\\\s])""")
"""A path that begins at a root or a home, up to its last part, and what stands before it."""


def without_folders(text: object) -> str:
    """Leave out the folders of paths that begin at a root or a home, because they say whose machine it was.

    Such paths may stand within a name: ``rts:/home/me/own.py:Mine`` becomes ``rts:own.py:Mine``. Relative paths stay.
    """
    # A path ends at ".py:", or at a plus before another name or path; a folder's name may hold anything else.
    return "".join(_ROOTED.sub(r"\1", part) for part in re.split(r"(\.py:|\+(?=\w+:|[/~]))", str(text)))


def first_few(items: Sequence[object], shown: int = 3, separator: str = ", ") -> str:
    """Join the first ``shown`` items, and say how many more there are: ``a, b, c and 5 more``."""
    more = len(items) - shown
    return separator.join(map(str, items[:shown])) + (f" and {more} more" if more > 0 else "")


def counted(count: int, noun: str, ending: str = "s") -> str:
    """Write a number of things: ``1 image``, ``2 images``.

    Args:
        count: the number.
        noun: one thing.
        ending: the ending of the noun for all other numbers than 1.
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{ending}"


def no_image(count: int, of: str, verb: Literal["can", "is"], rest: str) -> str:
    """Say that no image is as it should be: "none of the 8 images is right", "the only image is not right".

    Args:
        count: the number of images.
        of: words behind "images", such as " of 'test'"; may be empty.
        verb: the verb.
        rest: what none of them is, or can.
    """
    if count == 1:
        return f"the only image{of} {'cannot' if verb == 'can' else 'is not'} {rest}"
    return f"none of the {count} images{of} {verb} {rest}"


def card(name: str, about: str, lines: Mapping[str, str]) -> str:
    """Write a model card as Markdown: a heading, a paragraph, and a table of two columns."""
    table = "\n".join(f"| {what} | {text} |" for what, text in lines.items())
    return f"# {name}\n\n{about}\n\n| | |\n|---|---|\n{table}\n"


def with_article(noun: str) -> str:
    """Put "a" or "an" before a noun that is spelled as it sounds: ``a Term``, ``an Export``."""
    return f"{'an' if noun[:1].lower() in tuple('aeiou') else 'a'} {noun}"


def ascii_only(text: object) -> str:
    """Reduce ``text`` to ASCII for Pillow's built-in font: accents are dropped, other scripts become ``?``."""
    parts = unicodedata.normalize("NFKD", plain(text))
    return "".join(c if c.isascii() else "?" for c in parts if not unicodedata.combining(c))


def _hidden(character: str) -> bool:
    return character in _DIRECTION or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def _spelled(character: str) -> str:
    return f"\\u{ord(character):04x}"
