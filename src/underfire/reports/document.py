"""Documents: HTML pages made of blocks. A page needs no network, and runs no scripts but its own."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from underfire.reports.output import writing
from underfire.reports.sound import last_line
from underfire.text import plain

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
NO_PICTURES: Mapping[str, str] = MappingProxyType({})


class Block(ABC):
    """One part of a page, such as a table. Subclasses are dataclasses that hold its content.

    Attributes:
        name: the name of the files in ``templates/``: ``NAME.html.j2``, which gets the block as ``block`` and a unique
            id as ``id``, and if they exist ``NAME.css`` and ``NAME.js``, which are written into the page once.
        uses_plotly: True if the block's script draws with plotly.
    """

    name: ClassVar[str]
    uses_plotly: ClassVar[bool] = False


@dataclass(frozen=True)
class Section:
    """A section of a page.

    Args:
        id: the section's anchor, which links of the page's head lead to.
        title: the heading.
        blocks: the content.
        about: an explanation below the heading.
        link: the text of the link in the page's head; none if empty.
    """

    id: str
    title: str
    blocks: Sequence[Block]
    about: str = ""
    link: str = ""


def write_document(
    out: Path, title: str, sections: Sequence[Section], pictures: Mapping[str, str] = NO_PICTURES
) -> Path:
    """Write a page of sections.

    Args:
        out: the HTML file. Its folder is made if it does not exist.
        title: the title of the window.
        sections: the content, from top to bottom. Sections without blocks are left out.
        pictures: the digests of the pictures in the folder beside the page, by the names of their files. They are part
            of the hash in the page's last line; see ``sound``.

    Returns:
        ``out``.

    Raises:
        StoreError: ``out`` cannot be written.
    """
    text = render(title, [section for section in sections if section.blocks]) + "\n"
    with writing(out, "page") as part:
        part.write_text(text + last_line(text, pictures), encoding="utf-8", newline="\n")
    return out


def render(title: str, sections: Sequence[Section]) -> str:
    """Write sections as the text of one HTML file."""
    blocks = [block for section in sections for block in section.blocks]
    names = list(dict.fromkeys(block.name for block in blocks))
    library = _plotly() if any(block.uses_plotly for block in blocks) else ""
    scripts = [*_files("document", *names, suffix="js")]
    allowed = " ".join(_hash(code) for code in (*scripts, library) if code)
    return (
        _environment()
        .get_template("document.html.j2")
        .render(
            title=plain(title),
            sections=sections,
            links=[section for section in sections if section.link],
            styles=_files("document", *names, suffix="css"),
            scripts=scripts,
            library=_packed(library) if library else "",
            # The browser loads nothing but pictures beside the page, and runs only these scripts, even if a name on the
            # page holds HTML.
            policy=f"default-src 'none'; img-src 'self' file: data:; style-src 'unsafe-inline'; script-src {allowed}",
        )
    )


@cache
def _environment() -> Environment:
    """Make the reader of templates, which keeps those that it has compiled."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,  # names on the page come from outside, and may hold HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["unbroken"] = unbroken
    return environment


def unbroken(text: str) -> str:
    """Keep a share and its interval on one line, with spaces that do not break."""
    return re.sub(r" (%|\[[+-]?\d+,|[+-]?\d+\])", "\u00a0\\1", text)


def _files(*names: str, suffix: str) -> list[str]:
    paths = [TEMPLATES / f"{name}.{suffix}" for name in names]
    return [path.read_text(encoding="utf-8") for path in paths if path.exists()]


@lru_cache(maxsize=1)
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    code: str = get_plotlyjs()
    return code


@lru_cache(maxsize=1)
def _packed(code: str) -> str:
    """Compress code for the browser to unpack.

    It takes a third of the size, and cannot contain ``</script>``, which would end the script element.
    """
    return base64.b64encode(gzip.compress(code.encode(), 9, mtime=0)).decode("ascii")


def _hash(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode('ascii')}'"
