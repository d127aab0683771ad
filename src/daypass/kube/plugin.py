"""Credentials from a client-go credential plugin, kept until they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from datetime import datetime
from typing import Any

from daypass._core.clock import Clock
from daypass._core.secret import Secret
from daypass._core.status import printable
from daypass.kube.access import Access, ExecPlugin
from daypass.kube.errors import KubeconfigError

TIMEOUT_SECONDS = 120.0
LIMIT_BYTES = 1024 * 1024


class PluginCredentials:
    """What a plugin answered: a token, a client certificate, or both; asked again when it ends.

    Safe to share between threads.
    """

    def __init__(self, plugin: ExecPlugin, access: Access, clock: Clock) -> None:
        self._plugin = plugin
        self._access = access
        self._clock = clock
        self._lock = threading.Lock()
        self._status: dict[str, Any] | None = None
        self._ends: float | None = None

    def certificate(self) -> tuple[str, Secret] | None:
        """A client certificate and its key, PEM, where the plugin gives one."""
        status = self._current()
        certificate, key = status.get("clientCertificateData"), status.get("clientKeyData")
        return (certificate, Secret(key)) if certificate and key else None

    def token(self) -> Secret | None:
        """The bearer token that is valid now. Raises KubeconfigError."""
        token = self._current().get("token")
        return Secret(token) if token else None

    def forget(self) -> None:
        """Ask the plugin again next time: the API server took its answer for none."""
        with self._lock:
            self._status = None

    def _current(self) -> dict[str, Any]:
        with self._lock:
            if self._status is None or (
                self._ends is not None and self._clock.unix() >= self._ends
            ):
                self._status = self._ask()
                self._ends = _end(self._status)
            return self._status

    def _ask(self) -> dict[str, Any]:
        plugin = self._plugin
        terminal = plugin.interactive and sys.stdin is not None and sys.stdin.isatty()
        try:
            done = subprocess.run(
                [plugin.command, *plugin.arguments],
                env={
                    **os.environ,
                    **dict(plugin.environment),
                    "KUBERNETES_EXEC_INFO": self._info(terminal),
                },
                stdin=None if terminal else subprocess.DEVNULL,
                stdout=subprocess.PIPE,  # its stderr is ours: it is meant for the person
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except FileNotFoundError:
            raise KubeconfigError(
                f"the credential plugin {plugin.command} is not installed",
                plugin.install_hint or f"{self._access.origin} asks for it",
            ) from None
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = (
                error.strerror if isinstance(error, OSError) else "it took longer than 2 minutes"
            )
            raise KubeconfigError(
                f"the credential plugin {plugin.command} failed: {reason}", ""
            ) from None
        if done.returncode != 0:
            raise KubeconfigError(
                f"the credential plugin {plugin.command} ended with {done.returncode}",
                plugin.install_hint,
            )
        return self._understood(done.stdout)

    def _info(self, interactive: bool) -> str:
        spec: dict[str, Any] = {"interactive": interactive}
        if self._plugin.provide_cluster:
            access = self._access
            cluster = {
                "server": access.server,
                "tls-server-name": access.tls_server_name,
                "certificate-authority-data": _base64(access.authority),
                "proxy-url": access.proxy,
            }
            spec["cluster"] = {name: value for name, value in cluster.items() if value}
        return json.dumps(
            {"apiVersion": self._plugin.api_version, "kind": "ExecCredential", "spec": spec}
        )

    def _understood(self, output: bytes) -> dict[str, Any]:
        try:
            document = json.loads(output[:LIMIT_BYTES])
            status = document["status"]
            version = document["apiVersion"]
            useful = status.get("token") or status.get("clientCertificateData")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            version, useful, status = "", None, {}
        if version != self._plugin.api_version or not useful:
            raise KubeconfigError(
                f"the credential plugin {self._plugin.command} gave no"
                f" {printable(self._plugin.api_version)} ExecCredential with a status",
                "run it by hand to see what it says",
            )
        return dict(status)


def _end(status: dict[str, Any]) -> float | None:
    try:
        return datetime.fromisoformat(str(status["expirationTimestamp"])).timestamp()
    except (KeyError, ValueError):
        return None


def _base64(text: str | None) -> str | None:
    from base64 import b64encode

    return None if text is None else b64encode(text.encode()).decode()
