"""What a config exposes in addition to another one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import reduce
from typing import Any, Literal, get_args, get_origin

import pytest

from daypass._core.findings import Finding
from daypass.config.schema import levels, name_of
from daypass.config.types import ADDED, NEVER, REMOVED, Opens
from daypass.deploy.openings import (
    RenamedGateError,
    ended,
    openings,
    require_same_names,
    widened,
)
from daypass.render.cluster_facts import ClusterFacts
from support.messages import check, raises
from support.rendered import config_of

CONFIG = """\
version: 1
cluster: {addresses: [10.0.0.1]}
domains:
  ekf: {host: ekf.example.com, front: ingress-nginx, tls: {secret: ekf-tls}}
policy: {audiences: [gate.example.com]}
limits: {requestsPerSecond: 100, perSourcePerSecond: 5}
gates: {default: {audience: gate.example.com, hosts: [ekf.example.com, b.example.com]}}
"""
EKF = "ekf: {host: ekf.example.com, front: ingress-nginx, tls: {secret: ekf-tls}}"

BY_MODEL = """\
version: 1
domains: {a: {host: a.example.com, front: istio, tls: outside}}
policy: {audiences: [gate, alice.gate, x.gate]}
gates:
  default:
    audience: gate
    check: review
    hosts: [a.example.com, '{name}.{namespace}.example.com']
    audiences: {alice.gate: [a.example.com/serving/alice/]}
    allow: {namespaces: [alice]}
    authorize:
    - {host: '{name}.{namespace}.example.com', resource: inferenceservices.serving.kserve.io}
    maxStreamDuration: 1h
