"""The client-go credential plugin: what kubectl asks for, and what it is answered.

client-go (plugin/pkg/client/auth/exec) runs the plugin with KUBERNETES_EXEC_INFO, an ExecCredential
without a status, and reads one with a status from stdout, of the same `apiVersion`. It keeps the
token until `expirationTimestamp` has passed by its own clock, and runs the plugin again only then,
or after a 401. A token without one it would keep for ever.

So `expirationTimestamp` is not the token's end, which is by the API server's clock and would be
acted upon only after it: it is when the token stops being fresh, by this machine's clock, while
there is some of its life left for requests that are under way. At that moment it has gone from the
cache too, so the plugin that is run then prints a new one.

On the cached path of a command that kubectl runs for each of its own runs: next to no imports.
"""

from __future__ import annotations

import time

from daypass._core.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daypass.client.token import CachedToken

VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_BEGINNING = '{"kind":"ExecCredential","apiVersion":"%s",'
"""How client-go writes it, which saves the import of json."""

_SOON_SECONDS = 30


def asked_version(exec_info: str) -> str:
    """The `apiVersion` that KUBERNETES_EXEC_INFO asks for; v1 where it is empty, as when a person
    runs the plugin. Raises UsageError for one that no longer exists, and for what is none."""
    if not exec_info:
        return VERSIONS[0]
    for version in VERSIONS:
        if exec_info.startswith(_BEGINNING % version):
            return version
    return _parsed_version(exec_info)


def _parsed_version(exec_info: str) -> str:
    import json

    from daypass._core.text import printable

    try:
        document = json.loads(exec_info)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.get("kind") != "ExecCredential":
        raise UsageError(
            "KUBERNETES_EXEC_INFO holds no ExecCredential", "kubectl sets it; else leave it unset"
        )
    version = document.get("apiVersion")
    if version not in VERSIONS:
        raise UsageError(
            f"the kubeconfig asks for a credential in {printable(repr(version), 60)}",
            f"write apiVersion: {VERSIONS[0]} below `exec`",
        )
    return str(version)


def exec_credential(version: str, token: CachedToken, now_unix: float) -> str:
    """The answer: one line of JSON. All that goes into it is of letters that JSON leaves alone."""
    ends = int(token.received_unix) + int(token.fresh_seconds)  # as the cache has them
    if ends <= now_unix:  # no longer fresh, and the door gave no other one: to be asked again soon
        ends = int(min(now_unix + _SOON_SECONDS, token.received_unix + token.usable_seconds))
    return (
        f'{{"apiVersion": "{version}", "kind": "ExecCredential", "status": {{'
        f'"expirationTimestamp": "{time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ends))}", '
        f'"token": "{token.value}"}}}}\n'
    )
