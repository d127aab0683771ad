"""How to reach an API server and as whom: what a kubeconfig or a Pod says, understood."""

from __future__ import annotations

from dataclasses import dataclass, field

from daypass._core.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecPlugin:
    """A client-go credential plugin (client.authentication.k8s.io).

    `cluster`: what it is told about the cluster; None where the kubeconfig wants it told nothing.
    """

    api_version: str
    command: str
    arguments: tuple[str, ...] = field(default=(), repr=False)
    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    install_hint: str = ""
    interactive: bool = True
    cluster: dict[str, object] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One context of a kubeconfig, or a Pod's own ServiceAccount.

    `authority`: PEM, or None for the machine's own. `certificate` and `key`: PEM. `token_file` is
    read anew for each request, since the kubelet replaces it. `proxy`: a URL. `impersonate`: the
    headers that say as whom to act.
    """

    server: str
    namespace: str
    origin: str
    authority: str | None = field(default=None, repr=False)
    tls_server_name: str | None = None
    proxy: str | None = field(default=None, repr=False)
    token: Secret | None = None
    token_file: str | None = None
    basic: tuple[str, Secret] | None = None
    certificate: str | None = field(default=None, repr=False)
    key: Secret | None = None
    plugin: ExecPlugin | None = None
    impersonate: tuple[tuple[str, str], ...] = ()
