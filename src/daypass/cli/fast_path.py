"""Reading a faultless command line without `argparse`, whose import alone costs more than a cached
token may take.
"""

from __future__ import annotations


def parse_simple(
    argv: list[str], valued: tuple[str, ...], flags: tuple[str, ...]
) -> dict[str, str] | None:
    """The options by name (`--audience`); a flag has an empty value. The last one counts.

    None for a line that has to be explained: it goes to `argparse`.
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
