"""One table of a TOML file, whose keys are taken one by one, and errors that say where and what."""

from difflib import get_close_matches
from typing import Any

from daypass._core.duration import parse_seconds
from daypass._core.errors import UsageError
from daypass._core.status import printable


class AgentConfigError(UsageError):
    """A config that the agent does not run with; `fact` names file and key."""


class Table:
    """A table of `file`, called `name` there (empty for the top), with the keys it may have.

    Making one raises AgentConfigError for what is no table and for a key that is not known.
    """

    def __init__(self, value: object, file: str, name: str, keys: tuple[str, ...]) -> None:
        self.file = file
        self.name = name
        if not isinstance(value, dict):
            raise AgentConfigError(f"{file}: {name} is not a table", f"its keys: {', '.join(keys)}")
        self._value: dict[str, Any] = value
        for key in value:
            if key not in keys:
                near = get_close_matches(key, keys, 1)
                raise self.problem(
                    printable(repr(key), 60),
                    "is not a key here",
                    f"did you mean {near[0]}?" if near else f"known are: {', '.join(keys)}",
                )

    def problem(self, key: str, what: str, hint: str) -> AgentConfigError:
        """The error for a key of this table, or for all of it (an empty key)."""
        place = ": ".join(part for part in (self.file, self.name, key) if part)
        return AgentConfigError(f"{place} {what}", hint)

    def __contains__(self, key: str) -> bool:
        return key in self._value

    def text(self, key: str, hint: str) -> str | None:
        """A string that holds no control character, or None where it is left out."""
        if key not in self._value:
            return None
        value = self._typed(key, str, hint)
        if not value or not value.isprintable():
            raise self.problem(key, "is empty or holds control characters", hint)
        return str(value)

    def required(self, key: str, hint: str) -> str:
        """A string that must be there."""
        value = self.text(key, hint)
        if value is None:
            raise self.problem(key, "is missing", hint)
        return value

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        """One of these; the first where it is left out."""
        value = self.text(key, f"one of: {', '.join(choices)}") or choices[0]
        if value not in choices:
            raise self.problem(
                key, f"cannot be {printable(repr(value), 40)}", f"one of: {', '.join(choices)}"
            )
        return value

    def path(self, key: str, hint: str) -> str | None:
        """A path from the root on, in its plain form."""
        value = self.text(key, hint)
        if value is None:
            return None
        if not value.startswith("/"):
            raise self.problem(
                key,
                f"is relative: {printable(value, 60)}",
                "write the whole path: an agent runs in no folder that you would expect",
            )
        if any(part in ("", ".") or part.startswith("..") for part in value.split("/")[1:]):
            raise self.problem(
                key,
                f"is not a plain path: {printable(value, 60)}",
                "write it without //, . and names that begin with ..",
            )
        return value

    def seconds(self, key: str, lowest: int, highest: int) -> int | None:
        """A length of time: whole seconds, or text such as "1h30m"."""
        value = self._value.get(key)
        if value is None:
            return None
        if isinstance(value, str):
            try:
                value = parse_seconds(value)
            except UsageError as error:
                raise self.problem(key, "is no length of time", error.hint) from None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.problem(key, "is no length of time", 'write it as 3600, "90m" or "1h30m"')
        if not lowest <= value <= highest:
            raise self.problem(key, f"is {value} s", f"from {lowest} to {highest} s is possible")
        return value

    def items(self, key: str, hint: str) -> list[Any]:
        """A list; empty where it is left out."""
        return list(self._typed(key, list, hint)) if key in self._value else []

    def raw(self, key: str) -> object:
        """The value as it stands, or None."""
        return self._value.get(key)

    def _typed(self, key: str, kind: type, hint: str) -> Any:
        value = self._value[key]
        if not isinstance(value, kind):
            what = "text in quotes" if kind is str else "a list in [ ]"
            raise self.problem(key, f"is not {what}", hint)
        return value
