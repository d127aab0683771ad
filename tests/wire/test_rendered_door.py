"""The door as its pod runs it, from the rendered manifests, in front of a real API server."""

from __future__ import annotations

import http.client
import itertools
import ssl
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import render_objects
from daypass.rules.reasons import REASON_HEADER
from support import messages
from support.authority import Authority
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.doors import CHECK, assert_refused, post
from support.identities import Identity
from support.raw import Answer
from support.rendered import RenderedDoor, config_of, running_pod, token_request

CONFIG = """\
version: 1
domains:
  ekf: {host: ekf.example.com, front: ingress-nginx, tls: {secret: ekf-tls}}
  alb: {host: alb.example.com, front: ingress, tls: outside}
limits: {requestsPerSecond: 1000, perSourcePerSecond: 2}
metrics: {prometheusNamespaces: [monitoring]}
"""
"""With a fixed list of statistics, by some of which the probes decide."""
CLIENTS = itertools.count(1)


@pytest.fixture(scope="module")
def identity(control_plane: ControlPlane) -> Identity:
    return control_plane.make_identity()


def pod(
    folder: Path, plane: ControlPlane, authority_pem: str
) -> AbstractContextManager[RenderedDoor]:
    """A door before the plane, which trusts this authority."""
    config = config_of(CONFIG)
    objects = render_objects(config, ClusterFacts())
    return running_pod(folder, config, objects, api_server=plane.port, authority_pem=authority_pem)


@pytest.fixture(scope="module")
def door(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RenderedDoor]:
    with pod(tmp_path_factory.mktemp("pod"), control_plane, control_plane.ca_pem) as running:
        yield running


def probe(door: RenderedDoor, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", door.envoy.port("probe"), timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def somebody() -> str:
    """The header of a client that nobody was before: each has a rate of its own."""
    return f"X-Forwarded-For: 2001:db8:0:{next(CLIENTS):x}::1"


def check(door: RenderedDoor, *headers: str, host: str = "ekf.example.com") -> Answer:
    extra = (somebody(), *headers)
    return door.send(post(CHECK, host=host, method="GET", headers=(), body=b"", extra=extra))


def exchange(
    door: RenderedDoor, identity: Identity, *headers: str, client: str | None = None
) -> Answer:
    """A TokenRequest with the long-lived token, by somebody or by `client`, a header."""
    request = token_request(identity, "ekf.example.com", client or somebody(), *headers)
    return door.send(request)


def test_a_token_is_exchanged_and_the_audit_log_shows_the_client_of_the_ingress(
    door: RenderedDoor, identity: Identity, control_plane: ControlPlane
) -> None:
    since = control_plane.audit_position()
    answer = exchange(door, identity, client="X-Forwarded-For: 192.0.2.66, 198.51.100.7")
    assert answer.code == 201, answer.body

    def source() -> list[str] | None:
        for event in control_plane.audit_events(since=since):
            if event["user"]["username"] == identity.user:
                addresses: list[str] = event["sourceIPs"]
                return addresses
        return None

    # One hop is trusted: the address before it is the client's own invention.
    assert eventually("the audit event is written", source)[0] == "198.51.100.7"


def test_each_client_behind_the_ingress_has_its_own_rate_limit(door: RenderedDoor) -> None:
    request = post(CHECK, method="GET", headers=(), body=b"", extra=(somebody(),))
    assert 429 in [door.send(request).code for _ in range(40)]
    assert check(door).code == 403


@pytest.mark.parametrize(
    "request_line",
    ["GET /readyz", "GET /ready", "GET /alive", "GET /kubernetes/readyz", "GET /kubernetes"],
)
def test_the_public_listener_has_neither_probes_nor_the_api_servers_health(
    door: RenderedDoor, request_line: str
) -> None:
    method, path = request_line.split(" ")
    request = post(path, method=method, headers=(), body=b"", extra=(somebody(),))
    assert_refused(door.send(request), 404)


@pytest.mark.parametrize("scheme", ["http", "HTTP"])
def test_a_request_that_reached_the_ingress_over_plain_http_is_refused(
    door: RenderedDoor, identity: Identity, control_plane: ControlPlane, scheme: str
) -> None:
    since = control_plane.audit_position()
    answer = exchange(door, identity, f"X-Forwarded-Proto: {scheme}")
    assert (answer.code, answer.json["reason"]) == (403, "Forbidden")
    messages.check(answer.json["message"], reason=answer.headers[REASON_HEADER])
    assert exchange(door, identity, "X-Forwarded-Proto: https").code == 201

    def arrived() -> list[str]:
        return [
            event["verb"]
            for event in control_plane.audit_events(since=since)
            if event["user"]["username"] == identity.user
        ]

    eventually("the good one is in the audit log", arrived)
    assert len(arrived()) == 1


def test_a_client_cannot_set_the_header_that_stores_the_scheme(door: RenderedDoor) -> None:
    forged = "X-Daypass-Front-Scheme: http"
    assert "system:anonymous" in check(door, forged).json["message"]
    forged = "X-Daypass-Front-Scheme: https"
    refused = check(door, "X-Forwarded-Proto: http", forged)
    assert (refused.code, refused.json["reason"]) == (403, "Forbidden")
    assert "system:anonymous" not in refused.json["message"]


def test_the_scheme_is_ignored_where_tls_ends_before_the_ingress(door: RenderedDoor) -> None:
    answer = check(door, "X-Forwarded-Proto: http", host="alb.example.com")
    assert "system:anonymous" in answer.json["message"]


@pytest.mark.parametrize(
    ("path", "code"),
    [("/alive", 200), ("/ready", 200), ("/", 404), ("/readyz", 404), ("/stats", 404), (CHECK, 404)],
)
def test_the_port_of_the_probes_answers_them_itself_and_leads_nowhere(
    door: RenderedDoor, path: str, code: int
) -> None:
    assert probe(door, path) == code


def test_a_door_that_does_not_trust_the_api_server_lives_and_is_not_ready(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    with pod(tmp_path, control_plane, Authority().pem) as door:
        assert probe(door, "/ready") == 503
        assert probe(door, "/alive") == 200
        # A client that still sends requests gets an answer from the door itself.
        assert_refused(check(door), 503)
        # kube-root-ca.crt is followed, as a volume brings it.
        door.volumes["authority"].put({"ca.crt": control_plane.ca_pem})
        eventually("the door is ready", lambda: probe(door, "/ready") == 200)
        assert "system:anonymous" in check(door).json["message"]


def test_a_renewed_certificate_is_shown_without_a_restart(door: RenderedDoor) -> None:
    renewed = Authority()
    pair = renewed.server(door.host)
    with pytest.raises(ssl.SSLCertVerificationError):
        door.send(b"", authority=renewed)
    door.volumes["tls"].put({"tls.crt": pair.certificate_pem, "tls.key": pair.key_pem})

    def shown() -> bool:
        try:
            return door.send(post("/", extra=(somebody(),)), authority=renewed).code == 404
        except ssl.SSLCertVerificationError:
            return False

    try:
        eventually("the new certificate is shown", shown)
    finally:
        pair = door.authority.server(door.host)
        door.volumes["tls"].put({"tls.crt": pair.certificate_pem, "tls.key": pair.key_pem})
        eventually("the old one is back", lambda: check(door).code == 403)
