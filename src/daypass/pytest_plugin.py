"""The pytest plugin: the stack, an identity, its tokens and the API server's clock as fixtures."""

import secrets
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from daypass.testing import MovableClock, stack

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
    monkeypatch.setenv("DAYPASS_CREDENTIALS", str(daypass_identity.credentials_file))
    return daypass_identity


@pytest.fixture
def daypass_token(
    daypass_stack: "LocalStack", daypass_identity: "MadeIdentity"
) -> "Callable[..., Secret]":
    """`LocalStack.make_token` for `daypass_identity`: `daypass_token(audiences=["elsewhere"])`."""
    return partial(daypass_stack.make_token, identity=daypass_identity)
