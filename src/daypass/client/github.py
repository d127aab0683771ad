"""The OIDC token of a GitHub Actions job, requested as `getIDToken` of actions/toolkit does."""

from __future__ import annotations

import json

from daypass._core.net import HostPort, is_loopback
from daypass._core.record import Record
from daypass._core.secret import Secret
from daypass.client.errors import CredentialsError, DoorUnreachableError
from daypass.client.http1 import USER_AGENT, HttpRequest
from daypass.client.transport import TransportError, route_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from daypass.client.http1 import HttpResponse
    from daypass.client.transport import Deadline, Route, Send

URL, TOKEN = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
_PERMIT = "give the job `permissions: {id-token: write}`; outside GitHub Actions there is none"
_VISIBLE = frozenset(chr(c) for c in range(0x21, 0x7F))


class GitHubToken(Record):
    """The OIDC token of a job in GitHub Actions, for an audience.

    docs.github.com/actions/reference/openid-connect-reference: a GET of
    ACTIONS_ID_TOKEN_REQUEST_URL with the audience, by the job's ACTIONS_ID_TOKEN_REQUEST_TOKEN.
    """

    audience: str
    environ: Mapping[str, str]

    def get(self, deadline: Deadline, send: Send) -> Secret:
        """Request the token.

        Raises CredentialsError, and DoorUnreachableError if GitHub does not answer.
        """
        request, route = _request(self.audience, self.environ)
        try:
            response = send(route, request, deadline)
        except TransportError as error:
            raise DoorUnreachableError(
                f"{route.target}, which issues GitHub's OIDC tokens, does not answer"
                f" ({error.stage})",
                "is GitHub up? If only a proxy has access, set HTTPS_PROXY",
                reason="github-unreachable",
                is_retried=True,
            ) from error.__cause__
        return _read_token(response, self.environ)


def _request(audience: str, environ: Mapping[str, str]) -> tuple[HttpRequest, Route]:
    from urllib.parse import quote

    url, token = environ.get(URL, ""), environ.get(TOKEN, "")
    if not url or not token:
        raise CredentialsError(
            f"{TOKEN if url else URL} is not set", _PERMIT, reason="missing-variable"
        )
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    address = HostPort.parse(authority, default_port=443 if scheme == "https" else 80)
    is_plain = scheme == "http" and address is not None and is_loopback(address.host)
    if address is None or not (scheme == "https" or is_plain) or not _VISIBLE.issuperset(path):
        raise CredentialsError(f"{URL} is not an https URL", _PERMIT, reason="invalid-variable")
    if not _VISIBLE.issuperset(token):
        raise CredentialsError(f"{TOKEN} is not a token", _PERMIT, reason="invalid-variable")
    separator = "&" if "?" in path else "?"
    headers = (
        ("Host", authority),
        ("Authorization", f"Bearer {token}"),
        ("Accept", "application/json"),
        ("User-Agent", USER_AGENT),
        ("Connection", "close"),
    )
    target = f"{slash or '/'}{path}{separator}audience={quote(audience, safe='')}"
    return HttpRequest(method="GET", target=target, headers=headers), route_to(
        address, tls=scheme == "https"
    )


def _read_token(response: HttpResponse, environ: Mapping[str, str]) -> Secret:
    if response.status >= 500 or response.status == 429:
        raise DoorUnreachableError(
            f"GitHub issues no OIDC token at the moment (it answers {response.status})",
            "try again later",
            reason="github-unavailable",
            is_retried=response.status >= 500,
        )
    if response.status != 200:
        raise CredentialsError(
            f"GitHub issues no OIDC token (it answers {response.status})",
            _PERMIT,
            reason="github-refused",
        )
    try:
        value = json.loads(response.body)["value"]
        if not isinstance(value, str):
            raise TypeError
    except (ValueError, RecursionError, KeyError, TypeError):
        value = ""
    if not value or value == environ[TOKEN]:  # the job's own must not reach the door
        raise CredentialsError(
            f"the response of {URL} contains no token",
            "is it the URL that GitHub sets?",
            reason="github-refused",
        )
    return Secret(value)
