"""A running authorizer before an API server of the test's own, and a gate that asks it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daypass._core.clock import SYSTEM_CLOCK
from daypass.local.gate_services import LocalAuthorizer
from daypass.render.envoy.authorizer_filters import AUTHORIZER
from daypass.render.envoy.xds import Json
from daypass.rules.published import Published
from support.doors import EKF
from support.fake_reviews import FakeReviews
from support.gates import RunningGate, running_gate
from support.rendered import config_of
from support.tokens import AUDIENCE, ISSUER, LONGEST_SECONDS, Signer
from support.unlimited_reviews import unlimited_reviews


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedGate:
    """A gate on Envoy, its authorizer, the API server that is asked, and the audit events."""

    gate: RunningGate
    authorizer: LocalAuthorizer
    reviews: FakeReviews
    events: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def running_authorizer(
    folder: Path, reviews: FakeReviews, events: list[dict[str, Any]]
) -> Iterator[LocalAuthorizer]:
    """One that guards EKF for AUDIENCE, and waits for every TokenReview, as does a gate that starts
    inside the block.
    """
    config = config_of(f"""\
version: 1
domains: {{ekf: {{host: {EKF}, front: envoy}}}}
policy: {{audiences: [{AUDIENCE}], longestLifetime: {LONGEST_SECONDS}s}}
gates: {{default: {{engine: envoy, audience: {AUDIENCE}, check: review}}}}
""")
    with unlimited_reviews():
        authorizer = LocalAuthorizer(
            config, ISSUER, reviews.access, folder / "a.sock", SYSTEM_CLOCK,
            lambda line: events.append(json.loads(line)), checks_credentials=False,
        )  # fmt: skip
        try:
            yield authorizer
        finally:
            authorizer.stop()


@contextmanager
def reviewed_gate(
    folder: Path,
    signer: Signer,
    reviews: FakeReviews,
    published: Published | None = None,
    change: Callable[[dict[str, Json]], None] = lambda files: None,
) -> Iterator[ReviewedGate]:
    """`published`, `change`: as for `running_gate`."""
    events: list[dict[str, Any]] = []
    with (
        running_authorizer(folder, reviews, events) as authorizer,
        running_gate(
            folder, signer.jwks, check="review",
            published=published, authorizer_socket=str(authorizer.path), change=change,
        ) as gate,
    ):  # fmt: skip
        yield ReviewedGate(gate=gate, authorizer=authorizer, reviews=reviews, events=events)


def ask_at(files: dict[str, Any], *, port: int) -> None:
    """Make the gate's Envoy ask at a port of loopback."""
    clusters = files["envoy.json"]["static_resources"]["clusters"]
    (cluster,) = (each for each in clusters if each["name"] == AUTHORIZER)
    where = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] = where
