"""A command line parsed without `argparse`, whose import alone takes longer than a cached token."""

from __future__ import annotations


def parse_simple(
    argv: list[str], valued: tuple[str, ...], flags: tuple[str, ...]
) -> dict[str, str] | None:
    """Return the options by name (`--audience`); a flag has an empty value. The last one wins.

    Returns None for any other command line: `argparse` runs it or explains what is wrong.
    """
    options: dict[str, str] = {}
    words = iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        if word in flags:
            options[word] = ""
            continue
        if name not in valued:
            return None
        if not equals:
            value = next(words, "-")
            if value.startswith("-"):
                return None
        options[name] = value
    return options
