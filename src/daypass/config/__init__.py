"""The config file and what it means: domains, door, policy, gate, and the one exposure.

`daypass.yaml` is read here, and only here, into immutable values; the mistakes in it become one
error, each with file, line and column. `exposure` defines which requests pass the door; the door's
config is compiled from it, the auditor probes it, the tests enumerate it.

This package does no I/O beyond reading the file it is given, and knows no cluster. It does not look
at the files that a config names, at the DNS, or at what a Secret holds: that is for whoever uses
the config, and for `verify`.
"""

from daypass.config.domain import Domain, Front, Tls, TlsFilePair, TlsFiles, TlsIssuer, TlsSecret
from daypass.config.errors import ConfigError, Problem
from daypass.config.gate import Gate, IdentityHeaders
from daypass.config.load import load, parse
from daypass.config.locations import Address
from daypass.config.models import ClusterConfig, Config, Door, Limits, Local, Policy
from daypass.config.schema import json_schema

__all__ = [
    "Address",
    "ClusterConfig",
    "Config",
    "ConfigError",
    "Domain",
    "Door",
    "Front",
    "Gate",
    "IdentityHeaders",
    "Limits",
    "Local",
    "Policy",
    "Problem",
    "Tls",
    "TlsFilePair",
    "TlsFiles",
    "TlsIssuer",
    "TlsSecret",
    "json_schema",
    "load",
    "parse",
]
