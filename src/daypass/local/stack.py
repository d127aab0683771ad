"""The whole stack on one machine: embedded API server, door, gate, and identities in it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from daypass._core.clock import SYSTEM_CLOCK, Clock
from daypass._core.files import write_private
from daypass._core.jwt import decode_unverified
from daypass._core.kubernetes.objects import Object
from daypass._core.secret import Secret
from daypass.client.credentials import Credentials
from daypass.config import load
from daypass.deploy.certificate_authority import Authority
from daypass.identity.accounts import IdentityName
from daypass.identity.create import IdentitySpec, create
from daypass.identity.credentials_file import CredentialsSettings
from daypass.kube.cluster import Cluster
from daypass.kube.resources import SECRETS, SERVICE_ACCOUNTS
from daypass.local.api_backend import EmbeddedApiServer
from daypass.local.supervisor import Supervisor
from daypass.rules.published import credential_of

AUDIENCE = "istio-ingressgateway.istio-system.svc.cluster.local"
HOST = "localhost"
WORKERS = 2
"""Threads of Envoy: enough for one user's requests."""
EXPIRED_FOR_SECONDS = 60
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
gates: {{default: {{audience: {AUDIENCE}, engine: envoy, hosts: [{HOST}]}}}}
limits: {{requestsPerSecond: 2000, perSourcePerSecond: 1000}}
local: {{door: "{HOST}:{door_port}", gate: "{HOST}:{gate_port}", {backend}}}
"""


class LocalStack:
    """Door and gate in front of an API server. Use as a context manager, or call `stop`.

    `folder` holds everything; it is empty, private, and has a short name. `config`: a daypass.yaml.
    `server_clock`: the API server's clock, `clock` by default; Envoy always uses the machine's.
    `server`: the embedded API server. `cluster`: a client of it, as its administrator.
    """

    def __init__(
        self,
        folder: Path,
        *,
        config: str = "",
        clock: Clock = SYSTEM_CLOCK,
        server_clock: Clock | None = None,
    ) -> None:
        self.folder = folder
        self.authority = Authority.create("daypass on this machine", clock)
        self.authority_file = folder / "authority.crt"
        write_private(str(self.authority_file), self.authority.pem.encode())
        self.config_file = folder / "daypass.yaml"
        self.config_file.write_text(config or stack_config())
        self.said: list[str] = []
        embedded = EmbeddedApiServer(self.authority, folder, clock, server_clock=server_clock)
        self.server = embedded.server
        self.cluster = Cluster(embedded.connection())
        try:
            self.supervisor = Supervisor(
                load(self.config_file),
                embedded.backend,
                self.authority,
                folder,
                clock,
                self.said.append,
                workers=WORKERS,
                shards=PARTS,
            )
        except BaseException:
            self._stop_server()
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

    def make_identity(self, namespace: str = "team", name: str = "bot") -> MadeIdentity:
        """Make an identity that may request its own tokens, and its credentials file (0600).

        The gate knows it when this returns.
        """
        metadata = {"name": namespace}
        self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        settings = CredentialsSettings(
            door=self.door, audience=AUDIENCE, lifetime_seconds=3600, authority=self.authority.pem
        )
        spec = IdentitySpec(name=IdentityName.parse(namespace, name), credentials=settings)
        created = create(self.cluster, None, spec, warn=lambda fact, hint: None)
        secret = created.secret
        self.supervisor.wait_for_credential(credential_of(secret.uid, secret.account_uid))
        file = self.folder / f"{secret.name}.json"
        write_private(str(file), settings.file_content(created))
        return MadeIdentity(
            namespace=namespace,
            name=name,
            secret_name=secret.name,
            token=created.token,
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
        """Return a short-lived token, which passes the gate unless an argument prevents it.

        `bound=False`: bound to no Secret. `expired`: since a minute ago.
        """
        spec: Object = {"audiences": [*audiences], "expirationSeconds": lifetime_seconds}
        if bound:
            reference = {"apiVersion": "v1", "kind": "Secret", "name": identity.secret_name}
            spec["boundObjectRef"] = reference
        path = SERVICE_ACCOUNTS.path(identity.namespace, identity.name, "token")
        answer = self.cluster.request("POST", path, {"spec": spec}, what="request a token")
        token = Secret(answer["status"]["token"])
        if not expired:
            return token
        claims = decode_unverified(token.reveal())[1]
        back = claims["exp"] - claims["iat"] + EXPIRED_FOR_SECONDS
        times = {key: claims[key] - back for key in ("iat", "nbf", "exp")}
        return self.server.unsafe_sign({**claims, **times})

    def revoke(self, identity: MadeIdentity) -> None:
        """Delete the Secret of its long-lived token."""
        self.cluster.delete(SECRETS, identity.secret_name, identity.namespace)

    def stop(self) -> None:
        self.supervisor.stop()
        self._stop_server()

    def _stop_server(self) -> None:
        self.cluster.close()
        self.server.stop()

    def __enter__(self) -> "LocalStack":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
