"""Pages that tests write and parse."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from underfire.reports.page import write_page

VOID = {"meta", "img", "br", "link", "input", "path", "use"}


class Parsed(HTMLParser):
    """The elements of a page with their attributes, and its texts with their elements. Unbalanced tags are an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attributes}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attributes}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open:
            self.texts.append((self.open[-1], data))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page(out: Path, *runs: Path, **options: object) -> tuple[str, Parsed]:
    text = write_page(runs, out / "page.html", **options).read_text(encoding="utf-8")
    return text, Parsed(text)


def gallery_data(parsed: Parsed) -> dict[str, Any]:
    """Read the content of the gallery."""
    texts = [text for tag, text in parsed.texts if tag == "script" and text.startswith('{"groups"')]
    found: dict[str, Any] = json.loads(texts[0])
    return found
