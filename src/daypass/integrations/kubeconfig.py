"""A kubeconfig whose user is `daypass exec-credential`.

It is a separate file. An existing kubeconfig is never changed: that
would need a YAML library, and could damage it. kubectl merges files: KUBECONFIG=a:b.
"""

import base64
from collections.abc import Sequence
from typing import Any

from daypass._core.errors import UsageError
from daypass._core.files import create_private
from daypass._core.net import HostPort, is_loopback
from daypass._core.tls import read_authority
from daypass.client.door import DoorUrl

_EXAMPLE = "it looks like https://k8s.example.com:6443"


def check_server(server: str, door: DoorUrl) -> str:
    """Check the URL of an API server, and return the host in it.

    Raises UsageError for any other URL, and for the door's host and port with any path: a door
    publishes only the TokenRequest API, so kubectl would find nothing there.
    """
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
