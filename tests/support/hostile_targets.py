"""Hosts, paths and headers that proxies and servers read in different ways: what a gate that reads
them has to refuse, whatever the token is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from daypass._core.clock import SYSTEM_CLOCK
from daypass.rules.decision import GateRequest, Rules, decide
from daypass.rules.models import MODEL_HEADERS
from daypass.rules.patterns import HostPattern, Place, is_plain_path
from daypass.rules.reasons import REASON_HEADER, Reason
from support.gate_differences import cell, reason_in
from support.raw import Answer
from support.single_changes import HOST, RULES
from support.tokens import AUDIENCE

ALICE, PATHS, HOSTS = "alice.example.com", "paths.example.com", "hosts.example.com"
"""Further audiences: of a host and a path, of the same paths on each host, and of whole hosts."""
CLAIMED = "somebody"
"""What each request claims to be."""


def hosts(*texts: str) -> tuple[HostPattern, ...]:
    return tuple(map(HostPattern.parse, texts))


def places(*texts: str) -> tuple[Place, ...]:
    return tuple(map(Place.parse, texts))


PATTERNS = replace(
    RULES,
    hosts=hosts(
        HOST, "{name}.{namespace}.example.com", "{name}-{namespace}.serving.example.org",
        "*.any.example.org", "{name}.{namespace}.svc.cluster.local",
    ),
)  # fmt: skip
"""Rules of a gate for models, by their hosts."""
_OPENED = {
    ALICE: ["{name}.alice.example.com", f"{HOST}/serving/alice/"],
    PATHS: [
        f"{host.text}{path}"
        for host in PATTERNS.hosts
        for path in ("/serving/alice/", "/{namespace}/{name}/")
    ],
    HOSTS: [HOST, "{name}-{namespace}.serving.example.org"],
}
OPENINGS = replace(PATTERNS, audiences={name: places(*each) for name, each in _OPENED.items()})
"""The same, with audiences for parts of it."""
OPENINGS_KEYS = {"hosts": [host.text for host in OPENINGS.hosts], "audiences": _OPENED}
"""Keys of a gate with these rules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a request is for. `header`: a line of its own."""

    host: str = HOST
    path: str = "/serving/alice/iris/"
    audience: str = AUDIENCE
    header: str = ""

    def lines(self, token: str) -> list[str]:
        """The header lines of a request for it."""
        own = [f"Authorization: Bearer {token}", f"kubeflow-userid: {CLAIMED}"]
        return [*own, self.header] if self.header else own


_NAMES = (
    HOST, "iris.alice.example.com", "iris.bob.example.com", "alice.example.com", "example.com",
    "x.iris.alice.example.com", "iris.alice.example.com.evil.org", "evil-iris.alice.example.com",
    "iris-alice.serving.example.org", "irisalice.serving.example.org", "serving.example.org",
    "a-b-c.serving.example.org", "-.serving.example.org", "-a.serving.example.org",
    "x.any.example.org", "any.example.org", "y.x.any.example.org", "iris.alice.svc.cluster.local",
    "iris.alice.svc", "iris.alice", "iris", "iris.alice.svc.cluster",
    "xn--ls8h.alice.example.com", "xn--80ak6aa92e.alice.example.com", "a_b.alice.example.com",
    "\xe9.alice.example.com", "iris..example.com", ".alice.example.com",
    "*.alice.example.com", "{name}.{namespace}.example.com", "iris%2ealice.example.com",
    "iris.alice%2eexample.com", "127.0.0.1", "[::1]", "localhost",
    "iris.alice.example.com@evil.org", f"{'a' * 63}.alice.example.com",
    f"{'a' * 64}.alice.example.com", f"{'a' * 63}.{'b' * 63}.example.com",
)  # fmt: skip
_FORMS = (
    "{}", "{}.", ".{}", "{}:443", "{}:0", "{}:99999", "{}:123456", "{}:", "{}:x", "{}:80:80",
    "{}.:443", "{},{}",
)  # fmt: skip
HOSTILE_PATHS = (
    "/", "/serving/alice/iris/", "/serving/alice", "/serving/alice/", "/serving/alice?x",
    "/serving/alice/?x=/../", "/serving/alice2/", "/serving/ALICE/", "/Serving/alice/",
    "/SERVING/alice/", "/serving//alice/", "//serving/alice/", "/serving/alice//",
    "/serving/alice/../bob/", "/serving/bob/../alice/", "/serving/alice/./x", "/serving/alice/..",
    "/../serving/alice/", "/serving/alice/.x", "/serving/alice/x.", "/serving/%61lice/",
    "/serving/alice/%2e%2e/bob/", "/serving/alice/%2E./bob/", "/serving/alice/%2fbob/",
    "/serving/alice%2f..%2fbob/", "/serving/alice%5c..%5cbob/", "/serving/alice\\..\\bob/",
    "/serving\\alice/", "/serving/alice/%252e%252e/bob/", "/serving/alice;x=/bob/",
    "/serving/alice/..;/bob/", "/serving/alice/;/", "/serving;/alice/", "/serving/alice/%3b/",
    "/serving/alice/%00", "/serving/alice/%0a", "/serving/alice/%7f", "/serving/alice/%zz",
    "/serving/alice/%e9", "/serving/alice/\xe9", "/serving/alice/\x85",
    "/serving/alice/%c0%ae%c0%ae/", "/serving/alice/x/serving/bob/y/", "/x/serving/alice/",
    "/serving/bob/serving/alice/", "/serving/alice/v1/models/iris:predict",
    "/serving/alice/a+b,c=d!e$f&g'h(i)j*k@l~m", "/serving/alice/[x]", "/serving/alice/{x}",
    "/serving/alice/`", "/serving/alice/x?y?z", "/serving/alice/?#", "/serving/alice/#x",
    "/alice/llama/v1/chat/completions", "/alice/llama", "/alice", "/alice/", "/alice//llama/",
    "/-/x/", "/a_b/x/", "/publishers/alice/models/x/", "/serving", "/serving/",
    "/serving/x/y/../../alice/", "/" + "a" * 8000, "/serving/alice/" + "a/" * 2000,
)  # fmt: skip
_HEADERS = (
    *(f"{name.title()}: 10.0.0.1:80" for name in sorted(MODEL_HEADERS)),
    "x-gateway-model-name: llama", "X-Gateway-Model-Name:", "X-GATEWAY-MODEL-NAME: a, b",
    "x-prefiller-host-port: a", "X-PREFILLER-HOST-PORT: 10.0.0.1:80, 10.0.0.2:80",
    "X-Prefiller-Host-Portx: 10.0.0.1:80", "X-Prefiller: 10.0.0.1:80",
    "X-Envoy-Original-Path: /serving/bob/", "X-HTTP-Method-Override: PUT",
)  # fmt: skip


def hostile_hosts() -> Iterator[str]:
    """Each name, and some in each form."""
    yield from _NAMES
    for form in _FORMS:
        for name in (HOST, "iris.alice.example.com", "iris.alice.svc.cluster.local"):
            for spelled in (name, name.upper(), name.title()):
                yield form.format(spelled, spelled)


def all_targets(audiences: Iterable[str]) -> Iterator[Target]:
    """Each path, each header and some hosts with each audience; each host with the first."""
    own, *_ = audiences = tuple(audiences)
    for host in hostile_hosts():
        yield Target(host=host, audience=own)
    for audience in audiences:
        for name in _NAMES:
            yield Target(host=name, audience=audience)
        for path in HOSTILE_PATHS:
            for host in (HOST, "iris.alice.example.com", "iris.bob.example.com"):
                yield Target(host=host, path=path, audience=audience)
        for header in _HEADERS:
            yield Target(header=header, audience=audience)


UNHTTP, UNCHECKED = "400 before any filter", "served without a check"
REDIRECTED = "307 before any filter"
"""What an engine does without the gate: it refuses what is no HTTP, serves another's host, or sends
a client to another path.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A row. `covers`: which targets. Reasons: what is found by the decision (`daypass gate
    explain`, the authorizer), and what an engine does.
    """

    engines: str
    what: str
    covers: Callable[[Target, Rules], bool]
    decision: tuple[Reason, ...]
    engine: tuple[str, ...]


NO_HTTP = Difference(
    engines="both",
    what="`#` or bytes outside ASCII in the path; a space, brackets or `@` in the host",
    covers=lambda target, rules: (
        "#" in target.path
        or not f"{target.host}{target.path}".isascii()
        or any(each in target.host for each in " {@")
    ),
    decision=(Reason.NOT_GUARDED, Reason.AMBIGUOUS, Reason.ALLOWED),
    engine=(UNHTTP,),
)
LEFT_ALONE = Difference(
    engines="Istio",
    what="a host that is none of the gate's, and has no end of a pattern",
    covers=lambda target, rules: not any(host.is_near(target.host) for host in rules.hosts),
    decision=(Reason.NOT_GUARDED,),
    engine=(UNCHECKED,),
)
REWRITTEN = Difference(
    engines="Istio",
    what="segments of dots, backslashes, needless or missing encoding in the path: Istio normalizes"
    " it first, and the gate decides about the result",
    covers=lambda target, rules: not is_plain_path(target.path),
    decision=(Reason.AMBIGUOUS,),
    engine=(Reason.ALLOWED, Reason.AUDIENCE_OPENING, UNHTTP),
)
REWRITTEN_MORE = Difference(
    engines="Envoy Gateway",
    what="the same, and empty segments or encoded slashes: Envoy Gateway normalizes it first, or"
    " redirects to the result",
    covers=REWRITTEN.covers,
    decision=(Reason.AMBIGUOUS,),
    engine=(Reason.ALLOWED, Reason.AUDIENCE_OPENING, UNHTTP, REDIRECTED),
)


def as_table() -> str:
    """The rows as a table in Markdown."""
    lines = ["| a request | engine | `gate explain`, the authorizer | Envoy |"]
    lines.append("| --- | --- | --- | --- |")
    for row in (NO_HTTP, REWRITTEN, REWRITTEN_MORE, LEFT_ALONE):
        found = cell(row.decision), cell(row.engine)
        lines.append(f"| {row.what} | {row.engines} | {' | '.join(found)} |")
    return "\n".join(lines)


def outcome(answer: Answer) -> str:
    """What an engine did with a request that claims to be somebody."""
    if answer.code == 0 or (
        answer.code == 400 and answer.headers.get(REASON_HEADER) != Reason.AMBIGUOUS
    ):
        return UNHTTP
    if answer.code == 307 and not answer.body:
        return REDIRECTED
    if answer.code == 200 and answer.json["headers"]["kubeflow-userid"] == CLAIMED:
        return UNCHECKED
    return reason_in(answer)


def decided(target: Target, rules: Rules, token: str) -> Reason:
    """What the decision says to a target with a good token for its audience."""
    request = GateRequest(
        host=target.host,
        path=target.path,
        authorizations=(f"Bearer {token}",),
        model_header=target.header.partition(":")[0].lower() in MODEL_HEADERS,
    )
    return decide(request, rules, SYSTEM_CLOCK.unix(), signed=True).reason


def assert_targets_agree(
    ask: Callable[[Target, str], Answer],
    rules: Rules,
    sign: Callable[[str], str],
    *rows: Difference,
) -> Counter[Reason]:
    """Fails for a difference that is in no row, for a row that is none any more, and if a service
    has received what the decision refuses. Returns how often the decision found each reason.

    `ask`: sends a target with a token, and CLAIMED. `sign`: a token for an audience.
    """
    tokens = {audience: sign(audience) for audience in (rules.audience, *rules.audiences)}
    counts, new, seen = Counter[Reason](), list[str](), set[str]()
    for target in all_targets(tokens):
        token = tokens[target.audience]
        answer = ask(target, token)
        decision, engine = decided(target, rules, token), outcome(answer)
        counts[decision] += 1
        if engine == Reason.ALLOWED and answer.json["path"] != target.path:
            arrived = replace(target, path=answer.json["path"])
            assert decided(arrived, rules, token) is Reason.ALLOWED, (target, arrived)
        if decision == engine:
            continue
        covering = [row for row in rows if row.covers(target, rules)]
        if any(decision in row.decision and engine in row.engine for row in covering):
            seen |= {row.what for row in covering}
        else:
            new.append(f"{target}: {decision} by the decision, {engine} by the engine")
    assert not new, f"{len(new)} differences that are in no row:\n" + "\n".join(new[:20])
    assert {row.what for row in rows} <= seen, "rows that are no difference any more"
    return counts
