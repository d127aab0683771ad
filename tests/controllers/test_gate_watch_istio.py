"""Revocation in a cluster, end to end: a real API server, `gate watch`, istiod and its Envoy.

Tokens come from TokenRequest; Secrets are deleted as anybody would; connections stay open.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from daypass._core.reasons import MESSAGES, Reason
from daypass.gate.revocation.revocation_list import ObjectKind
from daypass.gate.revocation.state_store import StateStore
from daypass.kube.resources import CONFIG_MAPS
from daypass.render.objects import GATE_KNOWN, KNOWN_PARTS
from support.deadline import eventually
from support.identities import Identity
from support.istio_gates import GUARDED, IstioGate, running_istio_gate
from support.raw import Answer, Caller
from support.tokens import AUDIENCE
from support.watching import HOME, Watch, identity_namespace, install, watching

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IstioGate]:
    with running_istio_gate(tmp_path_factory.mktemp("gate"), "closeAfter: 30s") as running:
        install(running.plane, running.config)
        yield running


@pytest.fixture(scope="module")
def watch(gate: IstioGate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    with watching(tmp_path_factory.mktemp("watch"), gate.plane, gate.config) as running:
        running.wait_leading()
        # Until then a token passes whose Secret no watch has seen yet.
        # A new one each time: there is a list without a record, so that older ones are refused.
        eventually("its list is in force", lambda: gate.send(gate.bearer()).code == 503)
        yield running


@contextmanager
def calling(gate: IstioGate, identity: Identity, **shape: Any) -> Iterator[Caller]:
    token = gate.plane.make_token(identity, **{"audiences": [AUDIENCE], **shape})
    with gate.conversation() as conversation:
        yield Caller(conversation, GUARDED, token)


@contextmanager
def two_callers(gate: IstioGate) -> Iterator[tuple[Identity, Caller, Caller]]:
    """An identity and its caller, and a bystander; both pass."""
    namespace = identity_namespace(gate.plane)
    one, other = (gate.plane.make_identity(namespace, name) for name in ("one", "other"))
    with calling(gate, one) as caller, calling(gate, other) as bystander:
        caller.becomes(200)
        bystander.becomes(200)
        yield one, caller, bystander


def assert_revoked(answer: Answer) -> None:
    assert answer.json["message"].startswith(MESSAGES[Reason.DENIED]), answer


def test_a_deleted_secret_is_refused_on_an_open_connection_and_nobody_else(
    gate: IstioGate, watch: Watch
) -> None:
    with two_callers(gate) as (one, caller, bystander):
        gate.plane.admin.delete(one.secret_path)
        assert_revoked(caller.becomes(401))
        assert bystander.ask().code == 200


def test_a_recreated_service_account_is_another_one(gate: IstioGate, watch: Watch) -> None:
    namespace = identity_namespace(gate.plane)
    identity = gate.plane.make_identity(namespace)
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/bot"
    with calling(gate, identity) as caller:
        caller.becomes(200)
        gate.plane.admin.delete(path)
        assert_revoked(caller.becomes(401))
        again = gate.plane.make_identity(namespace)
        with calling(gate, again) as newcomer:
            newcomer.becomes(200)
        assert caller.ask().code == 401


def test_tokens_of_a_namespace_that_nobody_follows_are_refused(
    gate: IstioGate, watch: Watch
) -> None:
    unlabelled = gate.plane.make_identity()
    with calling(gate, unlabelled) as caller:
        answer = caller.becomes(503)
        assert answer.json["message"].startswith(MESSAGES[Reason.UNKNOWN])


def test_keys_and_the_list_outlive_istiod(gate: IstioGate, watch: Watch) -> None:
    with two_callers(gate) as (one, caller, bystander):
        gate.gateway.stop_istiod()
        gate.plane.admin.delete(one.secret_path)
        eventually("it is published", lambda: _names(watch, one.secret_uid))
        assert bystander.ask().code == 200
        gate.gateway.start_istiod()
        assert_revoked(caller.becomes(401))
        bystander.becomes(200)


def test_while_the_watch_hangs_the_gate_closes_and_opens_again(
    gate: IstioGate, watch: Watch
) -> None:
    identity = gate.plane.make_identity(identity_namespace(gate.plane))
    with calling(gate, identity) as caller:
        caller.becomes(200)
        with watch.child.suspended():
            answer = caller.becomes(503)
            assert answer.json["message"].startswith(MESSAGES[Reason.UNKNOWN])
        caller.becomes(200)


def test_without_any_watch_the_gate_closes_by_itself_and_opens_with_the_next_one(
    gate: IstioGate, watch: Watch, tmp_path: Path
) -> None:
    """SIGKILL: nobody can say any more that it is to close."""
    with two_callers(gate) as (one, caller, bystander):
        record = StateStore(gate.cluster, HOME)
        eventually("it is known", lambda: one.secret_uid in record.read_known()[ObjectKind.SECRET])
        watch.kill()
        gate.plane.admin.delete(one.secret_path)
        answer = bystander.becomes(503)
        assert answer.json["message"].startswith(MESSAGES[Reason.UNKNOWN])
        assert gate.send(host="other.example.com", sni="other.example.com").code == 200
        with watching(tmp_path / "next", gate.plane, gate.config) as following:
            following.wait_leading()
            bystander.becomes(200)
            assert_revoked(caller.becomes(401))


def test_after_the_record_was_lost_no_token_of_before_passes_and_new_ones_do(
    gate: IstioGate, tmp_path: Path
) -> None:
    namespace = identity_namespace(gate.plane)
    one, other = (gate.plane.make_identity(namespace, name) for name in ("one", "other"))
    with calling(gate, one) as caller, calling(gate, other) as bystander:
        with watching(tmp_path / "first", gate.plane, gate.config):
            caller.becomes(200)
            bystander.becomes(200)
        gate.plane.admin.delete(one.secret_path)
        for name in (GATE_KNOWN, *(f"{GATE_KNOWN}-{part}" for part in KNOWN_PARTS)):
            if gate.cluster.find(CONFIG_MAPS, name, HOME) is not None:
                gate.cluster.delete(CONFIG_MAPS, name, HOME)
        with watching(tmp_path / "next", gate.plane, gate.config) as watch:
            caller.becomes(401)
            bystander.becomes(401)
            assert len(watch.events("record-lost")) == 1
            with calling(gate, other) as newcomer:
                newcomer.becomes(200)
            assert caller.ask().code == 401


def _names(watch: Watch, uid: str) -> bool:
    return uid in [each["name"] for each in watch.events("revoked")]
