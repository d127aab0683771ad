"""What has to be known of a cluster to render for it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from daypass._core.hints import kubectl
from daypass.config import Config
from daypass.render.errors import RenderError

_CERTIFICATE = re.compile(
    r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """A cluster as the renderer needs to know it. Without any fact: the newest version of all.

    `served`: what the API serves, as `GROUP/VERSION/KIND`; None where nobody asked. Only kinds
    with more than one version in use (Kubernetes 1.30 to 1.37 and what runs on it) are looked up.
    `authority_pem`: the certificates in `cluster.certificateAuthority`, if the config names it.
    `issuer`: who the cluster says issues its tokens; empty where nobody asked.
    """

    served: frozenset[str] | None = None
    authority_pem: str = ""
    issuer: str = ""

    def api_version(self, kind: str, *versions: str) -> str:
        """The first of the versions, the newest first, that is served for a kind.

        Where none is, the first: the API server's own answer then says what is missing.
        """
        known = self.served or frozenset()
        return next((v for v in versions if f"{v}/{kind}" in known), versions[0])

    def issuer_for(self, config: Config) -> str:
        """The `iss` of short-lived tokens. Raises RenderError where nobody knows it."""
        issuer = config.cluster.issuer or self.issuer
        if not issuer:
            raise RenderError(
                "the gate has to know who issues the cluster's tokens",
                "write cluster.issuer; this says it: "
                + kubectl("get", "--raw", "/.well-known/openid-configuration"),
            )
        return issuer


def read_facts(
    config: Config, served: Iterable[str] | None = None, issuer: str = ""
) -> ClusterFacts:
    """The facts that a config leads to. Reads the file of `cluster.certificateAuthority`.

    Of that file only certificates are taken, whatever else is in it. Raises RenderError where it
    cannot be read or holds none.
    """
    known = None if served is None else frozenset(served)
    file = config.cluster.certificate_authority
    if file is None:
        return ClusterFacts(served=known, issuer=issuer)
    try:
        text = file.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise RenderError(
            f"{file} cannot be read: {error.strerror}", "cluster.certificateAuthority names it"
        ) from None
    from cryptography.x509 import load_pem_x509_certificates

    certificates = _CERTIFICATE.findall(text)
    if not certificates:
        raise RenderError(f"{file} holds no certificate", "it is PEM: -----BEGIN CERTIFICATE-----")
    authority_pem = "\n".join([*certificates, ""])
    try:
        load_pem_x509_certificates(authority_pem.encode())
    except ValueError:
        raise RenderError(
            f"{file} holds no certificate that can be read",
            "is its PEM whole? openssl x509 -text -in FILE shows it",
        ) from None
    return ClusterFacts(served=known, authority_pem=authority_pem, issuer=issuer)
