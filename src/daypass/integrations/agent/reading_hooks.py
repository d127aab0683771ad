"""The entries of `on_renewal`."""

import signal
from urllib.parse import urlsplit

from daypass._core.status import printable
from daypass.client.address import HostPort
from daypass.integrations.agent.config import CommandHook, Hook, PostHook, SignalHook
from daypass.integrations.agent.table import Table

SIGNALS = ("HUP", "USR1", "USR2", "TERM", "INT", "QUIT", "WINCH")
_KINDS = ("signal", "command", "post")
_DEFAULT_TIMEOUT_SECONDS, _LONGEST_TIMEOUT_SECONDS = 10, 300
_EXAMPLE = (
    'one of: { signal = "HUP", pid_file = "/run/x.pid" }, { command = ["/usr/bin/x"] },\n'
    '{ post = "http://127.0.0.1:8080/reload" }'
)


def read_hook(value: object, file: str, name: str) -> Hook:
    """One hook; raises AgentConfigError."""
    table = Table(value, file, name, (*_KINDS, "pid_file", "timeout"))
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


def _signal(table: Table) -> int:
    name = table.required("signal", _EXAMPLE).upper().removeprefix("SIG")
    if name not in SIGNALS:
        raise table.problem("signal", "is not one that is sent", f"one of: {', '.join(SIGNALS)}")
    return int(signal.Signals[f"SIG{name}"])


def _command(table: Table) -> tuple[str, ...]:
    hint = 'a list of words, as in ["systemctl", "reload", "nginx"]; no shell reads them'
    words = table.items("command", hint)
    if not words or not all(isinstance(word, str) and "\0" not in word for word in words):
        raise table.problem("command", "is not a list of words", hint)
    if not words[0].startswith("/") and ("/" in words[0] or not words[0]):
        raise table.problem(
            "command", f"is relative: {printable(words[0], 60)}", "write a whole path, or a name"
        )
    return tuple(words)


def _url(table: Table) -> str:
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
