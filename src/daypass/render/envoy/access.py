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
    among,
    any_of,
    first_of,
    has_claim,
    has_header,
    is_not,
    is_or_has,
    like,
    lookup,
    marking,
    other_than,
)
from daypass.render.envoy.protobuf_any import Json
from daypass.render.envoy.replies import refuse
from daypass.rules.decision import Allow, Rules
from daypass.rules.models import MODEL_HEADERS
from daypass.rules.patterns import PLAIN_PATH_REGEX, HostPattern, Place
from daypass.rules.reasons import Reason

ALLOWED_MARK = "daypass_allowed"
"""The mark of a caller that may pass, where not everybody may."""

OPENED_MARK = "daypass_opened"
"""The mark of a request that its token's audience opens, where there is a table of audiences."""

_ALLOWED, _OPENED = action("daypass-allowed", "ALLOW"), action("daypass-opened", "ALLOW")


def any_pattern(patterns: Iterable[str]) -> str:
    """Return a pattern for what one of these matches; their flags remain their own."""
    return "|".join(f"(?:{each})" for each in patterns)


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
    marked = marking(OPENED_MARK, lookup(AUDIENCE_STATE, table, otherwise))
    return {"name": "daypass-gate-opened", "typed_config": marked}


def _texts(audience: str) -> tuple[str, str]:
    """Return the claim with this audience alone as Envoy prints it: as a string, and as a list."""
    return audience, json.dumps([audience])


def is_for(audience: str) -> Json:
    """Return a predicate: a verified token has this audience, and no other."""
    # The JWT filter ignores a scheme, and a slash at the end.
    another = {"list_match": {"one_of": like(other_than(audience))}}
    return all_of(has_claim(["aud"], is_or_has(audience)), is_not(has_claim(["aud"], another)))


def is_for_others(rules: Rules) -> Json:
    """Return a predicate: a verified token has none of the gate's audiences."""
    return is_not(has_claim(["aud"], is_or_has(rules.audience, *sorted(rules.audiences))))


def _is_for_place(place: Place) -> Json:
    on_path = [] if place.path is None else [has_header(":path", place.path.exact_regex)]
    return all_of(is_host([place.host]), *on_path)


def allowed_filter(allow: Allow) -> Json:
    """Return the filter that marks who may pass."""
    users = [f"system:serviceaccount:{name.replace('/', ':')}" for name in allow.identities]
    of_users = among(USER_STATE, users, _ALLOWED, refuse(Reason.NOT_ALLOWED))
    marked = marking(ALLOWED_MARK, among(NAMESPACE_STATE, allow.namespaces, _ALLOWED, of_users))
    return {"name": "daypass-gate-allowed", "typed_config": marked}
