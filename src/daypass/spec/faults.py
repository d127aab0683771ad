"""The errors that the types of a config raise, with a hint, for pydantic to collect.

pydantic knows where a value stands among the keys; `explain` turns that into line and column.
"""

from collections.abc import Iterable

from pydantic_core import PydanticCustomError

FAULT = "daypass_fault"
EXPECTED = "daypass_expected"
SAME_HOST = "daypass_same_host"
"""Two domains with one host: in a file, `reading` says it with both lines."""


def fault(message: str, hint: str = "", *, at: Iterable[str | int] = ()) -> PydanticCustomError:
    """A value that makes no sense: what is wrong, then what to write.

    `at`: the way from the value that is checked to the part that is wrong.
    """
    context = {"message": message, "hint": hint, "at": tuple(at)}
    return PydanticCustomError(FAULT, "{message}; {hint}" if hint else "{message}", context)


def unknown_key(key: str) -> PydanticCustomError:
    """A key that the value cannot have; named as pydantic names its own error of that kind."""
    return PydanticCustomError("extra_forbidden", "unknown key {key}", {"key": key, "at": (key,)})


def expected(what: str) -> PydanticCustomError:
    """A value of the wrong type; the message goes on with what was found."""
    return PydanticCustomError(EXPECTED, "expected {what}", {"what": what})
