"""The screen of `daypass status`: what is wrong first, on one screen of 100 columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from daypass._core.findings import Finding, exit_code, skipped
from daypass.cli.status import screen
from daypass.status.judgement import (
    judge_certificate,
    judge_drift,
    judge_gateway,
    judge_identities,
    judge_part,
    judge_published,
    worst_first,
)
from daypass.status.report import (
    DomainState,
    IdentitiesState,
    Overview,
    PartState,
    PublishedState,
    Traffic,
)
from support.messages import UPDATE, check

SCREENS = Path(__file__).parents[2] / "golden" / "screens"
COLUMNS, LINES = 100, {"broken": 48}
"""Of lines: where nothing is right; else 40."""
ENVOY, OURS = "docker.io/envoyproxy/envoy:distroless-v1.40.0", "registry.example.com/daypass:0.1.0"
RULE = (
    "alice needs this rule in a Role in namespace daypass:\n"
    '- apiGroups: [""]\n  resources: ["pods/proxy"]\n  verbs: ["get"]'
)
HEALTHY = Overview(
    version="0.1.0",
    place="https://10.0.0.1:6443",
    metrics="Prometheus monitoring/prometheus-operated, over 5 min",
    findings=[],
    domains=[
        DomainState(name=name, host=f"{name}.example.com", front=front, days=days)
        for name, front, days in (
            ("ekf", "ingress-nginx", 71),
            ("lab", "istio", 44),
            ("serving", "gateway-api", None),
        )
    ],
    parts=[
        PartState(
            name="door", ready=2, wanted=2, image=ENVOY,
            traffic=Traffic(
                rate=12.4, refused=0.009, failed=0.0, p50=0.003, p99=0.018,
                reasons={"not-published": 0.006, "unauthorized": 0.003},
            ),
        ),
        PartState(name="authorizer", ready=2, wanted=2, image=OURS),
        PartState(name="watch", ready=2, wanted=2, image=OURS),
        PartState(
            name="gate default", ready=3, wanted=3,
            traffic=Traffic(
                rate=210.3, refused=0.012, reasons={"unknown-credential": 0.009, "expired": 0.003}
            ),
        ),
        PartState(
            name="gate serving", ready=2, wanted=2, traffic=Traffic(rate=14.2, refused=0.0)
        ),
    ],
    published=PublishedState(
        leader="daypass-gate-watch-7d9c6b5f4-x2x7z", credentials=5000, age=130.0, closes=470.0,
        keys=4.0,
    ),
    identities=IdentitiesState(total=5000, federated=40),
    drift=[],
)  # fmt: skip


def judged(status: Overview) -> Iterator[Finding]:
    """All that is found, as for a cluster."""
    for part in status.parts:
        yield from judge_part(part, "daypass", f"app.kubernetes.io/name=daypass-{part.name}")
    yield from judge_gateway("default", {"ingress-a", "ingress-b"}, {"ingress-a", "ingress-b"})
    assert status.published is not None
    yield from judge_published(status.published, 600, "daypass")
    for each in status.domains:
        yield from judge_certificate(
            each.host, each.days, "kubectl describe certificates -n daypass"
        )
    yield from judge_drift(status.drift)
    yield from judge_identities(status.identities)


def broken() -> Overview:
    """The watch has stopped, keys are old, a certificate ends, the API server is slow."""
    door, authorizer, watch, gate, serving = HEALTHY.parts
    return replace(
        HEALTHY,
        domains=[HEALTHY.domains[0], replace(HEALTHY.domains[1], days=3), HEALTHY.domains[2]],
        parts=[
            replace(door, traffic=replace(door.traffic, p99=2.4, failed=0.07)),
            replace(authorizer, ready=1),
            replace(watch, ready=0),
            replace(gate, traffic=Traffic(rate=198.0, refused=0.97, reasons={"unknown": 0.96})),
            serving,
        ],
        published=PublishedState(
            leader="", credentials=5000, age=512.0, closes=88.0, keys=511.0, lacking="serving"
        ),
        identities=IdentitiesState(
            total=5000, overdue=["ml/old"], expiring=["ml/bot (2026-12-03)"],
            unused=["a/x", "b/y", "c/z"], federated=40,
        ),
        drift=["Deployment daypass/daypass-door"],
    )  # fmt: skip


def half() -> Overview:
    """The user may see little."""
    notes = [
        skipped("drift", "what differs from the config is not known: cannot list namespaces"),
        skipped("rights", "the Pods of gate default: you may not list pods in istio-system", RULE),
        skipped("metrics", "cannot query Prometheus https://p.example.com: HTTP 401", "a token"),
    ]
    unseen = [replace(each, ready=None, wanted=None, traffic=Traffic()) for each in HEALTHY.parts]
    known = PublishedState(leader=None)
    return replace(
        HEALTHY, metrics="", parts=unseen, published=known, identities=None, drift=None,
        findings=notes,
    )  # fmt: skip


def machine() -> Overview:
    """`daypass up`."""
    domain = DomainState(name="here", host="localhost", front="envoy", days=None)
    door, _, _, gate, _ = HEALTHY.parts
    parts = [replace(each, ready=None, wanted=None, image="") for each in (door, gate)]
    return replace(
        HEALTHY, place="/home/me/.local/state/daypass/0123", metrics="1 of 1 programs, over 2 s",
        domains=[domain], parts=parts, published=None, drift=None,
        identities=IdentitiesState(total=3),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [("healthy", HEALTHY, 0), ("broken", broken(), 3), ("half", half(), 0), ("up", machine(), 0)],
)
def test_a_screen(name: str, status: Overview, code: int) -> None:
    found = worst_first([*status.findings, *(judged(status) if name != "up" else ())])
    text = screen(replace(status, findings=found))
    if UPDATE:
        SCREENS.mkdir(exist_ok=True)
        (SCREENS / f"{name}.txt").write_text(text)
    assert text == (SCREENS / f"{name}.txt").read_text()
    lines = text.splitlines()
    assert (len(lines) <= LINES.get(name, 40), [line for line in lines if len(line) > COLUMNS]) == (
        True,
        [],
    )
    assert exit_code(found) == code


def test_each_finding_has_its_message() -> None:
    gone = judge_gateway("default", {"ingress-a", "ingress-b"}, {"ingress-a"})
    for each in (*judged(broken()), *gone):
        check(f"{each.fact}\n{each.hint}".rstrip(), reason=each.check)


def test_text_of_others_cannot_steer_the_terminal() -> None:
    door = replace(
        HEALTHY.parts[0], image="x/\x1b[2J", traffic=Traffic(rate=1.0, reasons={"\x1b[1m": 1.0})
    )
    published = PublishedState(leader="\x1b]0;x\x07")
    bad = skipped("metrics", "\x1b[31mred\u202e")
    text = screen(replace(HEALTHY, parts=[door], published=published, findings=[bad]))
    assert all(character.isprintable() or character == "\n" for character in text)


@pytest.mark.parametrize(
    ("reason", "refused", "is_found"),
    [("signature", 0.1, True), ("signature", 0.01, False), ("expired", 0.1, False)],
)
def test_keys_that_a_gate_lacks_show_before_most_is_refused(
    reason: str, refused: float, is_found: bool
) -> None:
    traffic = Traffic(rate=10.0, refused=refused, reasons={reason: refused})
    gate = PartState(name="gate default", ready=1, wanted=1, traffic=traffic)
    found = [each.check for each in judge_part(gate, "istio-system", "istio=ingressgateway")]
    assert found == (["refusals"] if is_found else [])


@pytest.mark.parametrize("home", ["", "daypass"])
@pytest.mark.parametrize("reason", ["signature", "unknown-credential", "unknown", "expired"])
def test_each_finding_about_traffic_says_what_to_do(home: str, reason: str) -> None:
    traffic = Traffic(rate=1.0, refused=0.9, failed=0.1, p99=2.0, reasons={reason: 0.9})
    for name in ("door", "gate default"):
        found = [*judge_part(PartState(name=name, traffic=traffic), home, "a=b")]
        assert {each.check for each in found} >= {"failures", "refusals"}
        assert all(each.hint for each in found)


def test_strangers_are_no_failure() -> None:
    for name, reason in (("door", "not-published"), ("gate default", "no-token")):
        traffic = Traffic(rate=0.0, refused=1.0, reasons={reason: 1.0})
        (found,) = judge_part(PartState(name=name, traffic=traffic), "", "")
        assert (found.check, exit_code([found])) == ("refusals", 0)
