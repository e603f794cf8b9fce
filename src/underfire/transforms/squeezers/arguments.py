"""Reading of the numbers in squeezers' text forms."""

from __future__ import annotations

from underfire.errors import InputError


def whole(text: str, label: str, expected: str) -> int:
    """Read a whole number.

    Args:
        text: the number's digits.
        label: the squeezer's text form, for the message.
        expected: a correct text form, for the message.

    Raises:
        InputError: ``text`` is no whole number.
    """
    if not (text.isascii() and text.isdigit()):
        raise InputError(f"squeezer is {label!r}; expected a whole number in the place of {text!r}, as in {expected}.")
    return int(text)
