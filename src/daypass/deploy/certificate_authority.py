"""Certificate authorities and the certificates that they issue (ECDSA P-256, PEM)."""

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from daypass._core.clock import Clock, utc
from daypass._core.files import write_private

AUTHORITY_LIFETIME = datetime.timedelta(days=3650)
LEAF_LIFETIME = datetime.timedelta(days=90)
_BACKDATED = datetime.timedelta(hours=1)
"""For clients whose clock is behind."""


class Authority:
    """A certificate authority. `pem` is its certificate, for clients to trust."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key
        self.pem = certificate.public_bytes(serialization.Encoding.PEM).decode()

    @classmethod
    def create(
        cls, name: str, clock: Clock, *, lifetime: datetime.timedelta = AUTHORITY_LIFETIME
    ) -> "Authority":
        """Return a new authority, in memory only."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            _builder(_common_name(name), _common_name(name), key, clock, lifetime)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def load_or_create(cls, folder: Path, name: str, clock: Clock) -> "Authority":
        """Return the authority in `folder` (authority.crt, authority.key).

        A new one is made if it is missing, cannot be read, or expires before a new leaf would.
        """
        certificate_file, key_file = folder / "authority.crt", folder / "authority.key"
        try:
            certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
            key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        except (OSError, ValueError):
            certificate, key = None, None
        if (
            certificate is not None
            and isinstance(key, ec.EllipticCurvePrivateKey)
            and certificate.public_key() == key.public_key()
            and certificate.not_valid_after_utc > utc(clock.unix()) + LEAF_LIFETIME
        ):
            return cls(certificate, key)
        made = cls.create(name, clock)
        write_private(str(key_file), _key_pem(made._key))
        write_private(str(certificate_file), made.pem.encode(), mode=0o644)
        return made

    def issue(
        self,
        hosts: Sequence[str],
        clock: Clock,
        *,
        common_name: str = "",
        lifetime: datetime.timedelta = LEAF_LIFETIME,
    ) -> tuple[bytes, bytes]:
        """Return a new server certificate for names and IP addresses, and its key, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _common_name((common_name or hosts[0])[:64])
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            _builder(subject, self._certificate.subject, key, clock, lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(identifier, critical=False)
            .add_extension(names, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key)


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    clock: Clock,
    lifetime: datetime.timedelta,
) -> x509.CertificateBuilder:
    now = utc(clock.unix())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