"""
RULES = BY_MODEL[BY_MODEL.index("    authorize:") : BY_MODEL.index("    max")]
WIDER = [
    (EKF, f"{EKF}\n  b: {{host: b.example.com, front: istio, tls: outside}}"),
    ("tls: {secret: ekf-tls}", "tls: outside"),
    ("limits:", "watch: {closeAfter: 1h}\nlimits:"),
    ("limits:", "watch: {credentialsPerNamespace: 2001}\nlimits:"),
    ("[10.0.0.1]", "[10.0.0.1, 10.0.0.2]"),
    ("cluster: {addresses: [10.0.0.1]}\n", ""),
    ("limits:", "door: {trustedHops: 2}\nlimits:"),
    ("requestsPerSecond: 100", "requestsPerSecond: 101"),
    ("perSourcePerSecond: 5", "perSourcePerSecond: 6"),
    ("limits:", "metrics: {prometheusNamespaces: [watching]}\nlimits:"),
    ("policy: {audiences: [gate.example.com]}\n", ""),
    ("com]}", "com], mode: warn}"),
    ("com]}", "com], mode: audit}"),
    ("com]}", "com, other]}"),
    ("com]}", "com], longestLifetime: 25h}"),
    ("com]}", "com], federated: {longestLifetime: 2h}}"),
    ("com]}", "com], binding: optional}"),
    ("com]}", "com], successors: allowed}"),
    ("com]}", "com], exempt: [system:serviceaccount:a:b]}"),
    (CONFIG[CONFIG.index("gates:") :], ""),
    (", b.example.com]", "]"),
    ("hosts: [ekf", "login: keep, hosts: [ekf"),
    ("hosts: [ekf", "boundTo: [Secret, none], hosts: [ekf"),
    ("hosts: [ekf", "forwardToken: true, hosts: [ekf"),
    # Access by model.
    ("alice.gate: [", "x.gate: [a.example.com/x/], alice.gate: ["),
    ("[a.example.com/serving/", "[x.alice.example.com, a.example.com/serving/"),
    ("    allow: {namespaces: [alice]}\n", ""),
    ("{namespaces: [", "{namespaces: [bob, "),
    ("{namespaces: [alice]", "{namespaces: [alice], identities: [bob/bot]"),
    (RULES, ""),
    ("review\n", "review\n    cacheTtl: 1h\n"),
    (": 1h", ": 2h"),
    ("    maxStreamDuration: 1h\n", ""),
]
"""What is replaced in one of the configs."""

OTHER = [
    ("version: 1", "version: 1\nprefix: /k"),
    ("{secret: ekf-tls}", "{secret: ekf-tls}, frontNamespace: x"),
    ("{secret: ekf-tls}", "{secret: ekf-tls}, className: x"),
    ("cluster: {", "cluster: {server: 'https://10.0.0.9', "),
    ("cluster: {", "cluster: {serverName: other, "),
    ("cluster: {", "cluster: {issuer: 'https://x.example', "),
    ("limits:", "door: {certificateIssuer: own}\nlimits:"),
    ("hosts: [ekf", "gatewayNamespace: edge, hosts: [ekf"),
    ("hosts: [ekf", "gatewayLabels: {istio: x}, hosts: [ekf"),
    ("hosts: [ekf", "headers: {user: x-user}, hosts: [ekf"),
    ("hosts: [ekf", "headers: {groups: x-groups}, hosts: [ekf"),
    ("a.example.com/serving/alice/", "a.example.com"),
    ("kserve.io}", "kserve.io, verb: list}"),
]
"""Changes whose reverse is a widening, too."""


def opened(before: str, after: str) -> list[str]:
    return widened(openings(config_of(before)), openings(config_of(after)))


@pytest.mark.parametrize(("old", "new"), [*WIDER, *OTHER])
def test_each_widening_is_one_line_and_its_reverse_is_none(old: str, new: str) -> None:
    text = CONFIG if old in CONFIG else BY_MODEL
    wider = text.replace(old, new, 1)
    (line,) = opened(text, wider)
    check(line, reason="opens")
    assert opened(text, text) == []
    assert bool(opened(wider, text)) is ((old, new) in OTHER)


def test_hosts_whose_login_tokens_pass_from_now_on_are_an_opening() -> None:
    login = CONFIG.replace("default: {", "default: {login: keep, ")
    without, more = (
        CONFIG[: CONFIG.index("gates:")],
        login.replace("b.example.com]", "c.example.com]"),
    )
    every = login.replace("hosts: [", "hosts: ['*', ")

    def past_logins(before: str, after: str) -> list[str]:
        return [each for each in opened(before, after) if "login at" in each]

    for before, after, where in (
        (without, login, "ekf.example.com, b.example.com"),
        (login, more, "c.example.com"),
        (login, every, "every host"),
    ):
        assert [each.rpartition(" at ")[2] for each in past_logins(before, after)] == [where]
        assert past_logins(after, after) == []
    assert past_logins(every, more) == past_logins(CONFIG, login) == []


NAMED = """\
version: 1
domains: {a: {host: a.example.com, front: istio, tls: outside}}
gates:
  default: {audience: a, hosts: [a.example.com]}
  serving: {audience: b, hosts: [b.example.com], gatewayLabels: {istio: serving}}
