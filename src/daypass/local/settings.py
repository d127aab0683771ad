"""The settings of door and gate on this machine, from daypass.yaml, and their certificates."""

import socket
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from daypass._core.clock import Clock, utc
from daypass._core.errors import DaypassError, UsageError
from daypass._core.files import write_private
from daypass._core.net import is_address
from daypass.config import Address, Config, Domain, TlsFiles
from daypass.config.locations import split_origin
from daypass.deploy.certificate_authority import Authority
from daypass.local.envoy_instance import EnvoyInstanceSettings
from daypass.render.envoy.settings import (
    Certificate,
    DoorSettings,
    GateSettings,
    Protected,
    RateLimits,
    Upstream,
    exposure_of,
)
from daypass.rules.patterns import HostPattern, literal_end

DEBIAN_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
REISSUE_AFTER_SECONDS = 30 * 86400
"""Certificates from our own authority are valid three times as long."""
_IN_FILE_NAMES = str.maketrans(":*", "__")


class CertificateError(DaypassError):
    """A certificate that no client would accept, or that Envoy could not serve."""


class OwnCertificates:
    """Certificates of `authority`, each with its key in one file of `folder`: so Envoy, which
    watches the file, never reads half of a pair.
    """

    def __init__(self, authority: Authority, folder: Path, clock: Clock) -> None:
        self._authority = authority
        self._folder = folder
        self._clock = clock
        self._files: dict[str, Path] = {}
        self._issued_at = clock.unix()

    def file_for(self, host: str) -> Path:
        """Return the file with the certificate of a host. Raises OSError."""
        self._files[host] = file = self._folder / f"{host.translate(_IN_FILE_NAMES)}.pem"
        self._issue(host, file)
        return file

    def renew(self) -> None:
        """Issue each of them again if it is time. Raises OSError."""
        now = self._clock.unix()
        if abs(now - self._issued_at) > REISSUE_AFTER_SECONDS:
            for host, file in self._files.items():
                self._issue(host, file)
            self._issued_at = now

    def _issue(self, host: str, file: Path) -> None:
        chain_pem, key_pem = self._authority.issue([host], self._clock)
        write_private(str(file), chain_pem + key_pem)


def envoy_settings(
    config: Config,
    upstream: Upstream,
    own: OwnCertificates,
    clock: Clock,
    *,
    issuer: str,
    echo: Address | None,
    authorizer: Path | None = None,
    shards: int,
) -> EnvoyInstanceSettings:
    """Return the settings of a config's door and gate.

    `own`: for hosts that the config names no files for. `issuer`, `echo` (the default upstream),
    `authorizer` (its Unix socket, if the check needs one) and `shards` (of its published set) are
    for the gate. Clients connect directly, so no hop is trusted to name a client's address. Raises
    UsageError, CertificateError.
    """
    nameless = [domain.host for domain in config.domains.values() if is_address(domain.host)]
    if len(nameless) > 1:
        raise UsageError(
            f"two domains are addresses: {nameless[0]} and {nameless[1]}",
            "a client of an address sends no name, so only one certificate can be served",
        )
    certificates = {
        domain.host: _certificate(name, domain, own, clock)
        for name, domain in config.domains.items()
    }
    door = DoorSettings(
        exposure=exposure_of(config, tuple(domain.host for domain in config.domains.values())),
        listen=_listen(config.local.door),
        certificates=tuple(certificates.values()),
        upstream=upstream,
        trusted_hops=0,
        rate_limits=RateLimits.of(config),
        metrics=None if config.local.metrics is None else _listen(config.local.metrics),
    )
    if (named := config.local_gate) is None:
        return EnvoyInstanceSettings(door=door)
    name, guarding = named
    hosts = guarding.named_hosts
    if not hosts:
        raise UsageError(
            "gate.hosts names no host, and on this machine the gate answers only to names",
            "add one next to '*', such as localhost",
        )
    forms = (HostPattern.parse(host).parts for host in guarding.hosts)
    ends = ((parts, literal_end(parts)) for parts in forms)
    # No certificate is for names of which more than the first label varies.
    wildcards = (".".join(["*", *end]) for parts, end in ends if len(end) == len(parts) - 1)
    names = (*hosts, *wildcards)
    for host in names:
        if host not in certificates:
            file = own.file_for(host)
            certificates[host] = _shown_for(f"gate.{host}", host, file, file)
    shown = tuple(certificates[host] for host in names)
    gate = GateSettings(
        name=name,
        gate=guarding,
        listen=_listen(config.local.gate),
        certificates=shown,
        protected=_protected(config, echo),
        rules=config.rules_of(guarding, issuer),
        shards=shards,
        authorizer_socket="" if authorizer is None else str(authorizer),
    )
    return EnvoyInstanceSettings(door=door, gate=gate)


