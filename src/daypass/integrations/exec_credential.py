"""The client-go credential plugin: the ExecCredential that kubectl requests, and the answer.

client-go (plugin/pkg/client/auth/exec) runs the plugin with KUBERNETES_EXEC_INFO, an ExecCredential
without a status, and reads one with a status from stdout, of the same `apiVersion`. It caches
the token until its own clock passes `expirationTimestamp`, and runs the plugin again only then or
after a 401. It would cache a token without that timestamp for ever.

So `expirationTimestamp` is not when the token expires by the API server's clock, since client-go
would react only afterwards. It is when the token becomes stale by this machine's clock: then it is
still valid for requests in progress, and the plugin, which is run again, prints a fresh one.

kubectl runs this for each of its own runs, so the cached path imports next to nothing.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daypass.client.token import CachedToken

VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_START = '{"kind":"ExecCredential","apiVersion":"%s",'
"""How client-go writes it. Comparing the text saves the import of json."""

_SOON_SECONDS = 30


def requested_version(exec_info: str) -> str:
    """Return the `apiVersion` that KUBERNETES_EXEC_INFO requests.

    It is v1 for any other text: as in a shell, and client-go reports that it requested another one.
    """
    for version in VERSIONS:
        if exec_info.startswith(_START % version):
            return version
    if not exec_info:
        return VERSIONS[0]
    import json

    try:
        requested = json.loads(exec_info)["apiVersion"]
    except (ValueError, RecursionError, LookupError, TypeError):
        requested = None
    return requested if requested in VERSIONS else VERSIONS[0]


def exec_credential(version: str, token: CachedToken, now_unix: float) -> str:
    """Return the answer, one line of JSON. None of its values needs escaping."""
    expires = int(token.received_unix) + int(token.fresh_seconds)  # rounded as in the cache
    if expires <= now_unix:  # stale, and the exchange failed: let client-go try again soon
        expires = int(min(now_unix + _SOON_SECONDS, token.received_unix + token.usable_seconds))
    return (
        f'{{"apiVersion": "{version}", "kind": "ExecCredential", "status": {{'
        f'"expirationTimestamp": "{time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires))}", '
        f'"token": "{token.value}"}}}}\n'
    )
