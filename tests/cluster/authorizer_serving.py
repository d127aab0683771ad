"""`daypass gate serve` before a real API server: asked as Envoy asks it, and what it follows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daypass._core.kubernetes.objects import new_object
from daypass.config import Config
from daypass.config.gate import DEFAULT_GATE
from daypass.gate.publication import denials_config_map, shard_config_map
from daypass.render.names import GATE, gate_prefix
from daypass.render.rbac import authorizer_rbac
from daypass.rules.published import CLUSTER_SHARDS, DENIALS, NAMES
from daypass.rules.reasons import REASON_HEADER, Reason
from support.admin import Document
from support.authority import Authority
from support.clusters import account_token, admin_cluster, write_kubeconfig
from support.controlplane import ControlPlane
from support.doors import EKF
from support.identities import Identity, unique
from support.messages import message_with
from support.publishing import closing_in, published
from support.raw import Answer, connect, exchange, get
from support.serving import Served
from support.watching import page_at

NAME = "daypass-gate.daypass.svc"
"""Of the authorizer's certificate."""
ASKED = f"{gate_prefix(DEFAULT_GATE)}/pipeline"
CLOSE_AFTER_SECONDS = 600


def authorizer_kubeconfig(plane: ControlPlane, config: Config, file: Path) -> Path:
    """A kubeconfig for the authorizer's ServiceAccount, with exactly its rendered rights."""
    home = config.door.namespace
    account = new_object("v1", "ServiceAccount", GATE, home)
    with admin_cluster(plane) as cluster:
        for each in [account, *authorizer_rbac(config)]:
            if each["kind"] == "ClusterRoleBinding":
                each["metadata"]["name"] = unique(GATE)
            cluster.create(each)
    write_kubeconfig(plane, account_token(plane, home, GATE), file)
    return file


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """`daypass gate serve` over TLS, and the authority of its certificate.

    `home`: the namespace of what it follows.
    """

    served: Served
    authority: Authority
    home: str

    def ask(self, *headers: str, host: str = EKF) -> Answer:
        """What it answers to Envoy's question about a request with these header lines."""
        with connect(self.served.port, authority_pem=self.authority.pem, name=NAME) as connection:
            return exchange(connection, get(*headers, host=host, path=ASKED))

    def reason(self, *headers: str) -> Reason:
        """The reason of its answer."""
        return Reason(self.ask(*headers).headers.get(REASON_HEADER, Reason.ALLOWED))

    def get(self, path: str) -> tuple[int, str]:
        return page_at(self.served.status, path)

    def printed(self) -> str:
        """All that it has printed: events, which are JSON, and messages."""
        return self.served.child.log.read_text()

    def message(self, value: str) -> str:
        """The message that holds a value."""
        lines = self.printed().splitlines(keepends=True)
        return message_with("".join(line for line in lines if line[0] != "{"), value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publishing:
    """The ConfigMaps of a gate's watch, written by an administrator."""

    plane: ControlPlane
    home: str

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{self.home}/configmaps"

    def _documents(
        self, *identities: Identity, seconds: float = CLOSE_AFTER_SECONDS, **denied: Any
    ) -> dict[str, Document]:
        """With these credentials and denials, valid for so long from now."""
        found = published(
            [each.credential for each in identities], closes_unix=closing_in(seconds),
            shards=CLUSTER_SHARDS, **denied,
        )  # fmt: skip
        shards = enumerate(found.shards)
        made = [shard_config_map(number, part, self.home, room=2000) for number, part in shards]
        made.append(denials_config_map(found.denials, self.home))
        return {each["metadata"]["name"]: each for each in made}

    def create(self, *identities: Identity) -> None:
        for document in self._documents(*identities).values():
            self.plane.admin.create(self._path, document)

    def change(self, name: str, *identities: Identity, **content: Any) -> None:
        """One of them. `content`: as of `_documents`."""
        document = self._documents(*identities, **content)[name]
        self.plane.admin.patch(f"{self._path}/{name}", document)

    def deny(self, **denied: Any) -> None:
        """Other denials."""
        self.change(DENIALS, **denied)

    def delete(self, *names: str) -> None:
        for name in names or NAMES:
            self.plane.admin.delete(f"{self._path}/{name}")
