"""A certificate authority for one test run, and the certificates it signs."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from daypass._core.clock import SYSTEM_CLOCK, utc
from daypass.deploy import certificate_authority
from support.timing import FakeClock

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate and its private key, both PEM."""

    certificate_pem: str
    key_pem: str

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(self.key_pem + self.certificate_pem)
            file.flush()
            context.load_cert_chain(file.name)
        return context


class Authority:
    """Signs with ECDSA P-256, for a day; `.pem`, good for a year, is what others trust it by."""

    def __init__(self, common_name: str = "daypass test authority") -> None:
        self._authority = certificate_authority.Authority.create(
            common_name, SYSTEM_CLOCK, lifetime=365 * DAY
        )
        self.pem = self._authority.pem

    def server(
        self, *names: str, common_name: str = "", begins_in_days: int = 0, days: int = 1
    ) -> Certificate:
        clock = FakeClock(SYSTEM_CLOCK.unix() + begins_in_days * DAY.total_seconds())
        certificate, key = self._authority.issue(
            names, clock, common_name=common_name, lifetime=days * DAY
        )
        return Certificate(certificate_pem=certificate.decode(), key_pem=key.decode())

    def context(self, *names: str, begins_in_days: int = 0, days: int = 1) -> ssl.SSLContext:
        context = self.server(*names, begins_in_days=begins_in_days, days=days).context()
        context.set_alpn_protocols(["http/1.1"])
        return context

    def client(self, user: str, *groups: str) -> Certificate:
        """Return a client's certificate; Kubernetes reads CN as the user, each O as a group."""
        key, now = ec.generate_private_key(ec.SECP256R1()), utc(SYSTEM_CLOCK.unix())
        names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, user)]))
            .issuer_name(self._authority._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + DAY)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(self._authority._key, hashes.SHA256())
        )
        key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Certificate(
            certificate_pem=certificate.public_bytes(Encoding.PEM).decode(),
            key_pem=key_pem.decode(),
        )


ANY_AUTHORITY = Authority().pem
"""For a client without a socket: to load the system's own authorities takes 20 ms each time."""
