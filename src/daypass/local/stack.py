"""The whole stack on one machine: embedded API server, door, gate, and identities in it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from daypass._core.clock import SYSTEM_CLOCK, Clock
from daypass._core.errors import DaypassError
from daypass._core.files import write_private
from daypass._core.secret import Secret
from daypass.client.credentials import Credentials
from daypass.identity.model import identity_objects, new_secret_name
from daypass.kube.certificates import Authority
from daypass.local.api_backend import ApiBackend, EmbeddedApiServer
from daypass.local.apiserver import Admin, ApiServer
from daypass.local.supervisor import Supervisor

AUDIENCE = "istio-ingressgateway.istio-system.svc.cluster.local"
HOST = "localhost"
WORKERS = 2
"""Threads of Envoy: one person's requests, also on a machine of many cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeIdentity:
    """An identity, and the credentials file that stands for it."""

    namespace: str
    name: str
    secret_name: str
    token: Secret = field(repr=False)
    credentials_file: Path

    @property
    def user(self) -> str:
        """What Kubernetes calls it."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    def credentials(self) -> Credentials:
        """What a client has."""
        return Credentials.from_file(self.credentials_file)


def stack_config(
    *, door_port: int = 0, gate_port: int = 0, cluster: str = "", upstream: str = ""
) -> str:
    """A daypass.yaml for door and gate on loopback; port 0 is any free one.

    `cluster`: lines that name an external API server; left out, the embedded one is meant.
    `upstream`: what the gate guards (`http://127.0.0.1:8080`); left out, an echo service.
    """
    api_server = "external" if cluster else "embedded"
    behind = f"apiServer: {api_server}"
    if upstream:
        behind += f", upstream: {json.dumps(upstream)}"
    return f"""\
version: 1
{cluster}domains:
  here: {{host: {HOST}, front: envoy}}
policy: {{audiences: [{AUDIENCE}], longestLifetime: 24h}}
gate: {{audience: {AUDIENCE}, engine: envoy, hosts: [{HOST}]}}
limits: {{requestsPerSecond: 2000, perSourcePerSecond: 1000}}
local: {{door: "{HOST}:{door_port}", gate: "{HOST}:{gate_port}", {behind}}}
"""


class LocalStack:
    """Door and gate before an API server, with everything in `folder`, which must be empty, private
    and of a short name.

    `config`: a daypass.yaml; `behind` and `administrator`: an API server that is not embedded.
    `server_clock`: what an embedded API server goes by (`clock` unless it is named); Envoy goes by
    the machine's clock whatever is handed in. Use as a context manager, or call `stop`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        config: str = "",
        clock: Clock = SYSTEM_CLOCK,
        behind: ApiBackend | None = None,
        administrator: Admin | None = None,
        server_clock: Clock | None = None,
    ) -> None:
        self.folder = folder
        self.authority = Authority.create("daypass on this machine", clock)
        self.authority_file = folder / "authority.crt"
        write_private(str(self.authority_file), self.authority.pem.encode())
        self.config_file = folder / "daypass.yaml"
        self.config_file.write_text(config or stack_config())
        self.said: list[str] = []
        if behind is None or administrator is None:
            embedded = EmbeddedApiServer(self.authority, folder, clock, server_clock=server_clock)
            behind, administrator = embedded, embedded.server.admin
            self._server: ApiServer | None = embedded.server
        else:
            self._server = None
        self._behind = behind
        self.administrator = administrator
        try:
            self.supervisor = Supervisor(
                self.config_file,
                behind,
                self.authority,
                folder,
                clock,
                self.said.append,
                workers=WORKERS,
                state=folder,
                is_first_start=True,
            )
        except BaseException:
            behind.stop()
            raise

    @property
    def door(self) -> str:
        """The door's URL."""
        return f"https://{HOST}:{self.supervisor.edge.ports['door']}{self.supervisor.config.prefix}"

    @property
    def gate(self) -> str:
        """The gate's URL."""
        return f"https://{HOST}:{self.supervisor.edge.ports['gate']}"

    @property
    def server(self) -> ApiServer:
        """The embedded API server; raises DaypassError where another one stands behind the door."""
        if self._server is None:
            raise DaypassError("the API server of this stack is not embedded")
        return self._server

    def make_identity(self, namespace: str = "team", name: str = "bot") -> MadeIdentity:
        """An identity that may ask for its own tokens, and its credentials file (mode 0600)."""
        secret_name = new_secret_name(name)
        self.administrator.ensure_namespace(namespace)
        for manifest in identity_objects(namespace, name, secret_name):
            self.administrator.apply(manifest)
        token = self.administrator.long_lived_token(namespace, secret_name)
        file = self.folder / f"{secret_name}.json"
        document = {
            "type": "daypass",
            "version": 1,
            "door": self.door,
            "certificateAuthority": self.authority.pem,
            "token": token.reveal(),
            "audience": AUDIENCE,
            "lifetimeSeconds": 3600,
        }
        write_private(str(file), json.dumps(document, indent=2).encode() + b"\n")
        return MadeIdentity(
            namespace=namespace,
            name=name,
            secret_name=secret_name,
            token=token,
            credentials_file=file,
        )

    def make_token(
        self,
        identity: MadeIdentity,
        *,
        audiences: Sequence[str] = (AUDIENCE,),
        lifetime_seconds: int = 3600,
        bound: bool = True,
        expired: bool = False,
    ) -> Secret:
        """A short-lived token of any shape; `expired`: one whose end lies a minute back."""
        return self.administrator.issue_token(
            identity.namespace,
            identity.name,
            audiences=tuple(audiences),
            lifetime_seconds=lifetime_seconds,
            bound_to=identity.secret_name if bound else None,
            expired=expired,
        )

    def revoke(self, identity: MadeIdentity) -> None:
        """Delete the Secret of its long-lived token."""
        self.administrator.delete("Secret", identity.secret_name, identity.namespace)

    def stop(self) -> None:
        """End everything."""
        self.supervisor.stop()
        self._behind.stop()

    def __enter__(self) -> "LocalStack":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
