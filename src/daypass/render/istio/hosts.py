"""How the guarded hosts are told from others on the same gateway.

Every form of a name that could lead to its route counts: in any case, with a port or what stands
for one, with the dot of a fully qualified name.
"""

import re
from collections.abc import Iterable

from daypass.render.envoy.matching import has_header
from daypass.render.envoy.typed import Json, full_match


def is_guarded(hosts: Iterable[str]) -> Json:
    """A matcher's predicate."""
    return has_header(":authority", _pattern(hosts))


def guarded_header(hosts: Iterable[str]) -> Json:
    """A HeaderMatcher, for filters that take these."""
    return {"name": ":authority", "string_match": {"safe_regex": full_match(_pattern(hosts))}}


def policy_hosts(hosts: Iterable[str]) -> list[str]:
    """The `hosts` of an AuthorizationPolicy, which are matched in any case."""
    return [f"{host}{end}" for host in hosts for end in ("", ":*", ".", ".:*")]


def _pattern(hosts: Iterable[str]) -> str:
    return rf"(?i)({'|'.join(re.escape(host) for host in hosts)})\.?(:.*)?"
