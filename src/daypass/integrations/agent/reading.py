"""The agent's config file: read, checked, and every mistake told with its key."""

import ipaddress
import os
import stat
import tomllib

from daypass.integrations.agent.config import AgentConfig, TokenFile
from daypass.integrations.agent.owners import group_id, user_id
from daypass.integrations.agent.reading_hooks import read_hook
from daypass.integrations.agent.table import AgentConfigError, Table

LIMIT_BYTES = 256 * 1024
TOKENS_LIMIT = 100
FORMATS = ("token", "header", "json")
LAYOUTS = ("file", "volume")

_TOP = ("credentials", "listen", "stagger", "token")
_TOKEN = (
    "path", "audience", "lifetime", "format", "layout", "mode", "owner", "group", "on_renewal",
)  # fmt: skip
_AN_HOUR, _LONGEST_LIFETIME = 3600, 2**32
_SHORTEST_LIFETIME = 600
"""Kubernetes grants no less."""


def load_config(path: str) -> AgentConfig:
    """The config in a file; raises AgentConfigError."""
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
    top = Table(value, path, "", _TOP)
    tokens = tuple(
        _token(Table(item, path, f"token {number}", _TOKEN))
        for number, item in enumerate(top.items("token", "begin each one with [[token]]"), 1)
    )
    if not tokens:
        raise AgentConfigError(f"{path} names no token", "begin one with a line [[token]]")
    if len(tokens) > TOKENS_LIMIT:
        raise AgentConfigError(
            f"{path} names {len(tokens)} tokens", f"{TOKENS_LIMIT} is what one agent keeps"
        )
    _refuse_twins(tokens, path)
    return AgentConfig(
        credentials=top.path("credentials", "it takes the path of a credentials file"),
        listen=_listen(top),
        stagger_seconds=top.seconds("stagger", 0, _AN_HOUR) or 0,
        tokens=tokens,
    )


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", opener=_open_now) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise AgentConfigError(f"{path} is not an ordinary file", "name a file")
            # Who may write it decides what commands run here.
            if status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):
                raise AgentConfigError(
                    f"{path} can be written by others", f"chmod go-w {path}, and own it"
                )
            content = file.read(LIMIT_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else "no such name is possible"
        raise AgentConfigError(f"{path} cannot be read: {reason}", "is the path right?") from None
    if len(content) > LIMIT_BYTES:
        raise AgentConfigError(
            f"{path} is larger than {LIMIT_BYTES} bytes", "is it the right file?"
        )
    return content


def _open_now(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # not waiting for who would write to a pipe


def _token(table: Table) -> TokenFile:
    path = table.path("path", "it takes the file that the token goes into")
    if path is None:
        raise table.problem("path", "is missing", 'write: path = "/run/daypass/gate.token"')
    layout = table.choice("layout", LAYOUTS)
    _check_place(table, path, layout)
    audience = table.text("audience", "it takes whom the token is for")
    if audience is not None and audience != audience.strip():
        raise table.problem("audience", "begins or ends with a space", "take the space out")
    return TokenFile(
        path=path,
        audience=audience,
        lifetime_seconds=table.seconds("lifetime", _SHORTEST_LIFETIME, _LONGEST_LIFETIME),
        format=table.choice("format", FORMATS),
        layout=layout,
        mode=_mode(table),
        user_id=user_id(table),
        group_id=group_id(table),
        hooks=tuple(
            read_hook(item, table.file, f"{table.name}: on_renewal {number}")
            for number, item in enumerate(
                table.items("on_renewal", 'such as [{ command = ["systemctl", "reload", "x"] }]'), 1
            )
        ),
    )


def _mode(table: Table) -> int:
    hint = 'write it in quotes: "0600", or "0640" together with a group'
    text = table.text("mode", hint)
    if text is None:
        return 0o600
    if len(text) > 5 or not text.isascii() or not text.isdigit() or set(text) & {"8", "9"}:
        raise table.problem("mode", "is not an octal number", hint)
    mode = int(text, 8)
    if mode & ~0o660 or not mode & 0o400:
        what = "lets everybody in" if mode & 0o007 else "is not one for a token's file"
        raise table.problem("mode", what, hint)
    return mode


def _check_place(table: Table, path: str, layout: str) -> None:
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
        raise table.problem("path", f"is not an ordinary file: {path}", "name another one")


def _refuse_twins(tokens: tuple[TokenFile, ...], file: str) -> None:
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


def _listen(table: Table) -> tuple[str, int] | None:
    hint = 'write a port, which is then one of 127.0.0.1, or "ADDRESS:PORT"'
    value = table.raw("listen")
    if value is None:
        return None
    host, port = "127.0.0.1", value
    if isinstance(value, str):
        host, _, text = value.rpartition(":")
        port = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else -1
        host = host.removeprefix("[").removesuffix("]")
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 65536:
        raise table.problem("listen", "names no port", hint)
    try:
        return str(ipaddress.ip_address(host)), port
    except ValueError:
        raise table.problem("listen", "names no address", hint) from None
