"""The facts about a cluster that rendering needs."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from daypass._core.hints import kubectl
from daypass.config import Config
from daypass.config.key_set import read_key_set
from daypass.render import RenderError

_CERTIFICATE = re.compile(
    r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """A cluster as far as rendering depends on it.

    - `served`: the kinds that the API serves, as `GROUP/VERSION/KIND`; None if unknown. Only kinds
      with several versions in use (on Kubernetes 1.30 to 1.37) are looked up.
    - `authority_pem`: the certificates in `cluster.certificateAuthority`, if the config names it.
    - `issuer`: the `iss` that the cluster reports; empty if unknown.
    - `keys`: the key set in `cluster.keys`, if the config names it.
    """

    served: frozenset[str] | None = None
    authority_pem: str = ""
    issuer: str = ""
    keys: str = ""

    def api_version(self, kind: str, *versions: str) -> str:
        """Return the first of these versions that is served; the first one if none is known to be.

        Then the API server's own error reports what is missing.
        """
        known = self.served or frozenset()
        return next((v for v in versions if f"{v}/{kind}" in known), versions[0])

    def issuer_for(self, config: Config) -> str:
        """Return the `iss` of short-lived tokens. Raises RenderError if it is unknown."""
        issuer = config.cluster.issuer or self.issuer
        if not issuer:
            raise RenderError(
                "the gate needs the issuer of the cluster's tokens",
                "write cluster.issuer; this prints it: "
                + kubectl("get", "--raw", "/.well-known/openid-configuration"),
            )
        return issuer


def read_facts(
    config: Config, served: Iterable[str] | None = None, issuer: str = ""
) -> ClusterFacts:
    """Return the facts for a config. Reads the files of `cluster.certificateAuthority` and
    `cluster.keys`.

    Only certificates and public keys are used, whatever else is in them. Raises RenderError and
    KeySetError if they can't be read or have none.
    """
    keys = "" if config.cluster.keys is None else read_key_set(config.cluster.keys)
    return ClusterFacts(
        served=None if served is None else frozenset(served),
        authority_pem=_authority(config.cluster.certificate_authority),
        issuer=issuer,
        keys=keys,
    )


def _authority(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        text = file.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise RenderError(
            f"{file} cannot be read: {error.strerror}", "cluster.certificateAuthority names it"
        ) from None
    from cryptography.x509 import load_pem_x509_certificates

    authority_pem = certificates_in(text)
    if not authority_pem:
        raise RenderError(f"{file} has no certificate", "expected PEM: -----BEGIN CERTIFICATE-----")
    try:
        load_pem_x509_certificates(authority_pem.encode())
    except ValueError:
        raise RenderError(
            f"{file} has a certificate that cannot be parsed",
            "check that its PEM is complete: openssl x509 -text -in FILE",
        ) from None
    return authority_pem


def certificates_in(text: str) -> str:
    """Return the certificates of a PEM text, without anything else in it, such as a key."""
    return "".join(f"{found}\n" for found in _CERTIFICATE.findall(text))
