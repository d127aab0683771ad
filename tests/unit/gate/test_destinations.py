"""What the authorizer remembers of hosts and paths: the same for all that it takes for the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daypass.gate.authorizer.followers import Models
from daypass.gate.authorizer.served_gate import Destination, Destinations
from daypass.rules.models import ModelRule, may_mean_models, needed_accesses
from daypass.rules.patterns import HostPattern, PathPattern, Place, is_plain_path
from support.reviewing import rules

ISVC, LLM = "inferenceservices.serving.kserve.io", "llminferenceservices.serving.kserve.io"
HOSTS = (
    "serving.example.com",
    "{name}.{namespace}.example.com",
    "{name}-{namespace}.raw.example.com",
)
SERVING, MODEL, DASHED = map(HostPattern.parse, HOSTS)
BELOW_SERVING = PathPattern.parse("/serving/{namespace}/{name}/")
RULES = rules(
    *HOSTS,
    authorize=(
        ModelRule(host=MODEL, resource=ISVC),
        ModelRule(host=DASHED, resource=ISVC, verb="update"),
        ModelRule(host=SERVING, path=BELOW_SERVING, resource=ISVC),
        ModelRule(host=SERVING, path=PathPattern.parse("/{namespace}/{name}/"), resource=LLM),
    ),
    audiences={
        "alice": (Place(SERVING, PathPattern.parse("/serving/a/b/v1/x/")), Place(MODEL)),
        "bob": (Place(MODEL, PathPattern.parse("/b/")), Place.parse(f"{HOSTS[0]}/serving/b/")),
    },
)  # fmt: skip
NAMES = {"a", "b", "a-b", "v1"}
EVERY_MODEL = Models(names={(kind, each): NAMES for kind in (ISVC, LLM) for each in NAMES})

segments = st.sampled_from(
    ["a", "b", "a-b", "serving", "Serving", "v1", "x", "%20", "a.b", "A", ""]
)
paths = st.builds(
    lambda parts, query: f"/{'/'.join(parts)}{query}",
    st.lists(segments, max_size=8), st.sampled_from(["", "?", "?x=/serving/a/b/", "?a?b"]),
)  # fmt: skip
hosts = st.sampled_from(
    ["serving.example.com", "a.b.example.com", "a-b.raw.example.com", "a-b-a.raw.example.com:8443"]
)


@given(host=hosts, path=paths.filter(is_plain_path))
def test_a_destination_is_what_the_rules_say_of_the_whole_path(host: str, path: str) -> None:
    destinations = Destinations(RULES)
    destinations.take_models(EVERY_MODEL)
    at = host.encode(), path.encode()
    place = RULES.authorize, host, path
    needed = needed_accesses(*place, EVERY_MODEL.names_in)
    assert destinations.look_up(*at, model_header=False) is None
    destination = destinations.find(*at)
    assert destination.may_mean_models is may_mean_models(*place)
    assert (None if destination.accesses is None else set(destination.accesses)) == needed
    opened = {name for name in RULES.audiences if RULES.opens(name, host, path)}
    assert destination.audiences == {RULES.audience, *opened}
    assert destinations.look_up(*at, model_header=False) is destination
    assert destinations.look_up(*at, model_header=True) is None


def remembered(destinations: Destinations, host: bytes, *paths: bytes) -> set[tuple[bytes, bytes]]:
    for path in paths:
        destinations.find(host, path)
    return set(destinations.remembered)


def test_paths_below_one_destination_have_one_key() -> None:
    destinations = Destinations(rules(HOSTS[0], authorize=(RULES.authorize[2],)))
    tails = (b"", b"/", b"/x", b"/x/y/z?q=1", b"?q=/serving/a/b")
    paths = [b"/serving/a/b" + tail for tail in tails]
    assert remembered(destinations, b"serving.example.com", *paths) == {
        (b"serving.example.com", b"/serving/a/b")
    }


def test_a_gate_that_reads_no_paths_knows_hosts_alone() -> None:
    destinations = Destinations(rules(HOSTS[0]))
    found = remembered(destinations, b"serving.example.com", b"/a", b"//x;", b"*", b"")
    assert found == {(b"serving.example.com", b"")}
    assert destinations.look_up(b"serving.example.com", b"//x;", model_header=True) == Destination(
        audiences=frozenset({RULES.audience}), may_mean_models=False, accesses=None
    )


def test_models_that_are_read_from_hosts_alone_leave_paths_out_of_the_key() -> None:
    destinations = Destinations(rules(HOSTS[1], authorize=(RULES.authorize[0],)))
    found = remembered(destinations, b"a.b.example.com", b"/v1", b"/v2/x?y", b"/")
    assert found == {(b"a.b.example.com", b"")}
