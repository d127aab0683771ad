"""Where the certificate of a public name comes from."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, Tag

from daypass.spec.faults import expected, fault, unknown_key
from daypass.spec.locations import FilePath
from daypass.spec.names import Subdomain
from daypass.spec.section import Section
from daypass.spec.wording import shown


class TlsSecret(Section):
    """A Secret of type kubernetes.io/tls that is there, beside the front."""

    secret: Subdomain = Field(examples=["ekf-tls"])
    """Name of the Secret."""


class TlsIssuer(Section):
    """cert-manager gets the certificate."""

    issuer: Subdomain = Field(examples=["letsencrypt"])
    """Name of the ClusterIssuer."""


class TlsFilePair(Section):
    """A certificate and its key, as PEM files."""

    certificate: FilePath = Field(examples=["ekf.crt"])
    """The chain, the server's own certificate first; relative to this file."""

    key: FilePath = Field(examples=["ekf.key"])
    """The private key; relative to this file."""


class TlsFiles(Section):
    """Files on the machine where the front `envoy` runs."""

    files: TlsFilePair
    """The certificate and its key."""


Outside: TypeAlias = Literal["outside"]
"""The front has its certificate already, from somewhere that daypass does not manage."""

WAYS: dict[str, type[Section]] = {"secret": TlsSecret, "issuer": TlsIssuer, "files": TlsFiles}
OUTSIDE: Outside = "outside"
_HINT = (
    "write {secret: NAME}, {issuer: NAME}, {files: {certificate: FILE, key: FILE}}"
    " or the word outside"
)


def _known_way(value: Any) -> Any:
    """Refuse what is none of the four ways, in words that a union of types has not."""
    if isinstance(value, Section) or value == OUTSIDE:
        return value
    if isinstance(value, str):
        raise fault(f"{shown(value)} is no way to get a certificate", _HINT)
    if not isinstance(value, dict):
        raise expected("a mapping, or the word outside")
    ways = [key for key in value if key in WAYS]
    if len(ways) > 1:
        raise fault(f"both {ways[0]} and {ways[1]}", "a domain has one certificate")
    if not value:
        raise fault("an empty mapping", _HINT)
    if not ways:
        raise unknown_key(str(next(iter(value))))
    return value


def _way(value: Any) -> str:
    """The tag of a way. Tags stand in pydantic's locations, after `tls`."""
    keys = (
        value
        if isinstance(value, dict)
        else type(value).model_fields
        if isinstance(value, Section)
        else ()
    )
    return next((f"<{way}>" for way in WAYS if way in keys), "<outside>")


Tls: TypeAlias = Annotated[
    Annotated[TlsSecret, Tag("<secret>")]
    | Annotated[TlsIssuer, Tag("<issuer>")]
    | Annotated[TlsFiles, Tag("<files>")]
    | Annotated[Outside, Tag("<outside>")],
    Discriminator(_way),
    BeforeValidator(_known_way),
]
