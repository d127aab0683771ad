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
    has_claim,
    has_header,
    has_other_item,
    is_not,
    is_or_has,
    lookup,
    marking,
)
from daypass.render.envoy.protobuf_any import Json
from daypass.render.envoy.replies import refuse
from daypass.rules.decision import Allow, Rules
from daypass.rules.models import MODEL_HEADERS
from daypass.rules.patterns import EVERY_HOST, PLAIN_PATH_REGEX, HostPattern, Place
from daypass.rules.reasons import Reason

ALLOWED_MARK = "daypass_allowed"
"""The mark of a caller that may pass, where not everybody may."""

OPENED_MARK = "daypass_opened"
"""The mark of a request that its token's audience opens, where there is a table of audiences."""

_ALLOWED, _OPENED = action("daypass-allowed", "ALLOW"), action("daypass-opened", "ALLOW")


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


def opened_filter(rules: Rules) -> Json:
    """Return the filter that marks whether a token's audience opens the request, or why not."""
    table = dict.fromkeys(_texts(rules.audience), _OPENED)
    for audience, places in rules.audiences.items():
        is_open = any_of(*map(_is_for_place, places))
        result = first_of([(is_open, _OPENED)], refuse(Reason.AUDIENCE_OPENING))
        table |= dict.fromkeys(_texts(audience), result)
    otherwise = first_of(
        # A list may have the same audience twice.
        [(is_for(rules.audience), _OPENED), (is_for_others(rules), refuse(Reason.AUDIENCE))],
        refuse(Reason.SEVERAL_AUDIENCES),
    )
    matcher = lookup(AUDIENCE_STATE, table, otherwise)["matcher"]
    return {"name": "daypass-gate-opened", "typed_config": marking(OPENED_MARK, matcher)}


def _texts(audience: str) -> tuple[str, str]:
    """Return the claim with this audience alone as Envoy prints it: as a string, and as a list."""
    return audience, json.dumps([audience])


def is_for(audience: str) -> Json:
    """Return a predicate: a verified token has this audience, and no other."""
    # The JWT filter ignores a scheme, and a slash at the end.
    has_it = has_claim(["aud"], is_or_has(audience))
    return all_of(has_it, is_not(has_claim(["aud"], has_other_item(audience))))


def is_for_others(rules: Rules) -> Json:
    """Return a predicate: a verified token has none of the gate's audiences."""
    return is_not(has_claim(["aud"], is_or_has(rules.audience, *sorted(rules.audiences))))


def _is_for_place(place: Place) -> Json:
    on_path = [] if place.path is None else [has_header(":path", place.path.exact_regex)]
    return all_of(is_host([place.host]), *on_path)


def allowed_filter(allow: Allow) -> Json:
    """Return the filter that marks who may pass."""
    users = [f"system:serviceaccount:{name.replace('/', ':')}" for name in allow.identities]
    matcher = refuse(Reason.NOT_ALLOWED)
    for state, names in ((USER_STATE, users), (NAMESPACE_STATE, allow.namespaces)):
        matcher = lookup(state, dict.fromkeys(sorted(names), _ALLOWED), matcher)
    # Envoy needs a matcher here, not an action alone.
    config = marking(ALLOWED_MARK, matcher.get("matcher", {"on_no_match": matcher}))
    return {"name": "daypass-gate-allowed", "typed_config": config}
