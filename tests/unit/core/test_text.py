"""Text for messages: what is printed, suggested and compared."""

import pytest

from daypass._core.text import mask_unprintable, printable, suggest, unified_diff


def test_foreign_text_becomes_one_printable_line_of_limited_length() -> None:
    assert printable("a\n\tb\x1b[2J c") == "a b [2J c"
    assert printable("a\u202eb", 10) == "a b"
    assert printable("x" * 100, 10) == "x" * 10


def test_unprintable_characters_are_masked_unless_kept() -> None:
    text = "a\x1b[31m\u202eb\n"
    assert mask_unprintable(text) == "a?[31m?b?"
    assert mask_unprintable(text, keep="\n") == "a?[31m?b\n"


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("audience", "audiences"),
        ("longest-lifetime", "longestLifetime"),
        ("longestlifetim", "longestLifetime"),
        ("mdoe", "mode"),
        ("li", None),
    ],
)
def test_the_word_that_was_probably_meant_is_suggested(word: str, meant: str | None) -> None:
    assert suggest(word, ("audiences", "longestLifetime", "mode")) == meant


def test_a_diff_names_absent_files_and_ends_each_line() -> None:
    assert unified_diff(None, "a", "a/x", "b/x") == "--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+a\n"
    assert unified_diff("a\n", None, "a/x", "b/x") == "--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n"
    assert unified_diff("a\n", "a\n", "a/x", "b/x") == ""
