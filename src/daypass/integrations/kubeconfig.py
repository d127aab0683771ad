"""A kubeconfig whose user is `daypass exec-credential`.

It is a file of its own, in JSON, which is YAML: an existing kubeconfig can't be read without a YAML
library, and nothing is as easy to damage. kubectl joins files by itself: KUBECONFIG=a:b.
"""

import base64
import json
import os
from collections.abc import Sequence
from urllib.parse import urlsplit

from daypass._core.errors import UsageError
from daypass._core.net import HostPort
from daypass._core.tls import read_authority
from daypass.client.door import DoorUrl

_EXAMPLE = "it looks like https://k8s.example.com:6443"


def check_server(server: str, door: DoorUrl) -> str:
    """The URL of an API server, without a slash at the end; returns the host in it.

    Raises UsageError for what is no such URL, and for the door's host and port, whatever the path:
    a door shows the TokenRequest API and no other, so kubectl would find nothing behind it.
    """
    try:
        parts = urlsplit(server)
    except ValueError:
        raise UsageError("the server is no URL", _EXAMPLE) from None
    address = HostPort.parse(parts.netloc, default_port=443 if parts.scheme == "https" else 80)
    if parts.scheme not in ("https", "http") or address is None or not server.isprintable():
        raise UsageError("the server is no https:// URL with a host and nothing else", _EXAMPLE)
    if parts.query or parts.fragment:
        raise UsageError("the server's URL has a query or a fragment", _EXAMPLE)
    if parts.scheme == "http" and not address.is_loopback:
        raise UsageError("http:// would send tokens in the clear", f"use https://{parts.netloc}")
    if str(address) == str(door.address):
        raise UsageError(
            f"{server} is the door: it gives tokens, and shows no other API of the cluster",
            "name the API server that the tokens are for, if you can reach it from here",
        )
    return address.host


def read_public_authority(path: str) -> str:
    """PEM certificates in a file, and no key, since they go on; raises UsageError."""
    pem = read_authority(path)
    if "PRIVATE KEY" in pem:
        raise UsageError(f"{path} holds a private key", "name a file of certificates alone")
    return pem


def kubeconfig(
    *,
    name: str,
    namespace: str,
    server: str,
    authority_pem: str | None,
    command: Sequence[str],
) -> str:
    """The file's content. `command`: the program, by its whole path, and all its arguments.

    There is no `installHint`: client-go shows it only for a program that it looked for on PATH.
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
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"exec": plugin}}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}
        ],
        "current-context": name,
    }
    return json.dumps(document, indent=2) + "\n"


def write_new(path: str, content: str) -> None:
    """Write a file that is not there yet; raises UsageError, and touches nothing that is there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise UsageError(
            f"{path} is there already, and is left as it is",
            f"name a new file, and use both: KUBECONFIG={path}:NEW",
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no such name is possible"
        raise UsageError(f"{path} cannot be written: {reason}", "name another file") from None
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