"""


def test_a_second_gate_opens_nothing_and_each_line_names_its_gate() -> None:
    first = NAMED[: NAMED.index("  serving")]
    assert opened(first, NAMED) == []
    for old, key in (("audience: a", "default"), ("audience: b", "serving")):
        (line,) = opened(NAMED, NAMED.replace(old, "audience: c"))
        check(line, f"gates.{key}.audience: ", reason="opens")
    (line,) = opened(NAMED, first)
    check(line, "gates.serving: removed", reason="opens")


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("serving:", "models:", "serving"),
        ("default:", "ekf:", "default"),
        # The gateway of a gate gets another gate's name, too.
        ("{istio: serving}", "{istio: x}}\n  more: {audience: b, hosts: [c.example.com],"
         " gatewayLabels: {istio: serving, app: y}", "serving"),
    ],
)  # fmt: skip
def test_a_gate_keeps_its_name(old: str, new: str, name: str) -> None:
    before, after = config_of(NAMED), config_of(NAMED.replace(old, new))
    with raises(RenamedGateError, match=f"{name} "):
        require_same_names(openings(before), after)
    require_same_names(openings(after), after)


def test_before_the_first_apply_nothing_is_exposed() -> None:
    (line,) = widened(None, openings(config_of(CONFIG)))
    assert line.startswith("https://ekf.example.com/kubernetes ")
    check(line, reason="opens")


def mark(name: str, key: str) -> Opens | None:
    """What a key of a level says about changes of it."""
    notes = levels()[name].fields[key].metadata
    return next((note for note in notes if isinstance(note, Opens)), None)


MARKS = {
    f"{name}.{key}".lstrip("."): mark(name, key)
    for name, level in levels().items()
    for key in level.fields
}
COVERED = ("gate", "domains.NAME.tls", "gates.NAME.authorize")
"""Values that are compared as a whole; what is in `gate` is compared in `gates`."""


def test_every_key_of_the_config_says_whether_a_change_of_it_opens_more() -> None:
    """Give a new key a mark of `config/types.py`."""
    whole = (*COVERED, *(name for name, opens in MARKS.items() if opens == NEVER))
    unmarked = {name for name, opens in MARKS.items() if opens is None and name not in levels()}
    assert [each for each in unmarked if not each.startswith(tuple(f"{w}." for w in whole))] == []
    for name, level in levels().items():
        for key, field in level.fields.items():
            if (opens := mark(name, key)) and get_origin(field.annotation) is Literal:
                assert opens.by != "laxer" or {*get_args(field.annotation)} <= {*opens.order}


def leaves(section: dict[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where what is stored has keys with a mark."""
    for key, value in section.items():
        place = (*at, key)
        opens = MARKS.get(name_of(place))
        if isinstance(value, dict) and opens in (None, ADDED, REMOVED):
            yield from leaves(value, place)
        if opens is not None:
            yield place


@pytest.mark.parametrize("text", [CONFIG, BY_MODEL], ids=["CONFIG", "BY_MODEL"])
def test_a_key_that_was_not_stored_may_have_been_stricter(text: str) -> None:
    after: Any = openings(config_of(text))
    for place in leaves(after):
        before: Any = copy.deepcopy(after)
        *way, last = place
        value = reduce(dict.__getitem__, way, before).pop(last)
        opens = MARKS[name_of(place)]
        assert opens is not None
        is_strictest = not value if opens == ADDED else value in opens.order[:1]
        asked = widened(before, after)
        assert bool(asked) is not (opens == NEVER or is_strictest), place
        assert not asked or last in asked[0] or last == "domains"


@pytest.mark.parametrize("name", ["domains", "cluster", "policy", "gates", "limits", "watch"])
def test_a_section_that_cannot_be_read_is_not_known(name: str) -> None:
    after: Any = openings(config_of(CONFIG))
    for before in ({**after, name: 5}, {k: v for k, v in after.items() if k != name}):
        lines = widened(before, after)
        assert lines
        assert name == "domains" or name in lines[0]


def test_named_hosts_guard_less_than_a_gate_for_every_host() -> None:
    every = CONFIG.replace("hosts: [ekf.example.com, ", "hosts: ['*', ")
    assert opened(CONFIG, every) == []
    (line,) = opened(every, CONFIG)
    assert line.startswith("gates.default.hosts: ")
    check(line, reason="opens")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{namespaces: [alice]", "{namespaces: [anywhere]"),
        ("[gate, alice.gate, x.gate]", "['*', gate, alice.gate]"),
    ],
    ids=["a namespace", "an audience"],
)
def test_no_name_stands_for_all_others(old: str, new: str) -> None:
    assert opened(BY_MODEL.replace(old, new), BY_MODEL)


POLICY = "policy: {audiences: [gate.example.com]}\n"


def test_adding_a_policy_opens_only_longer_lifetimes_than_gates_accept_without_one() -> None:
    without = CONFIG.replace(POLICY, "")
    assert opened(without, CONFIG) == []
    longer = CONFIG.replace(POLICY, POLICY.replace("]", "], longestLifetime: 25h"))
    (line,) = opened(without, longer)
    check(line, "policy.longestLifetime: 90000, was 86400", reason="opens")


