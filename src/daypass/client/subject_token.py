"""How the token that is traded is come by: it is there, a program prints it, or CI gives it out.

What a file or a variable holds is there when the credentials are read, and is read again when they
are (`reading`). A program and CI are asked at each exchange.
"""

from __future__ import annotations

from daypass._core.process import ProgramError
from daypass._core.redact import redact
from daypass._core.secret import Secret
from daypass.client.effects import Run, Send
from daypass.client.errors import CredentialsError
from daypass.client.program import explain_program
from daypass.client.transport import TransportError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    from daypass.client.effects import Flow
    from daypass.client.timing import Timing

    class LongLived(Protocol):
        """A way to the token that is traded."""

        def fetch(self, timing: Timing, ends: float) -> Flow[Secret]:
            """The token, until `ends` (monotonic); raises CredentialsError and what the flow of
            an exchange does."""
            ...


ALLOW_EXEC = "DAYPASS_ALLOW_EXEC"
PROGRAM_SECONDS = 10.0


class StaticToken:
    """A token that is there."""

    __slots__ = ("token",)

    def __init__(self, token: Secret) -> None:
        self.token = token

    def fetch(self, timing: Timing, ends: float) -> Flow[Secret]:
        """It."""
        yield from ()
        return self.token


class ExecToken:
    """A token that a program prints, where DAYPASS_ALLOW_EXEC=1: a file that is handed around must
    not run code on its own."""

    __slots__ = ("_command", "_environ")

    def __init__(self, command: tuple[str, ...], environ: Mapping[str, str]) -> None:
        self._command = command
        self._environ = environ

    def fetch(self, timing: Timing, ends: float) -> Flow[Secret]:
        """What the program prints."""
        name = redact(self._command[0])
        if self._environ.get(ALLOW_EXEC) != "1":
            raise CredentialsError(
                f"the credentials want to run {name!r} for their token, which is not allowed",
                f"if you trust whoever made them: {ALLOW_EXEC}=1",
            )
        left = min(PROGRAM_SECONDS, ends - timing.clock.monotonic())
        try:
            printed: bytes = yield Run(self._command, left)
        except ProgramError as error:
            raise explain_program(error, name) from None
        return Secret(printed.decode("utf-8", "replace").strip())


class GitHubToken:
    """The OIDC token of a job in GitHub Actions, for an audience.

    docs.github.com/actions/reference/openid-connect-reference: a GET of
    ACTIONS_ID_TOKEN_REQUEST_URL with the audience, by the job's ACTIONS_ID_TOKEN_REQUEST_TOKEN.
    """

    __slots__ = ("_audience", "_environ")

    def __init__(self, audience: str, environ: Mapping[str, str]) -> None:
        self._audience = audience
        self._environ = environ

    def fetch(self, timing: Timing, ends: float) -> Flow[Secret]:
        """What GitHub gives out."""
        from daypass.client import github

        request, route = github.request(self._audience, self._environ)
        for again in (True, False):
            try:
                left = ends - timing.clock.monotonic()
                response = yield Send(request, route, left)
            except TransportError as error:
                if not again:
                    raise github.unreachable(error) from error.__cause__
                continue
            if response.status < 500 or not again:
                return github.read_token(response)
        raise AssertionError
