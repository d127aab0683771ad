"""Names to addresses, within a deadline: `getaddrinfo` itself has none, and can't be interrupted.

It is called on a thread of its own, which nobody waits for: a resolver that hangs holds up neither
the caller nor the end of the program.
"""

from __future__ import annotations

import socket
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from daypass.client.door_url import HostPort

    Addresses: TypeAlias = list[tuple[Any, Any, int, str, Any]]


class Resolution:
    """A name that is being looked up; `done` is called when there is an outcome, or at once."""

    __slots__ = ("_done", "_outcome")

    def __init__(self, address: HostPort, done: Callable[[], object]) -> None:
        self._done = done
        self._outcome: Addresses | OSError | None = None
        if _is_numeric(address.host):
            self._look_up(address)
        else:
            thread = threading.Thread(
                target=self._look_up, args=(address,), name="daypass-resolve", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # the interpreter is about to end, or there are too many threads
                self._look_up(address)

    def outcome(self) -> Addresses:
        """The addresses; raises OSError, TimeoutError where there is no outcome yet."""
        if self._outcome is None:
            raise TimeoutError
        if isinstance(self._outcome, OSError):
            raise self._outcome
        return self._outcome

    def _look_up(self, address: HostPort) -> None:
        try:
            # As bytes: text would be put through the `idna` codec, which costs 4 ms.
            host = address.host.encode("ascii")
            self._outcome = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM)
        except OSError as error:
            self._outcome = error
        self._done()


def resolve(address: HostPort, timeout_seconds: float) -> Addresses:
    """The addresses of a host; raises OSError, TimeoutError."""
    done = threading.Event()
    resolution = Resolution(address, done.set)
    done.wait(timeout_seconds)
    return resolution.outcome()


async def resolve_async(address: HostPort) -> Addresses:
    """The same for a task, whose timeout is the caller's."""
    import asyncio
    from contextlib import suppress

    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            loop.call_soon_threadsafe(done.set)

    resolution = Resolution(address, wake)
    await done.wait()
    return resolution.outcome()


def _is_numeric(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()
