"""kubectl: a kubeconfig whose user is `daypass exec-credential`, and what that command answers.

client-go (plugin/pkg/client/auth/exec) runs the plugin with KUBERNETES_EXEC_INFO, an ExecCredential
without a status, and reads one with a status from stdout, of the same `apiVersion`. It caches
the token until its own clock passes `expirationTimestamp`, and runs the plugin again only then or
after a 401. It would cache a token without that timestamp for ever.

So `expirationTimestamp` is not when the token expires by the API server's clock, since client-go
would react only afterwards. It is when the token becomes stale by this machine's clock: then it is
still valid for requests in progress, and the plugin, which is run again, prints a fresh one.

kubectl runs this for each of its own runs, so the cached path imports next to nothing.

The kubeconfig is a file of its own, and an existing one is never changed: that would need a YAML
library, and could damage it. kubectl merges files: KUBECONFIG=a:b.
"""

from __future__ import annotations

import time

from daypass._core.errors import UsageError
from daypass._core.files import create_private

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from daypass.client.door import DoorUrl
    from daypass.client.token import CachedToken

VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_START = '{"kind":"ExecCredential","apiVersion":"%s",'
"""How client-go writes it. Comparing the text saves the import of json."""

_SOON_SECONDS = 30
_EXAMPLE = "it looks like https://k8s.example.com:6443"


# -- the credential plugin


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


# -- the kubeconfig


def check_server(server: str, door: DoorUrl) -> str:
    """Check the URL of an API server, and return the host in it.

    Raises UsageError for any other URL, and for the door's host and port with any path: a door
    publishes only the TokenRequest API, so kubectl would find nothing there.
    """
    from daypass._core.net import HostPort, is_loopback

    scheme, _, rest = server.partition("://")
    authority = rest.partition("/")[0]
    address = HostPort.parse(authority, default_port=443 if scheme == "https" else 80)
    if scheme not in ("https", "http") or address is None or not server.isprintable():
        raise UsageError("the server is not an https:// URL with a host and a port", _EXAMPLE)
    if scheme == "http" and not is_loopback(address.host):
        raise UsageError("http:// would send tokens in the clear", f"use https://{authority}")
    if str(address) == str(door.address):
        raise UsageError(
            f"{server} is the door: it issues tokens and publishes no other API",
            "name the API server that the tokens are for, if you can reach it from here",
        )
    return address.host


def read_public_authority(path: str) -> str:
    """Return the PEM certificates in a file. Raises UsageError if it holds a private key."""
    from daypass._core.tls import read_authority

    pem = read_authority(path)
    if "PRIVATE KEY" in pem:
        raise UsageError(f"{path} holds a private key", "name a file with certificates only")
    return pem


def kubeconfig(
    *,
    name: str,
    namespace: str,
    server: str,
    authority_pem: str | None,
    command: Sequence[str],
) -> dict[str, Any]:
    """Return the kubeconfig. `command`: the program with its absolute path, and its arguments.

    There is no `installHint`: client-go shows it only for a program that it searches on PATH.
    """
    cluster: dict[str, str] = {"server": server}
    if authority_pem is not None:
        import base64

        cluster["certificate-authority-data"] = base64.b64encode(authority_pem.encode()).decode()
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": command[0],
        "args": list(command[1:]),
        "interactiveMode": "Never",
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"exec": plugin}}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}
        ],
        "current-context": name,
    }


def write_new(path: str, content: str) -> None:
    """Write a new file. Raises UsageError if it exists, and leaves that file unchanged."""
    try:
        create_private(path, content.encode(), mode=0o600, owner=(-1, -1))
    except FileExistsError:
        raise UsageError(
            f"{path} exists already, and is unchanged",
            f"name a new file, and use both: KUBECONFIG={path}:NEW",
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a valid path"
        raise UsageError(f"{path} cannot be written: {reason}", "name another file") from None