def _protected(config: Config, echo: Address | None) -> Protected:
    if config.local.upstream is None:
        if echo is None:
            raise AssertionError("a gate without an upstream needs an echo service")
        return Protected(address=echo)
    scheme = config.local.upstream.partition("://")[0]
    host, port = split_origin(config.local.upstream)
    address = Address(host=host, port=port)
    if scheme != "https":
        return Protected(address=address, is_http2=scheme == "h2c")
    authorities = ssl.get_default_verify_paths().cafile or DEBIAN_AUTHORITIES
    if not Path(authorities).exists():
        raise UsageError(
            "this machine's certificate authorities are not where OpenSSL looks for them",
            "name their file with SSL_CERT_FILE, or write an upstream with http:// or h2c://",
        )
    return Protected(address=address, authority_file=authorities)


def listens_of(config: Config) -> list[Address]:
    """Return the addresses of the door, and of the gate and the metrics if there are any."""
    local = config.local
    gate = None if config.local_gate is None else local.gate
    return [_listen(each) for each in (local.door, gate, local.metrics) if each is not None]


def _listen(address: Address) -> Address:
    return Address(host=address_of(address.host), port=address.port)


def address_of(host: str) -> str:
    """Return the IP address for a host to listen on: Envoy resolves no names there."""
    if host != "localhost":
        return host
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    addresses = [str(address[4][0]) for address in found]
    # If IPv6 is off, ::1 may still come first in /etc/hosts.
    return "127.0.0.1" if "127.0.0.1" in addresses else addresses[0]


def _certificate(name: str, domain: Domain, own: OwnCertificates, clock: Clock) -> Certificate:
    if isinstance(domain.tls, TlsFiles):
        certificate, key = domain.tls.files.certificate, domain.tls.files.key
        _verify_pair(certificate, key, domain.host, clock)
    else:
        certificate = key = own.file_for(domain.host)
    return _shown_for(name, domain.host, certificate, key)


def _shown_for(name: str, host: str, certificate: Path, key: Path) -> Certificate:
    return Certificate(
        name=name,
        certificate_file=str(certificate),
        key_file=str(key),
        # A client that connects to an address sends no name (RFC 6066).
        server_names=() if is_address(host) else (host,),
    )


def _verify_pair(certificate_file: Path, key_file: Path, host: str, clock: Clock) -> None:
    """Raise CertificateError unless these are a certificate and its key, valid now, for `host`."""
    try:
        certificate = x509.load_pem_x509_certificates(certificate_file.read_bytes())[0]
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    except OSError as error:
        raise CertificateError(
            f"{error.filename} cannot be read: {error.strerror}", f"it is for {host}"
        ) from None
    except (ValueError, TypeError):
        raise CertificateError(
            f"{certificate_file} and {key_file} are not a certificate and an unencrypted key",
            "both are PEM files: -----BEGIN CERTIFICATE-----, -----BEGIN PRIVATE KEY-----",
        ) from None
    if certificate.public_key() != key.public_key():
        raise CertificateError(f"{key_file} is not the key of {certificate_file}")
    if certificate.not_valid_after_utc <= utc(clock.unix()):
        raise CertificateError(
            f"{certificate_file} has expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
        )
    if host not in (names := _hosts_of(certificate)):
        raise CertificateError(
            f"{certificate_file} is not for {host}", f"it names {', '.join(names) or 'no host'}"
        )


def _hosts_of(certificate: x509.Certificate) -> list[str]:
    """Return the names and IP addresses that a certificate is for."""
    from cryptography import x509  # most certificates are trusted

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = names.get_values_for_type(x509.IPAddress)
    return [*names.get_values_for_type(x509.DNSName), *map(str, addresses)]
