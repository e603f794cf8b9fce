"""The page is safe from names that hold HTML, loads nothing, and has words for its pictures."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from tests.reports.fakes import Fake
from tests.reports.parsed import gallery_data, page

EVIL = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202egnp.exe &amp; {{ 7*7 }}"


def test_nothing_is_loaded_and_only_our_scripts_run(tmp_path: Path) -> None:
    _, parsed = page(tmp_path, Fake(count=2).write(tmp_path / "run"))
    for tag, attributes in parsed.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            value = attributes.get(name, "data:")
            assert value.startswith(("data:", "#")), (tag, name, value)  # the gallery's images are set by its script
        assert not any(name.startswith("on") for name in attributes)
    assert not parsed.all("link")
    policy = next(m["content"] for m in parsed.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src 'self' file: data:;")
    scripts = [text for tag, text in parsed.texts if tag == "script"]
    assert len(scripts) == len(parsed.all("script"))
    ours = [text for text in scripts if text.lstrip().startswith('"use strict"')]
    data = [attributes.get("type", "") for attributes in parsed.all("script") if attributes]
    assert len(ours) + len(data) == len(scripts)
    assert set(data) == {"application/json", "application/octet-stream"}
    for text in ours:
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1]
    assert "url(" not in "".join(text for tag, text in parsed.texts if tag == "style")


def test_names_stay_text(tmp_path: Path) -> None:
    fake = Fake(count=1, ids=(EVIL,), class_names=(EVIL, "lone\udce9", "cat"), classifier=EVIL, trace=True)
    folder = fake.write(tmp_path / "run", **{EVIL: EVIL})
    text, parsed = page(tmp_path, folder, title=EVIL)
    assert not [image for image in parsed.all("img") if image.get("src") == "x"]
    assert "alert(1)</script>" not in text
    assert "\u202e" not in text
    shown = EVIL.replace("\u202e", "\\u202e")
    assert [t for tag, t in parsed.texts if tag == "title"] == [shown]
    assert sum(t == shown for tag, t in parsed.texts if tag == "bdi") >= 3
    assert any(shown in image["alt"] for image in parsed.all("img"))
    found = gallery_data(parsed)
    assert found["images"][0]["label"] == found["images"][0]["id"] == shown
    assert "<" not in found["items"][0]["thumb"]


def test_every_picture_has_words_and_every_table_a_caption(tmp_path: Path) -> None:
    text, parsed = page(tmp_path, Fake(count=3, trace=True, masks=True).write(tmp_path / "run"))
    for image in parsed.all("img"):
        assert "alt" in image
        assert image["alt"] or "data-img" in image
    assert text.count("<table") == text.count("<caption")
    assert all(cell.get("scope") in ("col", "row") for cell in parsed.all("th"))
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in parsed.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            assert attributes.get(name, ids[0]) in ids
        if tag == "select":
            assert "name" in attributes or "aria-label" in attributes
