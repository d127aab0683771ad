"""`daypass.yaml`: its sections, how it is read, and which requests the door lets through.

`load` reads the file into immutable values; the mistakes in it become one error, each with file,
line and column. `config` is the whole, `domain`, `gate` and `settings` are its sections, `types`
and `locations` their values, `schema` the keys that are known. `exposure` holds what passes the
door: Envoy's config is compiled from it.

`load` only reads the file it is given. It does not look at the files, DNS names and Secrets that a
config names; the code that uses the config and `daypass verify` do, with `key_set` for the file of
`cluster.keys`.
"""

from daypass._core.findings import Problem
from daypass.config.addresses import Address
from daypass.config.config import Config
from daypass.config.domain import (
    ClassDomain,
    ClusterDomain,
    Domain,
    GatewayApiDomain,
    IngressDomain,
    IngressNginxDomain,
    IstioDomain,
    TlsFiles,
    TlsIssuer,
    TlsSecret,
)
from daypass.config.errors import ConfigError
from daypass.config.gate import ClusterGate, EnvoyGatewayGate, Gate, IstioGate
from daypass.config.load import load, parse
from daypass.config.schema import json_schema
from daypass.config.settings import Policy

__all__ = [
    "Address",
    "ClassDomain",
    "ClusterDomain",
    "ClusterGate",
    "Config",
    "ConfigError",
    "Domain",
    "EnvoyGatewayGate",
    "Gate",
    "GatewayApiDomain",
    "IngressDomain",
    "IngressNginxDomain",
    "IstioDomain",
    "IstioGate",
    "Policy",
    "Problem",
    "TlsFiles",
    "TlsIssuer",
    "TlsSecret",
    "json_schema",
    "load",
    "parse",
]