def test_a_review_that_is_given_up_opens_more() -> None:
    reviewed = CONFIG.replace("hosts: [ekf", "check: review, hosts: [ekf")
    (line,) = opened(reviewed, CONFIG)
    check(line, "gates.default.check: jwt", reason="opens")
    assert opened(CONFIG, reviewed) == []


@pytest.mark.parametrize("key", ["keys", "certificateAuthority"])
def test_another_content_of_a_file_opens_more_and_its_path_does_not(key: str) -> None:
    def facts(content: str) -> ClusterFacts:
        return ClusterFacts(keys=content) if key == "keys" else ClusterFacts(authority_pem=content)

    here, there = (
        config_of(CONFIG.replace("cluster: {", f"cluster: {{{key}: {path}, "))
        for path in ("/here/file", "/there/file")
    )
    before = openings(here, facts("a"))
    assert widened(before, openings(there, facts("a"))) == []
    (line,) = widened(before, openings(here, facts("b")))
    assert line.startswith(f"cluster.{key}: sha256:")


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        ("tls: outside", "tls: outside, gateway: a/b", ["gateway: a/b"]),
        ("front: istio", "front: ingress", ["front: ingress"]),
        ("    audience: gate\n",
         "    audience: gate\n    engine: envoy-gateway\n    gateway: a/b\n",
         ["gates.default.engine: envoy-gateway", "gates.default.gateway",
          "gates.default.gatewayNamespace: envoy-"]),
    ],
    ids=["an existing Gateway", "another front", "another engine"],
)  # fmt: skip
def test_another_gateway_opens_more(old: str, new: str, keys: list[str]) -> None:
    changed = BY_MODEL.replace(old, new, 1)
    for before, after in ((BY_MODEL, changed), (changed, BY_MODEL)):
        assert opened(before, after)
    lines = opened(BY_MODEL, changed)
    assert all(any(key in line for line in lines) for key in keys), lines


def found(before: str | None, after: str) -> list[Finding]:
    known = None if before is None else openings(config_of(before))
    return ended(known, openings(config_of(after)))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (CONFIG, CONFIG.replace("host: ekf.", "host: new.")),
        (CONFIG, CONFIG.replace("version: 1", "version: 1\nprefix: /k")),
        (CONFIG, CONFIG.replace("[gate.example.com]", "[gate.example.com, b]").replace(
            "audience: gate.example.com", "audience: b")),
        (BY_MODEL, BY_MODEL.replace("alice.gate: [", "x.gate: [")),
        (CONFIG.replace("com]}", "com, other]}", 1), CONFIG),
    ],
    ids=["host", "prefix", "gate's audience", "place's audience", "policy's audience"],
)  # fmt: skip
def test_what_stops_working_is_one_finding_with_the_command_to_type(
    before: str, after: str
) -> None:
    (finding,) = found(before, after)
    check(finding.sentence, "daypass identity create", reason="ends")
    assert found(before, before) == found(after, after) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "hosts: ['*']"),
        (None, "check: jwt"),
        ("login: keep, hosts: [a.example.com]", "hosts: [a.example.com]"),
        ("hosts: [a.example.com]", "hosts: [a.example.com, b.example.com]"),
        (None, "engine: envoy-gateway, gateway: a/b, hosts: [c.example.com]"),
    ],
)
def test_a_gate_that_refuses_what_passed_is_a_finding(before: str | None, after: str) -> None:
    head = CONFIG[: CONFIG.index("gates:")]
    old, new = (
        head
        if each is None
        else f"{head}gates: {{default: {{audience: gate.example.com, {each}}}}}\n"
        for each in (before, after)
    )
    (finding,) = found(old, new)
    assert finding.check == "refuses"
    check(finding.sentence, reason="refuses")
    assert found(new, new) == found(new, old) == []
