"""GitHub Actions' way to hand a job its OIDC token, as `getIDToken` of actions/toolkit asks it."""

from __future__ import annotations

import json

from daypass._core.secret import Secret
from daypass.client.door_url import HostPort
from daypass.client.errors import CredentialsError, DoorUnreachableError
from daypass.client.http1 import HttpRequest
from daypass.client.route import Route, route_to_host
from daypass.client.token_request import USER_AGENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from daypass.client.http1 import HttpResponse
    from daypass.client.transport import TransportError

URL, TOKEN = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
_PERMIT = "give the job `permissions: {id-token: write}`; outside GitHub Actions there is none"
_VISIBLE = frozenset(chr(c) for c in range(0x21, 0x7F))


def request(audience: str, environ: Mapping[str, str]) -> tuple[HttpRequest, Route]:
    """The request for a token for `audience`, and the way it takes; raises CredentialsError."""
    from urllib.parse import quote

    url, token = environ.get(URL, ""), environ.get(TOKEN, "")
    if not url or not token:
        raise CredentialsError(f"{TOKEN if url else URL} is not set", _PERMIT)
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    address = HostPort.parse(authority, default_port=443 if scheme == "https" else 80)
    is_plain = scheme == "http" and address is not None and address.is_loopback
    if address is None or not (scheme == "https" or is_plain) or not _VISIBLE.issuperset(path):
        raise CredentialsError(f"{URL} is no https URL", _PERMIT)
    if not _VISIBLE.issuperset(token):
        raise CredentialsError(f"{TOKEN} is no token", _PERMIT)
    separator = "&" if "?" in path else "?"
    headers = (
        ("Host", authority),
        ("Authorization", f"Bearer {token}"),
        ("Accept", "application/json"),
        ("User-Agent", USER_AGENT),
        ("Connection", "close"),
    )
    target = f"{slash or '/'}{path}{separator}audience={quote(audience, safe='')}"
    return HttpRequest(method="GET", target=target, headers=headers), route_to_host(
        address, tls=scheme == "https"
    )


def read_token(response: HttpResponse) -> Secret:
    """The token in the answer; raises CredentialsError, and DoorUnreachableError for a 5xx."""
    if response.status >= 500 or response.status == 429:
        raise DoorUnreachableError(
            f"GitHub gives out no OIDC token now (it answers {response.status})", "try again later"
        )
    if response.status != 200:
        raise CredentialsError(
            f"GitHub gives out no OIDC token (it answers {response.status})", _PERMIT
        )
    try:
        value = json.loads(response.body)["value"]
        if not isinstance(value, str):
            raise TypeError
    except (ValueError, RecursionError, KeyError, TypeError):
        value = ""
    if not value:
        raise CredentialsError(f"what answers at {URL} gives no token", "is it GitHub's own?")
    return Secret(value)


def unreachable(error: TransportError) -> DoorUnreachableError:
    """The error for no answer."""
    host = error.route.target
    return DoorUnreachableError(
        f"{host}, which gives out GitHub's OIDC tokens, does not answer ({error.stage})",
        "is GitHub up? Where only a proxy gets out, set HTTPS_PROXY",
    )
