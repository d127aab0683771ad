"""Find and read a kubeconfig as kubectl does (client-go, tools/clientcmd).

`--kubeconfig`, else all files that KUBECONFIG lists, merged, else ~/.kube/config, else the Pod's
own ServiceAccount. Paths are relative to their file. No error quotes a value: it may be a secret.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from daypass._core.kubernetes.syntax import LABEL_HINT, is_label
from daypass._core.net import HostPort, bracketed, is_loopback, proxy_for
from daypass._core.secret import Secret
from daypass._core.text import printable
from daypass.kube.connection import ConnectionConfig, ExecPlugin
from daypass.kube.errors import KubeconfigError

_SERVICE_ACCOUNT_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_NAME_ANOTHER = "name an administrator's kubeconfig: --kubeconfig FILE"
_EXEC_GROUP = "client.authentication.k8s.io"
_EXEC_EXTENSION = f"{_EXEC_GROUP}/exec"
"""The extension of a cluster entry that a credential plugin gets."""
DOOR_EXTENSION = "daypass.dev/door"
"""The extension of a cluster entry with the door's `certificate-authority-data`."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Fields = dict[str, Any]
Named = dict[str, tuple[Path, Fields]]
"""Entries by name, each with its file."""


def _read_yaml(path: Path) -> Fields:
    """Return the mapping in a file. Every function here raises KubeconfigError."""
    content = _content(path)
    try:
        document = yaml.load(content, Loader=_Loader)  # noqa: S506 - a safe loader
    except Exception:
        # Constructors of unusual tags raise anything, and it may quote the secrets inside.
        raise KubeconfigError(
            f"{path} is not valid YAML", "check that it is a kubeconfig"
        ) from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise KubeconfigError(f"{path} is not a kubeconfig")
    return document


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a path"
        raise KubeconfigError(f"{path} cannot be read: {reason}", "is the path right?") from None


def _entries_of(fields: Fields, name: str, path: Path) -> list[Fields]:
    """Return a field that is a list of mappings; empty if absent."""
    entries = fields.get(name) or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise KubeconfigError(f"{path}: `{name}` is not a list of entries")
    return entries


def _fields_of(fields: Fields, name: str, path: Path) -> Fields:
    """Return a field that is a mapping; empty if absent."""
    value = fields.get(name) or {}
    if not isinstance(value, dict):
        raise KubeconfigError(f"{path}: `{name}` is not a mapping")
    return value


def _texts_of(fields: Fields, name: str, path: Path) -> list[str]:
    """Return a field that is a list of strings; empty if absent."""
    values = fields.get(name) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise KubeconfigError(f"{path}: `{name}` is not a list of strings", "put each in quotes")
    return values


def _text_of(fields: Fields, name: str, path: Path) -> str | None:
    """Return a field that is a string; None if absent or empty."""
    value = fields.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise KubeconfigError(f"{path}: `{name}` is not a string", "put it in quotes")
    return value


def _material_of(fields: Fields, name: str, path: Path) -> str | None:
    """Return PEM: inline (`NAME-data`, base64), or the file at path NAME."""
    inline, file = _text_of(fields, f"{name}-data", path), _text_of(fields, name, path)
    try:
        if inline is not None:
            return base64.b64decode(inline, validate=True).decode("ascii")
        return None if file is None else _content(path.parent / file).decode("ascii")
    except ValueError:
        raise KubeconfigError(f"{path}: `{name}` is not PEM") from None


def find_connection_config(
    environ: Mapping[str, str],
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
    namespace: str | None = None,
) -> ConnectionConfig:
    """Return the connection that kubectl would use. Raises KubeconfigError."""
    files = _files(environ, kubeconfig)
    if files:
        found = _from_files(files, environ, context, namespace)
    elif kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in environ:
        found = _in_cluster(environ, namespace)
    else:
        raise KubeconfigError(
            "there is no kubeconfig",
            "name one: --kubeconfig FILE, or KUBECONFIG in the environment",
        )
    if not is_label(found.namespace):
        raise KubeconfigError(
            f"{printable(found.namespace, 80)!r} is not a namespace",
            LABEL_HINT,
        )
    return found


def context_names(environ: Mapping[str, str], *, kubeconfig: str | None = None) -> list[str]:
    """Return the contexts among which kubectl would choose. Raises KubeconfigError."""
    return list(_merged(_files(environ, kubeconfig))[1].get("contexts", ()))


