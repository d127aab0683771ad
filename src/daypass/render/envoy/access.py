"""What a caller may reach: hosts of a form, plain paths, what an audience opens, who may pass.

The tables of audiences and of callers are look-ups in hash maps, so their cost does not depend on
their size. The key of an audience is the claim as Envoy prints it: the text of a string, the JSON
of a list. So a list with one audience has a key, and no longer list has one. A text that looks like
such a list has that key, too, but is none of the audiences that the JWT filter accepts.
"""

import json
from collections.abc import Iterable

from daypass.render.envoy.matching import (
    AUDIENCE_STATE,
    NAMESPACE_STATE,
    USER_STATE,
    action,
    all_of,
    any_of,
    first_of,
    has_header,
    is_not,
    lookup,
    marking,
)
from daypass.render.envoy.protobuf_any import Json
from daypass.render.envoy.replies import refuse
from daypass.rules.decision import Allow, Opening, Rules
from daypass.rules.models import MODEL_HEADERS
from daypass.rules.patterns import EVERY_HOST, PLAIN_PATH_REGEX, HostPattern
from daypass.rules.reasons import Reason

ALLOWED_MARK = "daypass_allowed"
"""The mark of a caller that may pass, where not everybody may."""

_ALLOWED = action("daypass-allowed", "ALLOW")


def any_pattern(patterns: Iterable[str]) -> str:
    """Return a pattern for what one of these matches; their flags remain their own."""
    return "|".join(f"(?:{each})" for each in patterns)


def guards_every_host(rules: Rules) -> bool:
    """Return whether every host is guarded, by any name."""
    return any(host.text == EVERY_HOST for host in rules.hosts)


def is_host(hosts: Iterable[HostPattern]) -> Json:
    """Return a predicate: the Host header has the form of one of these hosts."""
    return has_header(":authority", any_pattern(host.exact_regex for host in hosts))


def is_ambiguous() -> Json:
    """Return a predicate: the path may be read in several ways, or a header names the model."""
    chosen = (has_header(name, "(?s).*") for name in MODEL_HEADERS)
    return any_of(is_not(has_header(":path", PLAIN_PATH_REGEX)), *chosen)


def by_audience(rules: Rules, accepted: Json, closed: Json, otherwise: Json) -> Json:
    """Return a matcher for a token's audience: `accepted` if it opens the request, or `closed`.

    `otherwise`: for claims that are no single audience of the gate.
    """
    table = dict.fromkeys(_texts(rules.audience), accepted)
    for audience, opening in rules.audiences.items():
        table |= dict.fromkeys(_texts(audience), _opened(opening, accepted, closed))
    return lookup(AUDIENCE_STATE, table, otherwise)


def _texts(audience: str) -> tuple[str, str]:
    """Return the claim with this audience alone as Envoy prints it: as a string, and as a list."""
    return audience, json.dumps([audience])


def _opened(opening: Opening, accepted: Json, closed: Json) -> Json:
    required = [is_host(opening.hosts)] if opening.hosts else []
    if opening.paths:
        paths = any_pattern(path.exact_regex for path in opening.paths)
        required.append(has_header(":path", paths))
    return first_of([(all_of(*required), accepted)], closed) if required else accepted


def allowed_filter(allow: Allow) -> Json:
    """Return the filter that marks who may pass."""
    users = [f"system:serviceaccount:{name.replace('/', ':')}" for name in allow.identities]
    matcher = refuse(Reason.NOT_ALLOWED)
    for state, names in ((USER_STATE, users), (NAMESPACE_STATE, allow.namespaces)):
        matcher = lookup(state, dict.fromkeys(sorted(names), _ALLOWED), matcher)
    # Envoy needs a matcher here, not an action alone.
    config = marking(ALLOWED_MARK, matcher.get("matcher", {"on_no_match": matcher}))
    return {"name": "daypass-gate-allowed", "typed_config": config}
