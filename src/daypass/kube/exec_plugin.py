"""Credentials from a client-go credential plugin, cached until they expire."""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from daypass._core.clock import SYSTEM_CLOCK, Clock
from daypass._core.process import ProgramError, run_program
from daypass._core.secret import Secret
from daypass._core.text import printable
from daypass.kube.errors import KubeconfigError

LIMIT_BYTES = 1024 * 1024
LIMIT_INFO_CHARACTERS = 128 * 1024
"""No variable of Linux is longer. Aliases in YAML may expand to gigabytes, or to themselves."""
TIMEOUT_SECONDS = 120.0
_TIMEOUT_TERMINAL_SECONDS = 900.0
"""On a terminal, where the user may be logging in by a browser."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecPlugin:
    """A client-go credential plugin (client.authentication.k8s.io).

    `cluster`: the cluster information that it gets; None without `provideClusterInfo`.
    """

    api_version: str
    command: str
    arguments: tuple[str, ...] = field(default=(), repr=False)
    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    install_hint: str = ""
    interactive: bool = True
    cluster: dict[str, object] | None = field(default=None, repr=False)


class ExecPluginCredentials:
    """A plugin's token, client certificate, or both; the plugin runs again when they expire.

    Safe to share between threads. Every method raises KubeconfigError if the plugin fails.
    """

    def __init__(self, plugin: ExecPlugin, origin: str, clock: Clock) -> None:
        self._plugin = plugin
        self._origin = origin
        self._clock = clock
        self._lock = threading.Lock()
        self._status: dict[str, Any] | None = None
        self._expires_at: float | None = None

    def certificate(self) -> tuple[str, Secret] | None:
        """Return the plugin's client certificate and key, PEM, or None."""
        status = self._current()
        certificate, key = status.get("clientCertificateData"), status.get("clientKeyData")
        return (certificate, Secret(key)) if certificate and key else None

    def token(self) -> Secret | None:
        """Return the plugin's current bearer token, or None."""
        token = self._current().get("token")
        return Secret(token) if token else None

    def forget(self, token: Secret) -> None:
        """Run the plugin again next time: the API server refused this token."""
        with self._lock:
            if self._status is not None and Secret(self._status.get("token") or "") == token:
                self._status = None

    def _current(self) -> dict[str, Any]:
        with self._lock:
            has_expired = self._expires_at is not None and self._clock.unix() >= self._expires_at
            if self._status is None or has_expired:
                self._status = self._run()
                self._expires_at = _expiry(self._status)
            return self._status

    def _run(self) -> dict[str, Any]:
        plugin = self._plugin
        terminal = plugin.interactive and sys.stdin is not None and sys.stdin.isatty()
        environment = {
            **os.environ,
            **dict(plugin.environment),
            "KUBERNETES_EXEC_INFO": self._info(terminal),
        }
        try:
            output = run_program(
                [plugin.command, *plugin.arguments],
                timeout_seconds=_TIMEOUT_TERMINAL_SECONDS if terminal else TIMEOUT_SECONDS,
                limit_bytes=LIMIT_BYTES,
                clock=SYSTEM_CLOCK,
                environment=environment,
                attached=True,  # its stderr is for the user
                interactive=terminal,
            )
        except ProgramError as error:
            if error.is_missing:
                raise KubeconfigError(
                    f"the credential plugin {plugin.command} is not installed",
                    plugin.install_hint or f"{self._origin} uses it",
                ) from None
            raise self._failed(error.reason) from None
        return self._parsed(output)

    def _failed(self, how: str) -> KubeconfigError:
        hint = self._plugin.install_hint or "run it in a terminal to see its output"
        return KubeconfigError(f"the credential plugin {self._plugin.command} {how}", hint)

    def _info(self, interactive: bool) -> str:
        spec: dict[str, object] = {"interactive": interactive}
        if self._plugin.cluster is not None:
            spec["cluster"] = self._plugin.cluster
        document = {"apiVersion": self._plugin.api_version, "kind": "ExecCredential", "spec": spec}
        text = ""
        try:
            for part in json.JSONEncoder().iterencode(document):
                text += part
                if len(text) > LIMIT_INFO_CHARACTERS:
                    raise ValueError(LIMIT_INFO_CHARACTERS)
        except (TypeError, ValueError, RecursionError):
            raise self._failed("cannot be given the cluster's entry in the kubeconfig") from None
        return text

    def _parsed(self, output: bytes) -> dict[str, Any]:
        names = ("token", "clientCertificateData", "clientKeyData", "expirationTimestamp")
        try:
            document = json.loads(output)
            status = {name: document["status"].get(name) or "" for name in names}
            version = document["apiVersion"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            version, status = "", {}
        useful = status.get("token") or status.get("clientCertificateData")
        if (
            version != self._plugin.api_version
            or not useful
            or not all(isinstance(value, str) for value in status.values())
        ):
            version = printable(self._plugin.api_version)
            raise self._failed(f"did not print a {version} ExecCredential with a status")
        return status


def _expiry(status: dict[str, Any]) -> float | None:
    """Return when the credentials expire. A time without a zone counts, too, as local time."""
    try:
        return datetime.fromisoformat(status["expirationTimestamp"]).timestamp()
    except ValueError:
        return None
