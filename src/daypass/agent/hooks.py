"""Hooks that run after a renewal: a command, or a POST. None of them gets the token."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass._core.net import HostPort
from daypass._core.secret import Secret, redact
from daypass._core.text import printable
from daypass.agent.config import CommandHook, Hook, PostHook
from daypass.client.http1 import USER_AGENT, HttpRequest
from daypass.client.transport import Deadline, TransportError, route_to, send

_OUTPUT_LIMIT_BYTES = 4096
_OURS = ("DAYPASS_", "NOTIFY_SOCKET", "WATCHDOG_", "CREDENTIALS_DIRECTORY")


class HookError(DaypassError):
    """A hook failed."""


def run_hook(hook: Hook, path: str, token: Secret, variables: Sequence[str], clock: Clock) -> None:
    """Run a hook after `path` was renewed. Raises HookError.

    `token` is redacted from a command's output. `variables` are removed from its environment.
    """
    if isinstance(hook, CommandHook):
        _command(hook, path, token, variables)
    else:
        _post(hook, clock)


def _command(hook: CommandHook, path: str, token: Secret, variables: Sequence[str]) -> None:
    name = printable(hook.command[0], 60)
    with tempfile.TemporaryFile() as output:
        try:
            child = subprocess.Popen(
                hook.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=hook_environment(os.environ, path, variables),
                cwd="/",
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no such name is possible"
            raise HookError(f"the command {name} did not start: {reason}") from None
        try:
            code = child.wait(hook.timeout_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)  # its own session: its children, too
            child.wait()
            raise HookError(
                f"the command {name} took more than {hook.timeout_seconds} s and was ended"
            ) from None
        if code:
            output.seek(0)
            said = redact(output.read(_OUTPUT_LIMIT_BYTES).decode("utf-8", "replace"), token)
            raise HookError(f"the command {name} ended with {code}: {printable(said)}")


def hook_environment(
    environ: Mapping[str, str], path: str, variables: Sequence[str]
) -> dict[str, str]:
    """Return the environment of a command, with DAYPASS_RENEWED set to the path of the file.

    The agent's own variables and `variables` are left out.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith(_OURS) and name not in variables
    }
    return {**kept, "DAYPASS_RENEWED": path}


def _post(hook: PostHook, clock: Clock) -> None:
    parts = urlsplit(hook.url)
    tls = parts.scheme == "https"
    target = HostPort.parse(parts.netloc, default_port=443 if tls else 80)
    assert target is not None  # noqa: S101 - as it was read
    path = parts.path or "/"
    request = HttpRequest(
        method="POST",
        target=f"{path}?{parts.query}" if parts.query else path,
        headers=(
            ("Host", parts.netloc),
            ("User-Agent", USER_AGENT),
            ("Content-Length", "0"),
            ("Connection", "close"),
        ),
    )
    try:
        status = send(
            route_to(target, tls=tls), request, Deadline(clock, hook.timeout_seconds)
        ).status
    except TransportError as error:
        reason = type(error.__cause__).__name__
        raise HookError(f"POST {target} got no answer ({error.stage}: {reason})") from None
    if not 200 <= status < 300:
        raise HookError(f"POST {target} was answered with {status}")