def _files(environ: Mapping[str, str], kubeconfig: str | None) -> list[Path]:
    if kubeconfig is not None:
        return [Path(kubeconfig).absolute()]
    listed = [
        Path(name).absolute() for name in environ.get("KUBECONFIG", "").split(os.pathsep) if name
    ]
    if listed:
        # As client-go: files that do not exist are ignored, as long as one does.
        there = [path for path in listed if path.exists()]
        if not there:
            raise KubeconfigError(
                f"KUBECONFIG names {listed[0]}, which does not exist", "correct or unset KUBECONFIG"
            )
        return there
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    usual = home / ".kube" / "config"
    return [usual] if home.is_absolute() and usual.exists() else []


def _from_files(
    files: list[Path], environ: Mapping[str, str], context: str | None, namespace: str | None
) -> ConnectionConfig:
    current, sections = _merged(files)
    origin = os.pathsep.join(str(path) for path in files)
    name = context or current
    if not sections.get("contexts"):
        raise KubeconfigError(f"{origin} has no context", _NAME_ANOTHER)
    if not name:
        raise KubeconfigError(f"{origin} has no current context", "name one: --context NAME")
    place, chosen = _named(sections, "contexts", name, origin)
    cluster_name = _text_of(chosen, "cluster", place) or ""
    cluster_file, cluster = _named(sections, "clusters", cluster_name, origin)
    user_file, user = place, Fields()
    if user_name := _text_of(chosen, "user", place):
        user_file, user = _named(sections, "users", user_name, origin)
    namespace = namespace or _text_of(chosen, "namespace", place) or "default"
    server = _server(cluster, cluster_file)
    authority = _material_of(cluster, "certificate-authority", cluster_file)
    door = _extension(cluster, DOOR_EXTENSION, cluster_file)
    proxy = _text_of(cluster, "proxy-url", cluster_file)
    info: Fields = {
        "server": _text_of(cluster, "server", cluster_file),
        "tls-server-name": _text_of(cluster, "tls-server-name", cluster_file),
        "certificate-authority-data": authority and base64.b64encode(authority.encode()).decode(),
        "proxy-url": proxy,
        "config": _extension(cluster, _EXEC_EXTENSION, cluster_file),
    }
    return ConnectionConfig(
        server=server,
        namespace=namespace,
        origin=f"context {name} of {origin}",
        authority=authority,
        door_authority=_material_of(
            door if isinstance(door, dict) else {}, "certificate-authority", cluster_file
        ),
        tls_server_name=_text_of(cluster, "tls-server-name", cluster_file),
        proxy=proxy or _proxy(server, environ),
        **_credentials(user, user_file, {k: v for k, v in info.items() if v is not None}),
    )


def _merged(files: list[Path]) -> tuple[str | None, dict[str, Named]]:
    """Return the current context, and entries by section and name; the first file wins."""
    current: str | None = None
    sections: dict[str, Named] = {}
    for path in files:
        document = _read_yaml(path)
        if document.get("type") == "daypass":
            raise KubeconfigError(
                f"{path} is a credentials file of daypass, not a kubeconfig",
                _NAME_ANOTHER,
            )
        current = current or _text_of(document, "current-context", path)
        for section, kind in (("contexts", "context"), ("clusters", "cluster"), ("users", "user")):
            for entry in _entries_of(document, section, path):
                name = _text_of(entry, "name", path)
                if name:
                    known = sections.setdefault(section, {})
                    known.setdefault(name, (path, _fields_of(entry, kind, path)))
    return current, sections


def _server(cluster: Fields, path: Path) -> str:
    """Return the URL of an API server to which tokens may be sent."""
    if cluster.get("insecure-skip-tls-verify"):
        raise KubeconfigError(
            f"{path} turns off TLS verification",
            "give its cluster the `certificate-authority` instead of `insecure-skip-tls-verify`:\n"
            "long-lived tokens travel over this connection",
        )
    server = _text_of(cluster, "server", path)
    if not server:
        raise KubeconfigError(f"{path}: the cluster has no `server`", "it looks like https://HOST")
    wrong = KubeconfigError(
        f"{path}: `server` is not the URL of an API server", "it looks like https://HOST:6443"
    )
    try:
        url = urlsplit(server)
        _ = url.port
    except ValueError:
        raise wrong from None
    if not (url.hostname and server.isascii() and server.isprintable()) or " " in server:
        raise wrong
    if "@" in url.netloc or url.query or url.fragment:
        raise wrong
    if url.scheme == "http" and not is_loopback(url.hostname):
        raise KubeconfigError(
            f"{path}: `server` is plain http", "tokens travel over https, or on this machine alone"
        )
    if url.scheme not in ("http", "https"):
        raise wrong
    return server.rstrip("/")


