"""The agent's config: one TOML file with a top table and a table for each token.

`load_config` reads and checks it. Every error names the file, the table and the key.
"""

import grp
import ipaddress
import os
import pwd
import signal
import stat
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from daypass._core.clock import parse_seconds
from daypass._core.errors import UsageError
from daypass._core.files import UnsafeFileError, read_ordinary
from daypass._core.kubernetes.syntax import (
    AUDIENCE_HINT,
    LONGEST_TOKEN_SECONDS,
    SHORTEST_TOKEN_SECONDS,
    is_audience,
)
from daypass._core.net import HostPort, parse_listen
from daypass._core.text import did_you_mean, printable


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalHook:
    """Send a signal to the process that a pid file names."""

    number: int
    pid_file: str


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


Hook = SignalHook | CommandHook | PostHook


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFile:
    """A file and the token that is written to it.

    `audience`, `lifetime_seconds` None: the credentials' own. `owner`: user and group, -1 for
    the agent's own. `layout`: `file`, or `volume` for a folder that is swapped as a whole, as
    Kubernetes swaps what it mounts.
    """

    path: str
    audience: str | None
    lifetime_seconds: int | None
    format: str = "token"
    layout: str = "file"
    mode: int
    owner: tuple[int, int] = (-1, -1)
    hooks: tuple[Hook, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """A whole config file. `credentials` None: the environment names them."""

    file: str
    credentials: str | None
    listen: tuple[str, int] | None
    stagger_seconds: int
    tokens: tuple[TokenFile, ...]


class AgentConfigError(UsageError):
    """An invalid config; `fact` names file and key."""


class _Table:
    """A table of `file` with these keys; `name` is empty for the top table.

    Every method and the constructor raise AgentConfigError.
    """

    def __init__(self, value: object, file: str, name: str, keys: tuple[str, ...]) -> None:
        self.file = file
        self.name = name
        if not isinstance(value, dict):
            raise AgentConfigError(f"{file}: {name} is not a table", f"its keys: {', '.join(keys)}")
        self._value: dict[str, Any] = value
        for key in value:
            if key not in keys:
                raise self.problem(
                    printable(repr(key), 60),
                    "is not a key here",
                    did_you_mean(key, keys, f"known are: {', '.join(keys)}"),
                )

    def problem(self, key: str, what: str, hint: str) -> AgentConfigError:
        """Return the error for a key of this table; an empty key means the whole table."""
        place = ": ".join(part for part in (self.file, self.name, key) if part)
        return AgentConfigError(f"{place} {what}", hint)

    def __contains__(self, key: str) -> bool:
        return key in self._value

    def text(self, key: str, hint: str) -> str | None:
        """Return a string without control characters, or None if the key is missing."""
        if key not in self._value:
            return None
        value = self._typed(key, str, hint)
        if not value or not value.isprintable():
            raise self.problem(key, "is empty or holds control characters", hint)
        return str(value)

    def required(self, key: str, hint: str) -> str:
        """Return a string that must be present."""
        value = self.text(key, hint)
        if value is None:
            raise self.problem(key, "is missing", hint)
        return value

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        """Return one of the choices; the first if the key is missing."""
        value = self.text(key, f"one of: {', '.join(choices)}") or choices[0]
        if value not in choices:
            raise self.problem(
                key, f"cannot be {printable(repr(value), 40)}", f"one of: {', '.join(choices)}"
            )
        return value

    def path(self, key: str, hint: str) -> str | None:
        """Return an absolute, normalized path, or None if the key is missing."""
        value = self.text(key, hint)
        if value is None:
            return None
        if not value.startswith("/"):
            raise self.problem(
                key,
                f"is relative: {printable(value, 60)}",
                "write an absolute path",
            )
        if any(part in ("", ".") or part.startswith("..") for part in value.split("/")[1:]):
            raise self.problem(
                key,
                f"is not a plain path: {printable(value, 60)}",
                "write it without //, . and names that begin with ..",
            )
        return value

    def seconds(self, key: str, lowest: int, highest: int) -> int | None:
        """Return a duration in seconds, written as seconds or as text such as "1h30m"."""
        value = self._value.get(key)
        if value is None:
            return None
        if isinstance(value, str):
            try:
                value = parse_seconds(value)
            except UsageError as error:
                raise self.problem(key, "is not a duration", error.hint) from None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.problem(key, "is not a duration", 'write it as 3600, "90m" or "1h30m"')
        if not lowest <= value <= highest:
            raise self.problem(key, f"is {value} s", f"from {lowest} to {highest} s is possible")
        return value

    def items(self, key: str, hint: str) -> list[Any]:
        """Return a list; empty if the key is missing."""
        return list(self._typed(key, list, hint)) if key in self._value else []

    def raw(self, key: str) -> object:
        """Return the unchecked value, or None."""
        return self._value.get(key)

    def _typed(self, key: str, kind: type, hint: str) -> Any:
        value = self._value[key]
        if not isinstance(value, kind):
            what = "text in quotes" if kind is str else "a list in [ ]"
            raise self.problem(key, f"is not {what}", hint)
        return value


_LARGEST_ID = 2**32 - 2


def _id(table: _Table, key: str, database: str, find: Callable[[str], int]) -> int:
    """Return the number of a user or group, given by name or number; -1 if the key is missing."""
    value = table.raw(key)
    if value is None:
        return -1
    if isinstance(value, str):
        try:
            return find(value)
        except (KeyError, ValueError):
            raise table.problem(
                key,
                f"is unknown on this machine: {printable(repr(value), 40)}",
                f"`getent {database}` lists those that are known; a number works too",
            ) from None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST_ID:
        raise table.problem(key, "is neither a name nor a number", "write a name in quotes")
    return value


SIGNALS = ("HUP", "USR1", "USR2", "TERM", "INT", "QUIT", "WINCH")
_KINDS = ("signal", "command", "post")
_DEFAULT_TIMEOUT_SECONDS, _LONGEST_TIMEOUT_SECONDS = 10, 300
_EXAMPLE = (
    'one of: { signal = "HUP", pid_file = "/run/x.pid" }, { command = ["/usr/bin/x"] },\n'
    '{ post = "http://127.0.0.1:8080/reload" }'
)


def _hook(value: object, file: str, name: str) -> Hook:
    """Return a hook."""
    table = _Table(value, file, name, (*_KINDS, "pid_file", "timeout"))
    kinds = [kind for kind in _KINDS if kind in table]
    if len(kinds) != 1 or ("pid_file" in table) != (kinds == ["signal"]):
        raise table.problem("", "is not one thing to do", _EXAMPLE)
    timeout = table.seconds("timeout", 1, _LONGEST_TIMEOUT_SECONDS) or _DEFAULT_TIMEOUT_SECONDS
    if kinds == ["signal"]:
        return SignalHook(
            number=_signal(table),
            pid_file=table.path("pid_file", "it takes the path of a file") or "",
        )
    if kinds == ["command"]:
        return CommandHook(command=_command(table), timeout_seconds=timeout)
    return PostHook(url=_url(table), timeout_seconds=timeout)


def _signal(table: _Table) -> int:
    name = table.required("signal", _EXAMPLE).upper().removeprefix("SIG")
    if name not in SIGNALS:
        raise table.problem("signal", "is not one that is sent", f"one of: {', '.join(SIGNALS)}")
    return int(signal.Signals[f"SIG{name}"])


def _command(table: _Table) -> tuple[str, ...]:
    hint = 'a list of words, as in ["systemctl", "reload", "nginx"]; no shell reads them'
    words = table.items("command", hint)
    if not words or not all(isinstance(word, str) and "\0" not in word for word in words):
        raise table.problem("command", "is not a list of words", hint)
    if not words[0].startswith("/") and ("/" in words[0] or not words[0]):
        raise table.problem(
            "command", f"is relative: {printable(words[0], 60)}", "write a whole path, or a name"
        )
    return tuple(words)


def _url(table: _Table) -> str:
    hint = "it looks like http://127.0.0.1:8080/reload"
    url = table.required("post", hint)
    try:
        parts = urlsplit(url)
    except ValueError:
        raise table.problem("post", "is no URL", hint) from None
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or parts.fragment:
        raise table.problem("post", "is no http:// or https:// URL without a user", hint)
    if not url.isascii() or " " in url or HostPort.parse(parts.netloc, default_port=80) is None:
        raise table.problem("post", "names no host and port", hint)
    return url


LIMIT_BYTES = 256 * 1024
TOKENS_LIMIT = 100
FORMATS = ("token", "header", "json")
LAYOUTS = ("file", "volume")

_TOP = ("credentials", "listen", "stagger", "token")
_TOKEN = (
    "path", "audience", "lifetime", "format", "layout", "mode", "owner", "group", "on_renewal",
)  # fmt: skip
_AN_HOUR = 3600


def load_config(path: str) -> AgentConfig:
    """Return the config in a file. Raises AgentConfigError."""
    content = _read(path)
    try:
        value = tomllib.loads(content.decode())
    except UnicodeDecodeError:
        raise AgentConfigError(f"{path} is not text in UTF-8", "is it the right file?") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "it nests too deeply"
        raise AgentConfigError(
            f"{path} is not TOML: {reason}", 'it is made of lines like: path = "/run/gate.token"'
        ) from None
    top = _Table(value, path, "", _TOP)
    tokens = tuple(
        _token(_Table(item, path, f"token {number}", _TOKEN))
        for number, item in enumerate(top.items("token", "begin each one with [[token]]"), 1)
    )
    if not tokens:
        raise AgentConfigError(f"{path} names no token", "begin one with a line [[token]]")
    if len(tokens) > TOKENS_LIMIT:
        raise AgentConfigError(
            f"{path} names {len(tokens)} tokens", f"{TOKENS_LIMIT} is what one agent keeps"
        )
    _check_duplicates(tokens, path)
    return AgentConfig(
        file=path,
        credentials=top.path("credentials", "it takes the path of a credentials file"),
        listen=_listen(top),
        stagger_seconds=top.seconds("stagger", 0, _AN_HOUR) or 0,
        tokens=tokens,
    )


def _read(path: str) -> bytes:
    try:
        # A user who can write it can run commands as this user.
        return read_ordinary(path, limit_bytes=LIMIT_BYTES, only_own=True)
    except UnsafeFileError as error:
        raise AgentConfigError(error.fact, error.hint) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else "not a valid path"
        raise AgentConfigError(f"{path} cannot be read: {reason}", "is the path right?") from None


def _token(table: _Table) -> TokenFile:
    path = table.path("path", "it takes the path of the file for the token")
    if path is None:
        raise table.problem("path", "is missing", 'write: path = "/run/daypass/gate.token"')
    layout = table.choice("layout", LAYOUTS)
    _check_place(table, path, layout)
    audience = table.text("audience", "it takes the audience of the token, in quotes")
    if audience is not None and not is_audience(audience):
        raise table.problem("audience", "is not a valid audience", AUDIENCE_HINT)
    return TokenFile(
        path=path,
        audience=audience,
        lifetime_seconds=table.seconds("lifetime", SHORTEST_TOKEN_SECONDS, LONGEST_TOKEN_SECONDS),
        format=table.choice("format", FORMATS),
        layout=layout,
        mode=_mode(table),
        owner=(
            _id(table, "owner", "passwd", lambda name: pwd.getpwnam(name).pw_uid),
            _id(table, "group", "group", lambda name: grp.getgrnam(name).gr_gid),
        ),
        hooks=tuple(
            _hook(item, table.file, f"{table.name}: on_renewal {number}")
            for number, item in enumerate(
                table.items("on_renewal", 'such as [{ command = ["systemctl", "reload", "x"] }]'), 1
            )
        ),
    )


def _mode(table: _Table) -> int:
    hint = 'write it in quotes: "0600", or "0640" together with a group'
    text = table.text("mode", hint)
    if text is None:
        return 0o600
    if len(text) > 5 or not text.isascii() or not text.isdigit() or set(text) & {"8", "9"}:
        raise table.problem("mode", "is not an octal number", hint)
    mode = int(text, 8)
    if mode & ~0o660 or not mode & 0o400:
        what = "gives every user access" if mode & 0o007 else "does not fit a token's file"
        raise table.problem("mode", what, hint)
    return mode


def _check_place(table: _Table, path: str, layout: str) -> None:
    folder, name = os.path.split(path)
    try:
        status = os.stat(folder)
    except OSError as error:
        raise table.problem(
            "path",
            f"is in a folder that is not there: {folder} ({error.strerror})",
            f"make it: mkdir -p {folder}; or let systemd: RuntimeDirectory=",
        ) from None
    if not stat.S_ISDIR(status.st_mode):
        raise table.problem("path", f"leads through {folder}, which is no folder", "correct it")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise table.problem(
            "path", f"is in {folder}, which this user may not write to", f"chown it: {folder}"
        )
    if os.path.islink(path):
        if layout == "volume" and os.readlink(path) == f"..data/{name}":
            return
        raise table.problem(
            "path", f"is a symbolic link: {path}", "remove it, or name what it leads to"
        )
    if os.path.isdir(path):
        raise table.problem("path", f"is a folder: {path}", f'name a file: path = "{path}/token"')
    if os.path.lexists(path) and not os.path.isfile(path):
        raise table.problem("path", f"is not a regular file: {path}", "name another one")


def _check_duplicates(tokens: tuple[TokenFile, ...], file: str) -> None:
    seen: dict[str, int] = {}
    layouts: dict[str, str] = {}
    for number, token in enumerate(tokens, 1):
        folder, name = os.path.split(token.path)
        folder = os.path.realpath(folder)
        first = seen.setdefault(f"{folder}/{name}", number)
        if first != number:
            raise AgentConfigError(
                f"{file}: token {number}: path is that of token {first}: {token.path}",
                "give each token a file of its own",
            )
        if layouts.setdefault(folder, token.layout) != token.layout:
            raise AgentConfigError(
                f"{file}: token {number}: layout differs from that of its neighbour in {folder}",
                "all tokens of a folder have one layout",
            )


def _listen(table: _Table) -> tuple[str, int] | None:
    hint = 'write a port of 127.0.0.1, or "ADDRESS:PORT"'
    value = table.raw("listen")
    if value is None:
        return None
    address = parse_listen(value if isinstance(value, str) else f"127.0.0.1:{value}")
    if address is None:
        raise table.problem("listen", "names no port", hint)
    host, port = address
    try:
        return str(ipaddress.ip_address(host)), port
    except ValueError:
        raise table.problem("listen", "names no address", hint) from None
