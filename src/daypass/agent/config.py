"""The agent's config: one TOML file with a top table and a table for each token.

`load_config` reads and checks it. Every error names the file, the table and the key.
"""

import grp
import os
import pwd
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from daypass._core.clock import parse_seconds
from daypass._core.errors import UsageError
from daypass._core.files import UnsafeFileError, read_own
from daypass._core.kubernetes.syntax import (
    AUDIENCE_HINT,
    LONGEST_TOKEN_SECONDS,
    SHORTEST_TOKEN_SECONDS,
    is_audience,
)
from daypass._core.net import HostPort, parse_listen
from daypass._core.text import did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandHook:
    """Run a command, without a shell."""

    command: tuple[str, ...]
    timeout_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PostHook:
    """POST to a URL, with an empty body."""

    url: str
    timeout_seconds: int


Hook = CommandHook | PostHook


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFile:
    """A file and the token that is written to it.

    `audience`, `lifetime_seconds` None: the credentials' own. `owner`: user and group, -1 for
    the agent's own.
    """

    path: str
    audience: str | None
    lifetime_seconds: int | None
    format: str = "token"
    mode: int
    owner: tuple[int, int] = (-1, -1)
    hooks: tuple[Hook, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """A whole config file. `credentials` None: the environment names them."""

    credentials: str | None
    listen: tuple[str, int] | None
    tokens: tuple[TokenFile, ...]


class AgentConfigError(UsageError):
    """An invalid config; `fact` names file and key."""


FORMATS = ("token", "header", "json")
_TOP = ("credentials", "listen", "token")
_TOKEN = ("path", "audience", "lifetime", "format", "mode", "owner", "group", "on_renewal")
_HOOK = ("command", "post", "timeout")
_DEFAULT_TIMEOUT_SECONDS, _LONGEST_TIMEOUT_SECONDS = 10, 300


def load_config(path: str) -> AgentConfig:
    """Return the config in a file. Raises AgentConfigError."""
    try:
        value = tomllib.loads(_read(path).decode())
    except (ValueError, RecursionError) as error:
        raise AgentConfigError(
            f"{path} is not TOML: {error}", 'it is made of lines like: path = "/run/gate.token"'
        ) from None
    top = _Table(value, path, "", _TOP)
    tokens = tuple(
        _token(_Table(item, path, f"token {number}", _TOKEN))
        for number, item in enumerate(top.get("token", list, "begin each one with [[token]]"), 1)
    )
    if not tokens:
        raise AgentConfigError(f"{path} names no token", "begin one with a line [[token]]")
    return AgentConfig(credentials=top.path("credentials"), listen=_listen(top), tokens=tokens)


def _read(path: str) -> bytes:
    try:
        return read_own(path)  # a user who can write it can run commands as this user
    except UnsafeFileError as error:
        raise AgentConfigError(error.fact, error.hint) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else "not a valid path"
        raise AgentConfigError(f"{path} cannot be read: {reason}", "is the path right?") from None


class _Table:
    """A table of `file` with these keys; `name` is empty for the top table.

    Every method and the constructor raise AgentConfigError.
    """

    def __init__(self, value: object, file: str, name: str, keys: tuple[str, ...]) -> None:
        self.file = file
        self.name = name
        if not isinstance(value, dict):
            raise AgentConfigError(f"{file}: {name} is not a table", f"its keys: {', '.join(keys)}")
        self.value: dict[str, Any] = value
        for key in value:
            if key not in keys:
                hint = did_you_mean(key, keys, f"known are: {', '.join(keys)}")
                raise self.problem(repr(key), "is not a key here", hint)

    def problem(self, key: str, what: str, hint: str) -> AgentConfigError:
        """Return the error for a key of this table; an empty key means the whole table."""
        position = ": ".join(part for part in (self.file, self.name, key) if part)
        return AgentConfigError(f"{position} {what}", hint)

    def get(self, key: str, kind: type, hint: str) -> Any:
        """Return a text or a list; an empty one if the key is missing."""
        value = self.value.get(key, kind())
        if not isinstance(value, kind):
            what = "text in quotes" if kind is str else "a list in [ ]"
            raise self.problem(key, f"is not {what}", hint)
        return value

    def path(self, key: str) -> str | None:
        """Return an absolute path, or None if the key is missing."""
        value: str = self.get(key, str, "it takes the path of a file")
        if key in self.value and not value.startswith("/"):
            raise self.problem(key, f"is relative: {value}", "write an absolute path")
        return value or None

    def seconds(self, key: str, lowest: int, highest: int) -> int | None:
        """Return a duration in seconds, written as seconds or as text such as "1h30m"."""
        value = self.value.get(key)
        if value is None:
            return None
        try:
            seconds = parse_seconds(str(value))
        except UsageError as error:
            raise self.problem(key, "is not a duration", error.hint) from None
        if not lowest <= seconds <= highest:
            raise self.problem(key, f"is {seconds} s", f"from {lowest} to {highest} s is possible")
        return seconds


def _token(table: _Table) -> TokenFile:
    path = table.path("path")
    if path is None:
        raise table.problem("path", "is missing", 'write: path = "/run/daypass/gate.token"')
    folder = os.path.dirname(path)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise table.problem(
            "path",
            f"is in a folder that does not exist, or that this user may not write to: {folder}",
            f"make it: mkdir -p {folder}; or let systemd: RuntimeDirectory=",
        )
    audience = table.get("audience", str, "it takes the audience of the token")
    if "audience" in table.value and not is_audience(audience):
        raise table.problem("audience", "is not a valid audience", AUDIENCE_HINT)
    form = table.get("format", str, f"one of: {', '.join(FORMATS)}") or FORMATS[0]
    if form not in FORMATS:
        raise table.problem("format", f"cannot be {form!r}", f"one of: {', '.join(FORMATS)}")
    hooks = table.get("on_renewal", list, 'such as [{ command = ["systemctl", "reload", "x"] }]')
    return TokenFile(
        path=path,
        audience=audience or None,
        lifetime_seconds=table.seconds("lifetime", SHORTEST_TOKEN_SECONDS, LONGEST_TOKEN_SECONDS),
        format=form,
        mode=_mode(table),
        owner=(
            _id(table, "owner", lambda name: pwd.getpwnam(name).pw_uid),
            _id(table, "group", lambda name: grp.getgrnam(name).gr_gid),
        ),
        hooks=tuple(
            _hook(_Table(hook, table.file, f"{table.name}: on_renewal {number}", _HOOK))
            for number, hook in enumerate(hooks, 1)
        ),
    )


def _mode(table: _Table) -> int:
    hint = 'write it in quotes: "0600", or "0640" together with a group'
    text = table.get("mode", str, hint) or "0600"
    try:
        mode = int(text, 8)
    except ValueError:
        raise table.problem("mode", "is not an octal number", hint) from None
    if mode & ~0o660 or not mode & 0o400:
        raise table.problem("mode", "does not fit a token's file", hint)
    return mode


def _id(table: _Table, key: str, find: Callable[[str], int]) -> int:
    """Return the number of a user or group, given by name or number; -1 if the key is missing."""
    value = table.value.get(key, -1)
    try:
        return find(value) if isinstance(value, str) else int(value)
    except (KeyError, ValueError, TypeError):
        raise table.problem(key, f"is unknown on this machine: {value!r}", "use a number") from None


def _hook(table: _Table) -> Hook:
    timeout = table.seconds("timeout", 1, _LONGEST_TIMEOUT_SECONDS) or _DEFAULT_TIMEOUT_SECONDS
    command = table.get("command", list, 'as in ["systemctl", "reload", "nginx"], without a shell')
    url = table.get("post", str, "it looks like http://127.0.0.1:8080/reload")
    if bool(command) == bool(url) or not all(isinstance(word, str) for word in command):
        raise table.problem(
            "",
            "is not one thing to do",
            '{ command = ["/usr/bin/x"] } or { post = "http://127.0.0.1:8080/reload" }',
        )
    if command:
        return CommandHook(command=tuple(command), timeout_seconds=timeout)
    parts = urlsplit(url)
    is_http = parts.scheme in ("http", "https")
    if not is_http or HostPort.parse(parts.netloc, default_port=80) is None:
        raise table.problem("post", "is not an http:// or https:// URL", "it names host and port")
    return PostHook(url=url, timeout_seconds=timeout)


def _listen(table: _Table) -> tuple[str, int] | None:
    value = table.value.get("listen")
    if value is None:
        return None
    address = parse_listen(value if isinstance(value, str) else f"127.0.0.1:{value}")
    if address is None:
        hint = 'write a port of 127.0.0.1, or "ADDRESS:PORT"'
        raise table.problem("listen", "names no port", hint)
    return address
