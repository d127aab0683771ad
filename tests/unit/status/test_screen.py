"""The screen of `daypass status`: what is wrong first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from daypass._core.findings import Finding, exit_code, skipped
from daypass.cli.status import screen
from daypass.status.report import (
    ComponentState,
    DomainState,
    IdentitiesState,
    Overview,
    PublishedState,
    judge_certificate,
    judge_component,
    judge_drift,
    judge_identities,
    judge_published,
    worst_first,
)
from support.messages import UPDATE

SCREENS = Path(__file__).parents[2] / "golden" / "screens"
ENVOY, OURS = "docker.io/envoyproxy/envoy:distroless-v1.40.0", "registry.example.com/daypass:0.1.0"
RULE = (
    "alice needs this rule in a Role in namespace daypass:\n"
    '- apiGroups: [""]\n  resources: ["pods"]\n  verbs: ["list"]'
)
HEALTHY = Overview(
    version="0.1.0",
    target="https://10.0.0.1:6443",
    findings=[],
    domains=[
        DomainState(name=name, host=f"{name}.example.com", front=front, days=days)
        for name, front, days in (
            ("ekf", "ingress-nginx", 71),
            ("lab", "istio", 44),
            ("serving", "gateway-api", None),
        )
    ],
    components=[
        ComponentState(name="door", ready=2, wanted=2, image=ENVOY),
        ComponentState(name="authorizer", ready=2, wanted=2, image=OURS),
        ComponentState(name="watch", ready=2, wanted=2, image=OURS),
        ComponentState(name="gate default", ready=3, wanted=3),
        ComponentState(name="gate serving", ready=2, wanted=2),
    ],
    published=PublishedState(
        leader="daypass-gate-watch-7d9c6b5f4-x2x7z", credentials=5000, age=130.0, closes=470.0,
    ),
    identities=IdentitiesState(total=5000, federated=40),
    drift=[],
)  # fmt: skip


def judged(status: Overview) -> Iterator[Finding]:
    """All that is found, as for a cluster."""
    for each in status.components:
        selector = f"app.kubernetes.io/name=daypass-{each.name}"
        yield from judge_component(each, "daypass", selector)
    assert status.published is not None
    yield from judge_published(status.published, 600, "daypass")
    for domain in status.domains:
        renewal = "kubectl describe certificates -n daypass"
        yield from judge_certificate(domain.host, domain.days, renewal)
    yield from judge_drift(status.drift)
    yield from judge_identities(status.identities)


def broken() -> Overview:
    """The watch has stopped, a certificate ends, and Pods are missing."""
    door, authorizer, watch, gate, serving = HEALTHY.components
    return replace(
        HEALTHY,
        domains=[HEALTHY.domains[0], replace(HEALTHY.domains[1], days=3), HEALTHY.domains[2]],
        components=[
            door, replace(authorizer, ready=1), replace(watch, ready=0), gate,
            replace(serving, ready=1),
        ],
        published=PublishedState(
            leader="", credentials=5000, age=512.0, closes=88.0, lacking="serving"
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
    ]
    unseen = [replace(each, ready=None, wanted=None) for each in HEALTHY.components]
    known = PublishedState(leader=None)
    return replace(
        HEALTHY, components=unseen, published=known, identities=None, drift=None, findings=notes
    )


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [("healthy", HEALTHY, 0), ("broken", broken(), 3), ("half", half(), 0)],
)
def test_a_screen(name: str, status: Overview, code: int) -> None:
    found = worst_first([*status.findings, *judged(status)])
    text = screen(replace(status, findings=found))
    if UPDATE:
        SCREENS.mkdir(exist_ok=True)
        (SCREENS / f"{name}.txt").write_text(text)
    assert text == (SCREENS / f"{name}.txt").read_text()
    assert exit_code(found) == code


def test_text_of_others_cannot_steer_the_terminal() -> None:
    door = replace(HEALTHY.components[0], image="x/\x1b[2J")
    published = PublishedState(leader="\x1b]0;x\x07")
    bad = skipped("rights", "\x1b[31mred\u202e")
    text = screen(replace(HEALTHY, components=[door], published=published, findings=[bad]))
    assert all(character.isprintable() or character == "\n" for character in text)
