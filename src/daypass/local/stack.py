"""The whole stack on one machine: embedded API server, door, gate, and identities in it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from daypass._core.clock import SYSTEM_CLOCK, Clock
from daypass._core.errors import DaypassError
from daypass._core.files import write_private
from daypass._core.labels import POLICY, POLICY_ENFORCED
from daypass._core.secret import Secret
from daypass.client.credentials import Credentials
from daypass.identity.credentials_file import CredentialsSettings
from daypass.identity.model import identity_objects, new_secret_name
from daypass.kube.certificate_authority import Authority
from daypass.local.api_backend import ApiBackend, EmbeddedApiServer
from daypass.local.apiserver import Admin, ApiServer
from daypass.local.supervisor import Supervisor

AUDIENCE = "istio-ingressgateway.istio-system.svc.cluster.local"
HOST = "localhost"
WORKERS = 2
"""Threads of Envoy: enough for one user's requests."""
PARTS = 1
"""Of the published set: enough for its few credentials. Many stacks may run at the same time, and
each part takes one of a user's inotify instances."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeIdentity:
    """An identity and its credentials file."""

    namespace: str
    name: str
    secret_name: str
    token: Secret = field(repr=False)
    credentials_file: Path

    @property
    def user(self) -> str:
        """Its user name in Kubernetes."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    def credentials(self) -> Credentials:
        """Return the credentials that a client loads."""
        return Credentials.from_file(self.credentials_file)


def stack_config(
    *, door_port: int = 0, gate_port: int = 0, cluster: str = "", upstream: str = ""
) -> str:
    """Return a daypass.yaml for door and gate on loopback; port 0 is any free one.

    `cluster`: lines that name an external API server; the default is the embedded one.
    `upstream`: what the gate guards (`http://127.0.0.1:8080`); the default is an echo service.
    """
    api_server = "external" if cluster else "embedded"
    backend = f"apiServer: {api_server}"
    if upstream:
        backend += f", upstream: {json.dumps(upstream)}"
    return f"""\
version: 1
{cluster}domains:
  here: {{host: {HOST}, front: envoy}}
policy: {{audiences: [{AUDIENCE}], longestLifetime: 24h}}
gate: {{audience: {AUDIENCE}, engine: envoy, hosts: [{HOST}]}}
limits: {{requestsPerSecond: 2000, perSourcePerSecond: 1000}}
local: {{door: "{HOST}:{door_port}", gate: "{HOST}:{gate_port}", {backend}}}
"""


class LocalStack:
    """Door and gate in front of an API server. Use as a context manager, or call `stop`.

    `folder` holds everything; it is empty, private, and has a short name. `config`: a daypass.yaml.
    `backend` and `administrator`: an external API server. `server_clock`: the embedded API
    server's clock, `clock` by default; Envoy always uses the machine's.
    """

    def __init__(
        self,
        folder: Path,
        *,
        config: str = "",
        clock: Clock = SYSTEM_CLOCK,
        backend: ApiBackend | None = None,
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
        if backend is None or administrator is None:
            embedded = EmbeddedApiServer(self.authority, folder, clock, server_clock=server_clock)
            backend, administrator = embedded, embedded.server.admin
            self._server: ApiServer | None = embedded.server
        else:
            self._server = None
        self._backend = backend
        self.administrator = administrator
        try:
            self.supervisor = Supervisor(
                self.config_file,
                backend,
                self.authority,
                folder,
                clock,
                self.said.append,
                workers=WORKERS,
                parts=PARTS,
            )
        except BaseException:
            backend.stop()
            raise

    @property
    def door(self) -> str:
        """The door's URL."""
        supervisor = self.supervisor
        return f"https://{HOST}:{supervisor.envoy.ports['door']}{supervisor.config.prefix}"

    @property
    def gate(self) -> str:
        """The gate's URL."""
        return f"https://{HOST}:{self.supervisor.envoy.ports['gate']}"

    @property
    def server(self) -> ApiServer:
        """The embedded API server. Raises DaypassError if the API server is external."""
        if self._server is None:
            raise DaypassError("the API server of this stack is not embedded")
        return self._server

    def make_identity(self, namespace: str = "team", name: str = "bot") -> MadeIdentity:
        """Make an identity that may request its own tokens, and its credentials file (0600).

        The gate knows it when this returns.
        """
        secret_name = new_secret_name(name)
        kind = {"apiVersion": "v1", "kind": "Namespace"}
        labels = {POLICY: POLICY_ENFORCED}  # the gate watches only such namespaces
        self.administrator.apply({**kind, "metadata": {"name": namespace, "labels": labels}})
        for manifest in identity_objects(namespace, name, secret_name):
            self.administrator.apply(manifest)
        token = self.administrator.long_lived_token(namespace, secret_name)
        secret = self.administrator.get("Secret", secret_name, namespace)
        self.supervisor.wait_for_credential(secret["metadata"]["uid"])
        file = self.folder / f"{secret_name}.json"
        settings = CredentialsSettings(
            door=self.door, audience=AUDIENCE, lifetime_seconds=3600, authority=self.authority.pem
        )
        write_private(str(file), settings.file_content(token))
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
        """Return a short-lived token of any shape; `expired`: since a minute ago."""
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
        """Stop everything."""
        self.supervisor.stop()
        self._backend.stop()

    def __enter__(self) -> "LocalStack":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
