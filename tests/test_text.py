"""Checking and normalising user text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cteg.errors import InputError
from cteg.text import MAX_CHARACTERS, check_text


@pytest.mark.parametrize(
    "text", ["", " ", "\n\t", "\u200b\u200d", "\u202e", "\x00", "\ud800", None, 7, ["a"]], ids=repr
)
def test_nothing_to_read_is_refused(text):
    with pytest.raises(InputError):
        check_text(text)


@pytest.mark.parametrize("length", [MAX_CHARACTERS + 1, 10_000, 1_000_000])
def test_long_text_is_refused_with_the_limit(length):
    with pytest.raises(InputError, match=f"{length:,} characters; the limit is {MAX_CHARACTERS}"):
        check_text("a" * length)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  I   can't\r\nbelieve it ", "I can't believe it"),
        ("e\u0301", "é"),
        ("a\u202eb\u200bc", "abc"),
        ("\x1b[31mred", "[31mred"),
        ("<b>${x}</b> {{y}}", "<b>${x}</b> {{y}}"),
        ("👩\u200d👧", "👩👧"),
        ("😀", "😀"),
        ("?!", "?!"),
        ("ok\ud800", "ok"),
    ],
)
def test_normal_form(text, expected):
    assert check_text(text) == expected


def test_stacked_marks_are_thinned():
    assert len(check_text("Z" + "\u0302\u0303\u0304\u0305" * 20)) < 8


@given(st.text(st.characters(), max_size=200))
def test_any_text_is_normalised_once_and_for_all_or_refused(text):
    try:
        once = check_text(text)
    except InputError:
        return
    assert check_text(once) == once
    assert once.isprintable()
    once.encode("utf-8")
