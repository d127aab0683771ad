"""The facts about a cluster that a config names files for, read from these."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from daypass.config import Config
from daypass.config.key_set import read_key_set
from daypass.render import RenderError
from daypass.render.cluster_facts import ClusterFacts

_CERTIFICATE = re.compile(
    r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----"
)


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
