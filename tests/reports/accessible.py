"""Faults of a page for people who use the keyboard or a screen reader, as far as its elements show them."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "input", "path", "use"}
NAMED = ("button", "a", "summary", "h1", "h2", "h3", "h4", "caption", "th", "label")
"""Elements that need a text, or a name for screen readers."""


class _Faults(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[tuple[str, dict[str, str], list[str]]] = []
        self.levels: list[int] = []
        self.ids: Counter[str] = Counter()
        self.wanted: list[str] = []
        self.captions = 0
        self.tables = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.ids.update([given["id"]] if "id" in given else [])
        for name in ("aria-labelledby", "aria-describedby", "aria-controls"):
            self.wanted += given.get(name, "").split()
        if int(given.get("tabindex", "0")) > 0:
            self.found.append(f"<{tag}> has the tabindex {given['tabindex']}, which changes the order of the keyboard")
        if tag == "html" and not given.get("lang"):
            self.found.append("the page does not say its language")
        filled = any(name == "dialog" for name, _, _ in self.open)  # by a script, when it opens
        if tag == "img" and not given.get("alt") and not filled:
            self.found.append(f"an image has no alt text: {given.get('src', '')[:40]}")
        if tag == "th" and given.get("scope") not in ("col", "row"):
            self.found.append("a heading of a table says neither col nor row")
        if given.get("role") in ("img", "region", "group") and not {"aria-label", "aria-labelledby"} & set(given):
            self.found.append(f"a <{tag}> of role {given['role']} has no name")
        if tag in ("select", "input", "textarea"):
            inside = any(name == "label" for name, _, _ in self.open)
            if not inside and not given.get("aria-label"):
                self.found.append(f"<{tag} name={given.get('name')!r}> has no label")
        if re.fullmatch("h[1-6]", tag):
            level = int(tag[1])
            if level > (self.levels[-1] if self.levels else 0) + 1:
                self.found.append(f"a heading of level {level} follows one of level {(self.levels or [0])[-1]}")
            self.levels.append(level)
        self.tables += tag == "table"
        self.captions += tag == "caption"
        for _, _, texts in self.open:
            texts.append(given.get("alt", ""))  # the name of a link around a picture
        if tag not in VOID:
            self.open.append((tag, given, []))

    def handle_endtag(self, tag: str) -> None:
        _, given, texts = self.open.pop()
        filled = any(name == "dialog" for name, _, _ in self.open)
        if tag in NAMED and not filled and not given.get("aria-label") and not "".join(texts).strip():
            self.found.append(f"a <{tag}> has no text: {given}")

    def handle_data(self, data: str) -> None:
        for _, _, texts in self.open:
            texts.append(data)


def faults(text: str) -> list[str]:
    """List the faults of a page, in plain words."""
    parser = _Faults()
    parser.feed(text)
    found = parser.found
    if parser.levels.count(1) != 1:
        found.append(f"there are {parser.levels.count(1)} headings of level 1; expected one")
    if parser.captions != parser.tables:
        found.append(f"there are {parser.tables} tables and {parser.captions} captions")
    found += [f"the id {name!r} is there {number} times" for name, number in parser.ids.items() if number > 1]
    found += [f"there is no element with the id {name!r}" for name in parser.wanted if name not in parser.ids]
    return found
