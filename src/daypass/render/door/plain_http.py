"""What a front took over plain http is refused at the door, whatever the front thinks of it.

Fronts write X-Forwarded-Proto by what a request came over. Some would serve plain http as well, and
those that would rather redirect it are told not to: a client that is redirected goes on sending its
token in the clear, first each time, and nobody notices. This way it gets a 403 that says so.
"""

from daypass.render.envoy.replies import code_filter, status_format
from daypass.render.envoy.typed import Json

_FRONT_SCHEME = "x-daypass-front-scheme"
_PLAIN_HTTP: Json = {
    "name": _FRONT_SCHEME,
    "string_match": {"exact": "http", "ignore_case": True},
}
_SEEN_IN_THE_CLEAR = (
    "this came to the front over plain http, and a token in it was seen in the clear: "
    "use https, and replace the token"
)


def refuse_plain_http(manager: Json, hosts: list[str]) -> None:
    """Change a connection manager so that it refuses plain http for these hosts.

    They are those whose TLS ends at the front. Where it ends before, the front's word says nothing:
    such hosts keep their routes as they are.
    """
    door, *others = manager["route_config"]["virtual_hosts"]
    named: dict[str, list[str]] = {"https": [], "outside": []}
    for name in door["domains"]:
        named["https" if name in hosts else "outside"].append(name)
    refusal = {
        "name": "refuse-plain-http",
        "match": {"prefix": "/", "headers": [_PLAIN_HTTP]},
        "direct_response": {"status": 403},
    }
    split = [
        {**door, "domains": named["https"], "routes": [refusal, *door["routes"]]},
        {**door, "domains": named["outside"], "name": "outside"},
    ]
    manager["route_config"]["virtual_hosts"] = [*(v for v in split if v["domains"]), *others]
    manager["local_reply_config"]["mappers"].insert(0, _SEEN)
    (early,) = manager["early_header_mutation_extensions"]
    early["typed_config"]["mutations"] += [{"remove": _FRONT_SCHEME}, {"append": _KEPT}]


_KEPT: Json = {
    # Envoy writes X-Forwarded-Proto anew before it looks for a route. This one does not travel on:
    # it is not on the list of headers that do.
    "header": {"key": _FRONT_SCHEME, "value": "%REQ(X-FORWARDED-PROTO)%"},
    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
}
_SEEN: Json = {
    "filter": {
        "and_filter": {
            "filters": [code_filter("EQ", 403), {"header_filter": {"header": _PLAIN_HTTP}}]
        }
    },
    "body_format_override": status_format(403, "Forbidden", _SEEN_IN_THE_CLEAR),
}
