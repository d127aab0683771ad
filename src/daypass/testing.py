"""The local stack and tokens of any shape for the tests of other projects.

A project whose clients use daypass, or whose services are behind its gate, can test that a good
token passes and every other one does not. This package starts a real door and a real gate (Envoy)
in front of the embedded API server, in about a second, with no cluster and on loopback only:

    with daypass.testing.stack() as stack:
        identity = stack.make_identity()
        token = identity.credentials().token()
        expired = stack.make_token(identity, expired=True)

Under pytest the same comes as fixtures, one stack for the whole run: `daypass_stack`,
`daypass_identity`, `daypass_credentials`, `daypass_environment`, `daypass_token`, `daypass_clock`.

Nothing here is a fake: what passes the gate in a test passes because Envoy has verified it. Imports
are deferred until a stack is started, since pytest loads the plugin in every run of every project
that has daypass installed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from daypass._core.clock import SYSTEM_CLOCK, Clock
from daypass._core.errors import MissingExtraError

__all__ = ["MovableClock", "stack"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daypass.local.stack import LocalStack


class MovableClock:
    """The machine's clock, plus the seconds by which a test has moved it.

    In a stack only the embedded API server uses it; Envoy and clients use the machine's own.
    """

    def __init__(self, base: Clock = SYSTEM_CLOCK) -> None:
        self._base = base
        self._ahead = 0.0
        self._passed = 0.0

    @property
    def ahead_seconds(self) -> float:
        """How far it is ahead of the machine's clock; negative: behind."""
        return self._ahead

    def move(self, seconds: float) -> None:
        """Move the clock forward; negative: back."""
        self._ahead += seconds
        # Caches expire when it moves forward, and nothing is cached again when it moves back.
        self._passed += max(seconds, 0.0)

    def reset(self) -> None:
        """Return to the machine's time."""
        self._ahead = 0.0

    def unix(self) -> float:
        """Seconds since the epoch, UTC."""
        return self._base.unix() + self._ahead

    def monotonic(self) -> float:
        """Seconds on a clock that only goes forward, even if it is moved back."""
        return self._base.monotonic() + self._passed


@contextmanager
def stack(*, upstream: str = "", clock: Clock | None = None) -> "Iterator[LocalStack]":
    """Run door, gate and API server on free ports of loopback during the `with` block.

    `upstream`: what the gate guards, such as `http://127.0.0.1:8080`; by default a service that
    answers with what it received. `clock`: the API server's. Use it on a thread that stays: Linux
    kills Envoy with the thread that has started it. Raises MissingExtraError, EnvoyNotFoundError,
    EnvoyFailedError.
    """
    import threading

    try:
        from daypass.local.stack import LocalStack, stack_config
        from daypass.local.state import runtime_folder
    except ModuleNotFoundError as error:
        raise MissingExtraError("daypass.testing", "local") from error

    ended = threading.Event()
    with (
        runtime_folder() as folder,
        LocalStack(folder, config=stack_config(upstream=upstream), server_clock=clock) as running,
    ):
        supervising = threading.Thread(
            target=running.supervisor.run, args=[ended], name="daypass-supervisor", daemon=True
        )
        supervising.start()
        try:
            yield running
        finally:
            ended.set()
            supervising.join()
