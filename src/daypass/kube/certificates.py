"""A certificate authority of this machine's own, for doors that nobody else gave a certificate."""

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
BACKDATED = datetime.timedelta(hours=1)
"""How far a certificate's start lies back, for clients whose clock is behind."""


class Authority:
    """A certificate authority: its certificate as PEM, and leaves for names and addresses."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @classmethod
    def create(
        cls, name: str, clock: Clock, *, lifetime: datetime.timedelta = AUTHORITY_LIFETIME
    ) -> "Authority":
        """Return a new authority, in memory only."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
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
            _builder(subject, subject, key, clock, lifetime)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def load_or_create(cls, folder: Path, name: str, clock: Clock) -> "Authority":
        """The authority kept in `folder` (authority.crt, authority.key), made if it is not there,
        cannot be read, or has less than a leaf's lifetime left.
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

    @property
    def pem(self) -> str:
        """The authority's certificate, for clients to trust."""
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    def issue(
        self,
        hosts: Sequence[str],
        clock: Clock,
        *,
        common_name: str = "",
        organization: str = "",
        lifetime: datetime.timedelta = LEAF_LIFETIME,
        server_only: bool = False,
    ) -> tuple[bytes, bytes]:
        """Return (chain, key) as PEM for these names and IP addresses.

        The certificate is for servers and, unless `server_only`, for clients.
        Shared with nobody: the key is new each time. `common_name` and `organization` are the user
        and the group that a Kubernetes API server reads from a client certificate.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, (common_name or hosts[0])[:64])]
        if organization:
            attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
        usages = [ExtendedKeyUsageOID.SERVER_AUTH]
        if not server_only:
            usages.append(ExtendedKeyUsageOID.CLIENT_AUTH)
        builder = (
            _builder(x509.Name(attributes), self._certificate.subject, key, clock, lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if hosts:
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key)


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
        .not_valid_before(now - BACKDATED)
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
