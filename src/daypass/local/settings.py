"""The settings of door and gate on this machine, from daypass.yaml, and their certificates."""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from daypass._core.clock import Clock
from daypass._core.errors import UsageError
from daypass._core.files import write_private
from daypass._core.net import is_address
from daypass.config import Address, Config, Domain, TlsFiles
from daypass.config.addresses import split_origin
from daypass.config.exposure import Exposure
from daypass.deploy.certificate_authority import Authority
from daypass.render.envoy.bootstrap import METRICS
from daypass.render.envoy.settings import (
    Certificate,
    DoorSettings,
    GateSettings,
    Protected,
    Upstream,
)
from daypass.rules.patterns import HostPattern, literal_end

DEBIAN_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
REISSUE_AFTER_SECONDS = 30 * 86400
"""Certificates from our own authority are valid three times as long."""
_IN_FILE_NAMES = str.maketrans(":*", "__")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvoyInstanceSettings:
    """A door, and a gate if there is one."""

    door: DoorSettings
    gate: GateSettings | None = None

    @property
    def listens(self) -> dict[str, Address]:
        """The addresses to listen on, by the name of the listener."""
        gate = None if self.gate is None else self.gate.listen
        listens = {"door": self.door.listen, "gate": gate, METRICS: self.door.metrics}
        return {name: listen for name, listen in listens.items() if listen is not None}


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
    UsageError.
    """
    certificates = {
        domain.host: _certificate(name, domain, own) for name, domain in config.domains.items()
    }
    door = DoorSettings(
        exposure=Exposure(
            prefix=config.prefix, hosts=tuple(domain.host for domain in config.domains.values())
        ),
        listen=_listen(config.local.door),
        certificates=tuple(certificates.values()),
        upstream=upstream,
        trusted_hops=0,
        rate_limits=config.limits,
        metrics=None if config.local.metrics is None else _listen(config.local.metrics),
    )
    if (named := config.local_gate) is None:
        return EnvoyInstanceSettings(door=door)
    name, guarding = named
    hosts = guarding.named_hosts
    if not hosts:
        raise UsageError(
            f"gates.{name}.hosts names no host, and on this machine the gate answers only to names",
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


def _certificate(name: str, domain: Domain, own: OwnCertificates) -> Certificate:
    if isinstance(domain.tls, TlsFiles):
        certificate, key = domain.tls.files.certificate, domain.tls.files.key
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
