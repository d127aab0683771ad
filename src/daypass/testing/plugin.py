"""The pytest plugin: the stack, an identity, its tokens and the API server's clock as fixtures."""

import secrets
from collections.abc import Iterator, Sequence

import pytest

from daypass.testing.clock import MovableClock
from daypass.testing.running import stack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daypass._core.secret import Secret
    from daypass.client.credentials import Credentials
    from daypass.local.stack import LocalStack, MadeIdentity


@pytest.fixture(scope="session")
def daypass_upstream() -> str:
    """What the gate guards; a project overrides it with the URL of its own service.

    Empty: a service that answers with what it received.
    """
    return ""


@pytest.fixture(scope="session")
def daypass_stack(
    daypass_upstream: str, _daypass_session_clock: MovableClock
) -> "Iterator[LocalStack]":
    """A running door and gate before an API server, one for the whole run."""
    with stack(upstream=daypass_upstream, clock=_daypass_session_clock) as running:
        yield running


@pytest.fixture(scope="session")
def _daypass_session_clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def daypass_clock(
    daypass_stack: "LocalStack", _daypass_session_clock: MovableClock
) -> Iterator[MovableClock]:
    """The API server's clock, which a test may move; it is reset after the test."""
    _daypass_session_clock.reset()
    yield _daypass_session_clock
    _daypass_session_clock.reset()


@pytest.fixture
def daypass_identity(daypass_stack: "LocalStack") -> "MadeIdentity":
    """An identity that no other test has, with a credentials file."""
    suffix = secrets.token_hex(4)
    return daypass_stack.make_identity(f"team-{suffix}", "bot")


@pytest.fixture
def daypass_credentials(daypass_identity: "MadeIdentity") -> "Credentials":
    """The Credentials of `daypass_identity`."""
    return daypass_identity.credentials()


@pytest.fixture
def daypass_environment(
    daypass_identity: "MadeIdentity", monkeypatch: pytest.MonkeyPatch
) -> "MadeIdentity":
    """DAYPASS_CREDENTIALS names the file of `daypass_identity` while the test runs."""
    for name in ("DAYPASS_DOOR", "DAYPASS_TOKEN", "DAYPASS_TOKEN_FILE", "DAYPASS_AUDIENCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("DAYPASS_CA_FILE", raising=False)
    monkeypatch.setenv("DAYPASS_CREDENTIALS", str(daypass_identity.credentials_file))
    return daypass_identity


class TokenMaker:
    """Issues short-lived tokens of an identity, valid and invalid ones."""

    def __init__(self, running: "LocalStack", identity: "MadeIdentity") -> None:
        self._stack = running
        self._identity = identity

    def __call__(
        self,
        *,
        audiences: Sequence[str] | None = None,
        lifetime_seconds: int = 3600,
        bound: bool = True,
        expired: bool = False,
        identity: "MadeIdentity | None" = None,
    ) -> "Secret":
        """Return a token that passes the gate, unless a parameter makes it invalid.

        `audiences`: instead of the gate's. `bound=False`: bound to no Secret. `expired`: since
        a minute ago. `identity`: another one's.
        """
        from daypass.local.stack import AUDIENCE

        return self._stack.make_token(
            identity or self._identity,
            audiences=(AUDIENCE,) if audiences is None else audiences,
            lifetime_seconds=lifetime_seconds,
            bound=bound,
            expired=expired,
        )


@pytest.fixture
def daypass_token(daypass_stack: "LocalStack", daypass_identity: "MadeIdentity") -> TokenMaker:
    """Issues tokens of `daypass_identity`: `daypass_token(audiences=["elsewhere"])`."""
    return TokenMaker(daypass_stack, daypass_identity)
