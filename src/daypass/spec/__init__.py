"""The config file and what it means: domains, door, policy, gate, and the one exposure.

`daypass.yaml` is read here, and only here, into immutable values; the mistakes in it become one
error, each with file, line and column. `exposure` defines which requests pass the door; the door's
config is compiled from it, the auditor probes it, the tests enumerate it.

This package does no I/O beyond reading the file it is given, and knows no cluster. It does not look
at the files that a config names, at the DNS, or at what a Secret holds: that is for whoever uses
the config, and for `verify`.
"""

from daypass.spec.cluster import Cluster
from daypass.spec.config import Config
from daypass.spec.domain import Domain, Front
from daypass.spec.door import Door, Limits
from daypass.spec.gate import Gate, IdentityHeaders
from daypass.spec.local import Local
from daypass.spec.locations import Address
from daypass.spec.policy import Policy
from daypass.spec.problems import ConfigError, Problem
from daypass.spec.reading import load, parse
from daypass.spec.schema import json_schema
from daypass.spec.tls import Tls, TlsFilePair, TlsFiles, TlsIssuer, TlsSecret

__all__ = [
    "Address",
    "Cluster",
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
