"""How values of a file appear in a message: short, printable, and with the nearest right word."""

import difflib
from collections.abc import Iterable, Sequence

LIMIT_SHOWN_CHARACTERS = 60
_LIMIT_COMPARED_CHARACTERS = 64


def printable(text: str) -> str:
    """The text with whatever does not print (or turns its direction) as question marks."""
    return "".join(character if character.isprintable() else "?" for character in text)


def shown(text: str) -> str:
    """A value in quotes, of at most LIMIT_SHOWN_CHARACTERS characters."""
    if len(text) > LIMIT_SHOWN_CHARACTERS:
        text = text[: LIMIT_SHOWN_CHARACTERS - 3] + "..."
    return f"'{printable(text)}'"


def one_of(words: Sequence[str]) -> str:
    """`a, b or c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} or {words[-1]}"


def folded(word: str) -> str:
    """A word without what people get wrong first: case, hyphens, underscores."""
    return word.lower().replace("_", "").replace("-", "")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, or None."""
    if not word or len(word) > _LIMIT_COMPARED_CHARACTERS:
        return None
    folds = {folded(candidate): candidate for candidate in known}
    match = difflib.get_close_matches(folded(word), folds, n=1, cutoff=0.7)
    if match:
        return folds[match[0]]
    parts = [whole for fold, whole in folds.items() if len(word) > 2 and folded(word) in fold]
    return parts[0] if len(parts) == 1 else None