def _proxy(server: str, environ: Mapping[str, str]) -> str | None:
    url = urlsplit(server)
    return proxy_for(HostPort(url.hostname or "", url.port or 443), environ)


def _credentials(user: Fields, path: Path, info: Fields) -> dict[str, Any]:
    """Return the credentials, as fields of a ConnectionConfig."""
    if user.get("auth-provider"):
        raise KubeconfigError(
            f"{path} uses an auth-provider, which Kubernetes 1.26 has removed",
            "use its credential plugin (`exec`) instead",
        )
    token_file, token = _text_of(user, "tokenFile", path), _text_of(user, "token", path)
    key = _material_of(user, "client-key", path)
    return {
        "token": Secret(token) if token else None,
        "token_file": str(path.parent / token_file) if token_file else None,
        "certificate": _material_of(user, "client-certificate", path),
        "key": Secret(key) if key is not None else None,
        "plugin": _plugin(_fields_of(user, "exec", path), path, info) if user.get("exec") else None,
        "impersonate": tuple(_impersonation(user, path)),
    }


def _impersonation(user: Fields, path: Path) -> Iterator[tuple[str, str]]:
    if user.get("as-user-extra"):
        raise KubeconfigError(f"{path}: `as-user-extra` is not supported")
    for field, header in (("as", "Impersonate-User"), ("as-uid", "Impersonate-Uid")):
        if value := _text_of(user, field, path):
            yield header, value
    for group in _texts_of(user, "as-groups", path):
        yield "Impersonate-Group", group


def _plugin(fields: Fields, path: Path, info: Fields) -> ExecPlugin:
    command, version = _text_of(fields, "command", path), _text_of(fields, "apiVersion", path)
    if not command:
        raise KubeconfigError(f"{path}: `exec` has no command")
    if version not in (f"{_EXEC_GROUP}/v1", f"{_EXEC_GROUP}/v1beta1"):
        raise KubeconfigError(
            f"{path}: the credential plugin {command} has the apiVersion {version or '(none)'}",
            f"it must be {_EXEC_GROUP}/v1 (or v1beta1)",
        )
    if os.sep in command:
        command = str(path.parent / command)  # as client-go: only names are looked up in PATH
    return ExecPlugin(
        api_version=version,
        command=command,
        arguments=tuple(_texts_of(fields, "args", path)),
        environment=tuple(
            (_text_of(each, "name", path) or "", _text_of(each, "value", path) or "")
            for each in _entries_of(fields, "env", path)
        ),
        install_hint=_text_of(fields, "installHint", path) or "",
        interactive=fields.get("interactiveMode") != "Never",
        cluster=info if fields.get("provideClusterInfo") is True else None,
    )


def _extension(cluster: Fields, name: str, path: Path) -> object:
    for each in _entries_of(cluster, "extensions", path):
        if each.get("name") == name:
            return each.get("extension")
    return None


def _in_cluster(environ: Mapping[str, str], namespace: str | None) -> ConnectionConfig:
    folder = _SERVICE_ACCOUNT_FOLDER
    host = environ["KUBERNETES_SERVICE_HOST"]
    server = f"https://{bracketed(host)}"
    server += f":{environ.get('KUBERNETES_SERVICE_PORT', '443')}"
    try:
        own = (folder / "namespace").read_text().strip()
        authority = (folder / "ca.crt").read_text()
    except OSError as error:
        raise KubeconfigError(
            f"this Pod has no ServiceAccount token: {error.filename}: {error.strerror}",
            "set automountServiceAccountToken, or name a kubeconfig",
        ) from None
    return ConnectionConfig(
        server=server,
        namespace=namespace or own,
        origin="this Pod's ServiceAccount",
        authority=authority,
        proxy=_proxy(server, environ),
        token_file=str(folder / "token"),
    )


def _named(sections: dict[str, Named], section: str, name: str, origin: str) -> tuple[Path, Fields]:
    entries = sections.get(section, {})
    if name in entries:
        return entries[name]
    known = ", ".join(sorted(entries)) or "none"
    raise KubeconfigError(f"{origin} has no {section[:-1]} {name!r}", f"it has: {known}")
