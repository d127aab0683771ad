"""Kubernetes objects as tests write them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from daypass._core.kubernetes.objects import Object
from support.authority import Certificate


def make(version: str, kind: str, name: str, namespace: str | None = None, **more: Any) -> Object:
    metadata = {"name": name} if namespace is None else {"name": name, "namespace": namespace}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **more}


def config_map(name: str, namespace: str, data: Mapping[str, str]) -> Object:
    return make("v1", "ConfigMap", name, namespace, data=dict(data))


def secret(name: str, namespace: str, files: Mapping[str, str], **more: Any) -> Object:
    data = {key: base64.b64encode(text.encode()).decode() for key, text in files.items()}
    return make("v1", "Secret", name, namespace, data=data, **more)


def tls_secret(name: str, namespace: str, pair: Certificate) -> Object:
    """Return a Secret with a certificate and its key, as a Gateway wants them."""
    files = {"tls.crt": pair.certificate_pem, "tls.key": pair.key_pem}
    return secret(name, namespace, files, type="kubernetes.io/tls")


def kubeconfig(server: str, user: Mapping[str, str], authority: str = "") -> Object:
    cluster = {"server": server, **({"certificate-authority": authority} if authority else {})}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": cluster}],
        "users": [{"name": "x", "user": dict(user)}],
    }
