"""Text in messages: safe to print, matched with a known word, or compared as a diff."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

LIMIT_FOREIGN_CHARACTERS = 256
"""How much of somebody else's text a message quotes."""

_LIMIT_COMPARED_CHARACTERS = 64
_CUTOFF = 0.7


def printable(text: str, limit_characters: int = LIMIT_FOREIGN_CHARACTERS) -> str:
    """Return somebody else's text on one line, cut, without what would steer a terminal."""
    line = "".join(c if c.isprintable() else " " for c in text[: 4 * limit_characters])
    return " ".join(line.split())[:limit_characters]


def mask_unprintable(text: str, keep: str = "") -> str:
    """Return the text with a question mark for each character that does not print.

    This includes characters that change the direction of text. Those in `keep` stay.
    """
    return "".join(c if c.isprintable() or c in keep else "?" for c in text)


def normalize_key(word: str) -> str:
    """Return a word without what people get wrong first: case, hyphens and underscores."""
    return word.lower().replace("_", "").replace("-", "")


def suggest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant, or None."""
    if not word or len(word) > _LIMIT_COMPARED_CHARACTERS:
        return None
    from difflib import get_close_matches

    wanted = normalize_key(word)
    normalized = {normalize_key(candidate): candidate for candidate in known}
    close = get_close_matches(wanted, normalized, n=1, cutoff=_CUTOFF)
    return normalized[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """Return a hint with the known word that was probably meant, or the other hint."""
    near = suggest(word, known)
    return f"did you mean {near}?" if near else otherwise


def unified_diff(before: str | None, after: str | None, old_name: str, new_name: str) -> str:
    """Return a unified diff of two files. None: there is no such file."""
    from difflib import unified_diff as diff_lines

    lines = diff_lines(
        (before or "").splitlines(keepends=True),
        (after or "").splitlines(keepends=True),
        "/dev/null" if before is None else old_name,
        "/dev/null" if after is None else new_name,
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def join_names(names: Iterable[str], most: int = 3) -> str:
    """Return names as a phrase; of many, the first ones and how many more there are."""
    listed = list(names)
    more = len(listed) - most
    if more > 1:
        listed = [*listed[:most], f"{more} more"]
    return " and ".join(filter(None, [", ".join(listed[:-1]), *listed[-1:]]))
