"""What a run's record says of an attack's loss terms."""

from __future__ import annotations

import re
from collections.abc import Iterator

OPEN, CLOSE = "([{", ")]}"

LEEWAY = 1e-3
"""The share by which an attacker's threshold may be above the detector's: both may be written with four digits."""

_WEIGHT = re.compile(r", weight=([^,()]+)[,)]")


def terms_of(attack: str, *names: str) -> Iterator[str]:
    """Yield the descriptions of an attack's loss terms of some kinds, such as ``Squeeze(squeezers=(Median(size=2),))``.

    A term with the constant weight 0 is left out: it changes nothing.

    Args:
        attack: the attack's description in ``run.json``.
        names: the names of the terms' classes.
    """
    for found in re.finditer(rf"\bterm=(?:{'|'.join(names)})\(", attack):
        _, end = _cut(attack, found.end() - 1)
        if end is not None and not _weighs_nothing(attack[end:]):
            yield attack[found.start() + len("term=") : end]


def fields_of(description: str) -> dict[str, str]:
    """Split a description such as ``Evade(slack=0.75)`` into its fields, as texts by name."""
    parts, _ = _cut(description, description.find("("))
    pairs = [part.partition("=") for part in parts]
    return {name: value for name, sign, value in pairs if sign and name.isidentifier()}


def items_of(description: str) -> list[str]:
    """Split the description of a tuple into those of its items."""
    parts, _ = _cut(description, description.find("("))
    return parts


def number_of(description: str | None) -> float | None:
    """Read the description of a number; None if it is no number."""
    try:
        return None if description is None else float(description)
    except ValueError:
        return None


def at_own_threshold(term: str) -> bool:
    """Return True if a term ``Score`` has the threshold of the detector or surrogate that it lowers, or a lower one."""
    fields = fields_of(term)
    given, own = number_of(fields.get("threshold")), number_of(fields_of(fields.get("detector", "")).get("threshold"))
    return given is not None and own is not None and given <= own + LEEWAY * abs(own)


def _cut(text: str, begin: int) -> tuple[list[str], int | None]:
    """Cut the text in brackets at its own commas, not at those in further brackets or in quotes.

    Args:
        text: any text.
        begin: the place of the opening bracket; -1 if there is none.

    Returns:
        The parts, and the place after the closing bracket; None if the bracket is never closed.
    """
    parts, depth, quote, last, escaped = list[str](), 0, "", begin + 1, False
    for place in range(begin, len(text)) if begin >= 0 else ():
        letter = text[place]
        if quote:
            quote = "" if letter == quote and not escaped else quote
            escaped = letter == "\\" and not escaped
        elif letter in "'\"":
            quote = letter
        elif letter in OPEN:
            depth += 1
        elif letter in CLOSE:
            depth -= 1
        if not quote and (depth == 0 or (depth == 1 and letter == ",")):
            parts.append(text[last:place].strip())
            last = place + 1
        if depth == 0:
            return [part for part in parts if part], place + 1
    return [], None


def _weighs_nothing(rest: str) -> bool:
    """Return True if the text after a term says that its weight is 0."""
    found = _WEIGHT.match(rest)
    return found is not None and number_of(found[1]) == 0
