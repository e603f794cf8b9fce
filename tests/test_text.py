"""Display of names with invisible or foreign characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underfire.drawing.sheet import _font, wrapped
from underfire.text import ascii_only, counted, first_few, no_image, plain, with_article, without_folders


def test_what_cannot_be_seen_is_spelled_out() -> None:
    assert plain("gnp\u202egpj.exe") == "gnp\\u202egpj.exe"
    assert plain("a\nb\x00") == "a\\u000ab\\u0000"
    assert plain("caf\udce9") == "caf\\udce9"
    assert plain("Käse 中文 🐈 <b>") == "Käse 中文 🐈 <b>"
    assert plain(3) == "3"


@given(st.text(st.characters(exclude_categories=[])))
def test_plain_text_fits_into_a_file_and_stays(text: str) -> None:
    once = plain(text)
    once.encode("utf-8")
    assert plain(once) == once
    assert not any(mark in once for mark in "\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\n\r\u2028")


def test_ascii_keeps_letters_and_says_where_something_was() -> None:
    assert ascii_only("Käse → naïve") == "Kase ? naive"
    assert ascii_only("中文") == "??"


def test_first_few_says_how_many_more() -> None:
    assert first_few([]) == ""
    assert first_few([1, 2, 3]) == "1, 2, 3"
    assert first_few("abcde", 2, "; ") == "a; b and 3 more"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/home/me/net.py:make", "net.py:make"),
        ("C:\\Users\\me\\net.py:make", "net.py:make"),
        ("~me/x.pt", "x.pt"),
        ("rts:~/own.py:Mine", "rts:own.py:Mine"),
        ("ensemble:cam+/a/b c/own.py:Mine", "ensemble:cam+own.py:Mine"),
        ("/net.py:make", "net.py:make"),
        ("nets/own.py:make", "nets/own.py:make"),
        ("/home/me@corp.org/a+b, v=2/own.py:Mine", "own.py:Mine"),
        ("cam+/a/own.py:Mine+/b/other.py:Theirs", "cam+own.py:Mine+other.py:Theirs"),
        ("rts:/home/me/one+rts:/home/me/two", "rts:one+rts:two"),
        ("rts:/a/m+hf:org/net", "rts:m+hf:org/net"),
        ("[/home/me/x]", "[x]"),
        ("\\\\server\\me\\own.py:Mine", "own.py:Mine"),
        ("('~\\me\\x.py:N')", "('x.py:N')"),
        ("eps 8/255, median 2 / 3", "eps 8/255, median 2 / 3"),
        ("hf:someone/network", "hf:someone/network"),
        ("rts:cifar10-resnet20", "rts:cifar10-resnet20"),
    ],
)
def test_folders_of_a_machine_are_left_out(text: str, left: str) -> None:
    assert without_folders(text) == left


def test_one_thing_and_several() -> None:
    assert [counted(count, "image") for count in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
    assert [counted(count, "class", "es") for count in (1, 3)] == ["1 class", "3 classes"]


def test_no_image_is_as_it_should_be() -> None:
    assert no_image(3, " of 'x'", "can", "be read") == "none of the 3 images of 'x' can be read"
    assert no_image(1, " of 'x'", "can", "be read") == "the only image of 'x' cannot be read"
    assert no_image(2, "", "is", "right") == "none of the 2 images is right"
    assert no_image(1, "", "is", "right") == "the only image is not right"


def test_articles_fit_the_noun() -> None:
    assert [with_article(noun) for noun in ("Export", "Term", "Interpreter")] == [
        "an Export",
        "a Term",
        "an Interpreter",
    ]


@given(st.text("ab iW.", max_size=60), st.integers(20, 200))
def test_wrapped_lines_fit_and_lose_nothing(text: str, width: int) -> None:
    lines = wrapped(text, width, 14)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(_font(14).getlength(line) <= width for line in lines)
