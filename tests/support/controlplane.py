"""A real control plane for tests: etcd, kube-apiserver and kube-controller-manager on loopback."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from tools.gobuild import BuildError, binary_path

from daypass._core.files import write_private
from daypass._core.secret import Secret
from daypass._core.tls import client_context
from support import identities
from support.admin import Admin, Document
from support.authority import Authority
from support.children import Child
from support.deadline import eventually
from support.identities import Identity
from support.objects import kubeconfig
from support.ports import reserve
from support.tokens import ISSUER, Signer, encode

SERVER_NAMES = ("kubernetes.default.svc", "kubernetes", "localhost", "127.0.0.1")
ADMIN_USER = "daypass-tests:admin"
CONTROLLER_USER = "system:kube-controller-manager"
LONGEST_LIFETIME_SECONDS = 24 * 3600

CONTROLLERS = (
    "serviceaccount-token-controller",  # fills token Secrets
    "serviceaccount-controller",  # a `default` ServiceAccount in each namespace
    "root-ca-certificate-publisher-controller",  # kube-root-ca.crt
    "legacy-serviceaccount-token-cleaner-controller",
    "namespace-controller",  # without it a namespace never goes away
    "garbage-collector-controller",
    "clusterrole-aggregation-controller",  # without it `edit` and `admin` are empty
    "validatingadmissionpolicy-status-controller",  # status of policies
)

AUDIT_POLICY: Mapping[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "users": ["system:apiserver", CONTROLLER_USER]},
        {"level": "Metadata"},
    ],
}


def control_plane_program(name: str) -> list[str]:
    """The words that start etcd, kube-apiserver or kube-controller-manager, before its flags.

    Raises BuildError where nothing is built.
    """
    if not (binary := binary_path("controlplane")).exists():
        raise BuildError(f"the control plane is not built ({binary})\nrun: make controlplane")
    return [str(binary), name]


class ControlPlane:
    """A running control plane. `start` makes one; `stop` ends it and frees its port.

    `url`, `port`: where the API server listens, on 127.0.0.1; its certificate is signed by
    `ca_pem` (`ca_path`) for SERVER_NAMES. `admin`: a JSON client in group system:masters, known to
    the audit log as ADMIN_USER. `kubeconfig`: a file for kubectl and the like, same rights.
    `folder` holds the logs (etcd.log, kube-apiserver.log, ...) and the audit log.
    """

    def __init__(self, folder: Path, *, authority: Authority) -> None:
        self.folder = folder
        self.flags: list[str] = []
        self.ca_pem = authority.pem
        self.ca_path = folder / "ca.crt"
        self.kubeconfig = folder / "admin.kubeconfig"
        # The API server shares it: both set SO_REUSEPORT.
        self._reserved = reserve(socket.SO_REUSEPORT)
        self.port = int(self._reserved.getsockname()[1])
        self.url = f"https://127.0.0.1:{self.port}"
        self._children: list[Child] = []
        self._write_files(authority)
        context = client_context(self.ca_pem)
        context.load_cert_chain(folder / "admin.crt", folder / "admin.key")
        self.admin = Admin(url=self.url, context=context, idle=[])

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        anonymous: bool = True,
        issues_by_url: bool = False,
        extra_apiserver_args: Sequence[str] = (),
    ) -> ControlPlane:
        """A control plane that is ready, with all it writes in `folder` (which must be empty).

        `issues_by_url`: tokens are issued by its `url` in place of ISSUER, so that others find its
        keys by OIDC discovery. Takes about 3 s. On the main thread only (see Child). Raises
        BuildError where the programs are not to be had, RuntimeError with the end of the log where
        one of them ends.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        plane = cls(folder, authority=Authority("daypass test cluster"))
        try:
            plane._run("etcd", ETCD_FLAGS)
            issuer = _issuer_flags(plane.url if issues_by_url else None)
            flags = [*_apiserver_flags(plane.port, anonymous=anonymous), *issuer]
            plane.flags = flags = [*flags, *extra_apiserver_args]
            plane._run("kube-apiserver", flags)
            eventually("the API server is ready", plane._is_ready)
            # Not before: it asks for the API server once a second.
            plane._run("kube-controller-manager", CONTROLLER_FLAGS)
        except BaseException:
            plane.stop()
            raise
        return plane

    def sign_with(self, name: str, *, verified: Sequence[str]) -> None:
        """Start the API server anew, on the same port and data, with other signing keys.

        Keys are called by names, the first one `sa`, and are made where they are new. New tokens
        are signed by the key `name`; taken are those of the keys `verified`.
        """
        at = self._children.index(self.child("kube-apiserver"))
        self._children[at].stop()
        flags = self.signing_with(self.flags, name, verified)
        self._children[at] = self.start_child("kube-apiserver", flags)
        eventually("the API server is ready again", self._is_ready)

    def signing_with(self, flags: Sequence[str], name: str, verified: Sequence[str]) -> list[str]:
        """Return an API server's flags with other signing keys; see `sign_with`."""
        for key in {name, *verified}:
            if not (self.folder / f"{key}.key").exists():
                self._write_signing_key(key)
        return [
            *(flag for flag in flags if not flag.startswith("--service-account-")),
            *(flag for flag in flags if flag.startswith(_KEPT_FLAGS)),
            *(f"--service-account-key-file={key}.pub" for key in verified),
            f"--service-account-signing-key-file={name}.key",
        ]

    def save(self) -> Path:
        """Return a snapshot of etcd. While it is made, the API server has no etcd."""
        saved = self.folder / f"saved-{len(list(self.folder.glob('saved-*')))}"
        self._end_child("etcd")
        shutil.copytree(self.folder / "etcd", saved)
        self._run("etcd", ETCD_FLAGS)
        eventually("the API server has its etcd again", self._is_ready)
        return saved

    def restore(self, saved: Path) -> None:
        """Put a snapshot back as Kubernetes advises: end the API server and the controllers, put
        it in place, start all anew. Revisions continue from that of the snapshot.
        """
        for name in ("kube-controller-manager", "kube-apiserver", "etcd"):
            self._end_child(name)
        shutil.rmtree(self.folder / "etcd")
        shutil.copytree(saved, self.folder / "etcd")
        self._run("etcd", ETCD_FLAGS)
        self._run("kube-apiserver", self.flags)
        eventually("the API server is ready again", self._is_ready)
        self._run("kube-controller-manager", CONTROLLER_FLAGS)

    def stop(self) -> None:
        """End the processes, last started first. A second call does nothing."""
        self.admin.close()
        while self._children:
            self._children.pop().stop()
        self._reserved.close()

    def __enter__(self) -> ControlPlane:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def child(self, name: str) -> Child:
        """The process of this name: etcd, kube-apiserver or kube-controller-manager."""
        return next(child for child in self._children if child.name == name)

    def check(self) -> None:
        for child in self._children:
            child.check()

    def client(self, token: Secret | None = None) -> Admin:
        headers = {} if token is None else {"Authorization": f"Bearer {token.reveal()}"}
        return Admin(url=self.url, context=client_context(self.ca_pem), headers=headers)

    def audit_position(self) -> int:
        """Where the audit log ends, for `audit_events(since=...)`; what was answered is in it."""
        path = self.folder / "audit.log"
        self.whole_audit_log(since=path.stat().st_size if path.exists() else 0)
        return path.stat().st_size

    def audit_events(self, *, since: int = 0) -> list[Document]:
        """The audit events (level Metadata, no stage RequestReceived), oldest first.

        An event is written after its answer: wait for it with `eventually`. Requests of the
        control plane itself are left out; those of `admin` are by ADMIN_USER.
        """
        path = self.folder / "audit.log"
        if not path.exists():
            return []
        with path.open("rb") as log:
            log.seek(since)
            *whole, _unfinished = log.read().split(b"\n")
        return [json.loads(line) for line in whole]

    def whole_audit_log(self, *, since: int) -> list[Document]:
        """The same, with all that was answered before."""
        self.admin.get("/api/v1/namespaces/default?resourceVersion=0&limit=77")  # comes after it

        def logged() -> list[Document] | None:
            events = self.audit_events(since=since)
            return events if any("limit=77" in event["requestURI"] for event in events) else None

        return eventually("the audit log is written", logged)

    def admin_writes(self, *, since: int) -> list[str]:
        """What the admin has sent since then, except for reads, once it is all in the log."""
        return [
            f"{event['verb']} {event['requestURI']}"
            for event in self.whole_audit_log(since=since)
            if event["user"]["username"] == ADMIN_USER
            and event["verb"] in ("create", "update", "patch", "delete")
        ]

    def make_namespace(
        self, prefix: str = "team", *, labels: Mapping[str, str] | None = None
    ) -> str:
        return identities.make_namespace(self.admin, prefix, labels=labels)

    def make_identity(
        self, namespace: str | None = None, name: str = "bot", *, authorize: bool = True
    ) -> Identity:
        """A ServiceAccount with a long-lived token that may ask for its own short-lived ones.

        Without `namespace`: in one of its own, with the label that a gate's watch looks for. Of
        the same name again: with another Secret.
        """
        namespace = namespace or self.make_namespace(labels=identities.WATCHED)
        return identities.make_identity(self.admin, namespace, name, authorize=authorize)

    def make_token(self, identity: Identity, **shape: Any) -> Secret:
        """A short-lived token of an identity; see `identities.make_token`."""
        return identities.make_token(self.admin, identity, **shape)

    def review(self, token: Secret, *audiences: str) -> Document:
        """The status of a TokenReview."""
        spec = {"token": token.reveal(), "audiences": list(audiences)}
        path = "/apis/authentication.k8s.io/v1/tokenreviews"
        status: Document = self.admin.create(path, {"spec": spec})["status"]
        return status

    def sign(self, claims: Mapping[str, Any]) -> Secret:
        """A token of any claims that the API server takes for its own."""
        return Secret(self.signer.sign(claims))

    @property
    def signer(self) -> Signer:
        """The key `sa`, for tokens that the API server takes for its own."""
        key = load_pem_private_key((self.folder / "sa.key").read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return Signer(encode(hashlib.sha256(der).digest()), key)

    def _run(self, name: str, flags: Sequence[str]) -> None:
        self._children.append(self.start_child(name, flags))

    def _end_child(self, name: str) -> None:
        child = self.child(name)
        self._children.remove(child)
        child.stop()

    def start_child(self, name: str, flags: Sequence[str], *, log: str = "") -> Child:
        return Child(
            [*control_plane_program(name), *flags],
            log=self.folder / f"{log or name}.log",
            folder=self.folder,
            # Tests have memory to spare, and collecting garbage is a quarter of what a start costs.
            environment={**os.environ, "GOGC": "400"},
        )

    def _is_ready(self) -> bool:
        self.check()
        return self.admin.request("GET", "/readyz").code == 200

    def _write_files(self, authority: Authority) -> None:
        self.ca_path.write_text(self.ca_pem)
        certificates = {
            "server": authority.server(*SERVER_NAMES),
            "admin": authority.client(ADMIN_USER, "system:masters"),
            "controller": authority.client(CONTROLLER_USER, "system:masters"),
        }
        for name, pair in certificates.items():
            (self.folder / f"{name}.crt").write_text(pair.certificate_pem)
            write_private(str(self.folder / f"{name}.key"), pair.key_pem.encode())
        for name in ("admin", "controller"):
            user = {
                "client-certificate": str(self.folder / f"{name}.crt"),
                "client-key": str(self.folder / f"{name}.key"),
            }
            document = kubeconfig(self.url, user, str(self.ca_path))
            (self.folder / f"{name}.kubeconfig").write_text(json.dumps(document))
        (self.folder / "audit-policy.json").write_text(json.dumps(AUDIT_POLICY))
        self._write_signing_key("sa")

    def _write_signing_key(self, name: str) -> None:
        key = rsa.generate_private_key(65537, 2048)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_private(str(self.folder / f"{name}.key"), private)
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (self.folder / f"{name}.pub").write_bytes(public)


ETCD_FLAGS = (
    "--data-dir=etcd",
    "--unsafe-no-fsync",
    # Sockets, named relative to the folder: no port to be taken by others, no path too long.
    "--listen-client-urls=unix://etcd.sock",
    "--advertise-client-urls=unix://etcd.sock",
    "--listen-peer-urls=unix://peer.sock",
    "--initial-advertise-peer-urls=unix://peer.sock",
    "--initial-cluster=default=unix://peer.sock",
    # It elects itself: no need to wait a second for others.
    "--heartbeat-interval=20",
    "--election-timeout=200",
)

CONTROLLER_FLAGS = (
    f"--controllers={','.join(CONTROLLERS)}", "--kubeconfig=controller.kubeconfig",
    "--service-account-private-key-file=sa.key", "--root-ca-file=ca.crt", "--leader-elect=false",
    "--secure-port=0", "--concurrent-serviceaccount-token-syncs=10", "--kube-api-qps=1000",
    "--kube-api-burst=1000",
)  # fmt: skip


_KEPT_FLAGS = (
    "--service-account-issuer=",
    "--service-account-jwks-uri=",
    "--service-account-max-token-expiration=",
)


def _issuer_flags(url: str | None) -> list[str]:
    if url is None:
        return [f"--service-account-issuer={ISSUER}"]
    return [f"--service-account-issuer={url}", f"--service-account-jwks-uri={url}/openid/v1/jwks"]


def _apiserver_flags(port: int, *, anonymous: bool) -> list[str]:
    return [
        "--etcd-servers=unix://etcd.sock",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        "--permit-port-sharing",
        # Loopback is no endpoint of the `kubernetes` Service; 192.0.2.0/24 is for documentation.
        "--advertise-address=192.0.2.1",
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.96.0.0/24",
        "--cert-dir=certificates",
        "--tls-cert-file=server.crt",
        "--tls-private-key-file=server.key",
        "--client-ca-file=ca.crt",
        f"--anonymous-auth={str(anonymous).lower()}",
        "--authorization-mode=RBAC",
        "--service-account-key-file=sa.pub",
        "--service-account-signing-key-file=sa.key",
        f"--service-account-max-token-expiration={LONGEST_LIFETIME_SECONDS}s",
        "--audit-policy-file=audit-policy.json",
        "--audit-log-path=audit.log",
        "--audit-log-mode=blocking",
    ]
