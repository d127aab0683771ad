"""Finding and reading a kubeconfig as kubectl does (client-go, tools/clientcmd).

`--kubeconfig`, else all files that KUBECONFIG lists, merged, else ~/.kube/config, else the
ServiceAccount of the Pod that this runs in. Relative paths are relative to the file they stand in.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from daypass._core.secret import Secret
from daypass.kube.access import Access, ExecPlugin
from daypass.kube.errors import KubeconfigError

LIMIT_BYTES = 4 * 1024 * 1024
SERVICE_ACCOUNT_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")

Fields = dict[str, Any]


def find_access(
    environ: Mapping[str, str],
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
    namespace: str | None = None,
    service_account_folder: Path = SERVICE_ACCOUNT_FOLDER,
) -> Access:
    """The way to the API server that kubectl would take. Raises KubeconfigError."""
    files = _files(environ, kubeconfig)
    if files:
        return _from_files(files, context, namespace)
    if kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in environ:
        return _in_cluster(environ, namespace, service_account_folder)
    raise KubeconfigError(
        "no kubeconfig is found", "name one: --kubeconfig FILE, or KUBECONFIG in the environment"
    )


def _files(environ: Mapping[str, str], kubeconfig: str | None) -> list[Path]:
    if kubeconfig is not None:
        return [Path(kubeconfig)]
    listed = [Path(name) for name in environ.get("KUBECONFIG", "").split(os.pathsep) if name]
    if listed:
        # As client-go: what is listed and absent is passed over, as long as one is there.
        there = [path for path in listed if path.exists()]
        if not there:
            raise KubeconfigError(
                f"KUBECONFIG names {listed[0]}, which does not exist", "correct or unset KUBECONFIG"
            )
        return there
    usual = Path(environ.get("HOME") or "~").expanduser() / ".kube" / "config"
    return [usual] if usual.exists() else []


def _from_files(files: list[Path], context: str | None, namespace: str | None) -> Access:
    current: str | None = None
    sections: dict[str, dict[str, tuple[Path, Fields]]] = {}
    for path in files:
        document = _read(path)
        current = current or _text(document, "current-context", path)
        for section, kind in (("contexts", "context"), ("clusters", "cluster"), ("users", "user")):
            for entry in _list(document, section, path):
                name, value = entry.get("name"), entry.get(kind) or {}
                if isinstance(name, str) and isinstance(value, dict):
                    sections.setdefault(section, {}).setdefault(name, (path, value))
    origin = os.pathsep.join(str(path) for path in files)
    name = context or current
    if not name:
        raise KubeconfigError(f"{origin} has no current context", "name one: --context NAME")
    place, chosen = _named(sections, "contexts", name, origin)
    cluster_file, cluster = _named(
        sections, "clusters", _text(chosen, "cluster", place) or "", origin
    )
    user_file, user = place, dict[str, Any]()
    if user_name := _text(chosen, "user", place):
        user_file, user = _named(sections, "users", user_name, origin)
    return _access(
        cluster, cluster_file, user, user_file,
        namespace or _text(chosen, "namespace", place) or "default", f"context {name} of {origin}",
    )  # fmt: skip


def _access(
    cluster: Fields, cluster_file: Path, user: Fields, user_file: Path, namespace: str, origin: str
) -> Access:
    server = _text(cluster, "server", cluster_file)
    if not server:
        raise KubeconfigError(f"{origin} names no server", "its cluster needs a `server`")
    if cluster.get("insecure-skip-tls-verify"):
        raise KubeconfigError(
            f"{origin} switches the verification of TLS off",
            "give its cluster the `certificate-authority` instead of `insecure-skip-tls-verify`:\n"
            "long-lived tokens travel over this connection",
        )
    if "auth-provider" in user:
        raise KubeconfigError(
            f"{origin} uses an auth-provider, which Kubernetes 1.26 has removed",
            "use its credential plugin (`exec`) instead",
        )
    name, password = _text(user, "username", user_file), _text(user, "password", user_file)
    token_file = _text(user, "tokenFile", user_file)
    token = _text(user, "token", user_file)
    key = _material(user, "client-key", user_file)
    return Access(
        server=server.rstrip("/"),
        namespace=namespace,
        origin=origin,
        authority=_material(cluster, "certificate-authority", cluster_file),
        tls_server_name=_text(cluster, "tls-server-name", cluster_file),
        proxy=_text(cluster, "proxy-url", cluster_file),
        token=Secret(token) if token else None,
        token_file=str(user_file.parent / token_file) if token_file else None,
        basic=(name, Secret(password or "")) if name else None,
        certificate=_material(user, "client-certificate", user_file),
        key=Secret(key) if key is not None else None,
        plugin=_plugin(user["exec"], user_file) if user.get("exec") else None,
        impersonate=_text(user, "as", user_file),
    )


def _plugin(fields: Any, path: Path) -> ExecPlugin:
    if not isinstance(fields, dict) or not isinstance(fields.get("command"), str):
        raise KubeconfigError(f"{path}: an `exec` without a command", "")
    version = _text(fields, "apiVersion", path) or ""
    if version not in (
        "client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1",
    ):  # fmt: skip
        raise KubeconfigError(
            f"{path}: the credential plugin {fields['command']} speaks {version or 'no version'}",
            "its apiVersion is client.authentication.k8s.io/v1 (or v1beta1)",
        )
    command = fields["command"]
    if os.sep in command:
        command = str(path.parent / command)  # as client-go: only names are looked up in PATH
    return ExecPlugin(
        api_version=version,
        command=command,
        arguments=tuple(str(each) for each in fields.get("args") or ()),
        environment=tuple(
            (str(each.get("name")), str(each.get("value"))) for each in fields.get("env") or ()
        ),
        install_hint=_text(fields, "installHint", path) or "",
        provide_cluster=fields.get("provideClusterInfo") is True,
        interactive=fields.get("interactiveMode", "IfAvailable") != "Never",
    )


def _in_cluster(environ: Mapping[str, str], namespace: str | None, folder: Path) -> Access:
    host = environ["KUBERNETES_SERVICE_HOST"]
    port = environ.get("KUBERNETES_SERVICE_PORT", "443")
    try:
        own = (folder / "namespace").read_text().strip()
        authority = (folder / "ca.crt").read_text()
    except OSError as error:
        raise KubeconfigError(
            f"this Pod has no ServiceAccount token: {error.filename}: {error.strerror}",
            "set automountServiceAccountToken, or name a kubeconfig",
        ) from None
    return Access(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        namespace=namespace or own,
        origin="this Pod's ServiceAccount",
        authority=authority,
        token_file=str(folder / "token"),
    )


def _read(path: Path) -> Fields:
    try:
        with path.open("rb") as file:
            content = file.read(LIMIT_BYTES + 1)
    except OSError as error:
        raise KubeconfigError(f"{path} cannot be read: {error.strerror}", "") from None
    if len(content) > LIMIT_BYTES:
        raise KubeconfigError(f"{path} is larger than 4 MiB", "is it a kubeconfig?")
    try:
        document = yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - it is the safe one
    except (yaml.YAMLError, ValueError, RecursionError):
        # Its own words quote the file, which holds secrets.
        raise KubeconfigError(f"{path} is not whole YAML", "is it a kubeconfig?") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise KubeconfigError(f"{path} is not a kubeconfig", "")
    return document


def _list(document: Fields, section: str, path: Path) -> list[Fields]:
    entries = document.get(section) or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise KubeconfigError(f"{path}: `{section}` is not a list of entries", "")
    return entries


def _named(
    sections: dict[str, dict[str, tuple[Path, Fields]]], section: str, name: str, origin: str
) -> tuple[Path, Fields]:
    entries = sections.get(section, {})
    if name in entries:
        return entries[name]
    known = ", ".join(sorted(entries)) or "none"
    raise KubeconfigError(f"{origin} has no {section[:-1]} {name!r}", f"it has: {known}")


def _text(fields: Fields, name: str, path: Path) -> str | None:
    value = fields.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise KubeconfigError(f"{path}: `{name}` is not a string", "put it in quotes")
    return value


def _material(fields: Fields, name: str, path: Path) -> str | None:
    """PEM, inline (`NAME-data`, base64) or in the file that NAME is the path of."""
    inline = _text(fields, f"{name}-data", path)
    if inline is not None:
        try:
            return base64.b64decode(inline, validate=True).decode("ascii")
        except (binascii.Error, ValueError):
            raise KubeconfigError(f"{path}: `{name}-data` is not base64", "") from None
    file = _text(fields, name, path)
    if file is None:
        return None
    try:
        return (path.parent / file).read_bytes().decode("ascii")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not PEM"
        raise KubeconfigError(f"{path.parent / file} cannot be read: {reason}", "") from None
