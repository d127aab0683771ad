"""What the gate makes of the credentials that exist, and of denials by hand, on a real Envoy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest

from daypass._core.secret import Secret
from daypass.render.envoy.bootstrap import published_file, published_files, to_json
from daypass.render.envoy.xds import Json
from daypass.rules.claims import Bound
from daypass.rules.decision import GateRequest, Rules, decide
from daypass.rules.published import (
    CREDENTIALS,
    DENIALS,
    Published,
    Shard,
    credential_of,
    shard_name,
    shard_of,
)
from daypass.rules.reasons import MESSAGES, REASON_HEADER, Reason
from support import publishing
from support.deadline import eventually
from support.doors import EKF
from support.gate_differences import assert_refused, reason_in, seen
from support.gates import RunningGate, manager_of, running_gate
from support.h2c import Http2
from support.publishing import CREDENTIAL, closing_in, denied_by_hand
from support.raw import Caller, Conversation
from support.single_changes import RULES
from support.tokens import ACCOUNT_UID, SECRET_UID, USER, Signer

SIGNER = Signer("ours")
token = SIGNER.good
LONG_LIVED = SIGNER.sign({"iss": "kubernetes/serviceaccount", "sub": USER})
SHARDS = 4
"""Each is one of the 128 inotify instances that Linux gives a user."""
MINE = shard_of(SECRET_UID, SHARDS)
OTHER_UID = "00c2e700-0000-4000-8000-000000000001"
"""Of a credential in another shard."""
SAME_PART_UID = "5fc2e700-0000-4000-8000-000000000001"
published = partial(publishing.published, shards=SHARDS)
BOTH = published({SECRET_UID, OTHER_UID})
SHARD_FILE, DENIALS_FILE = published_file(shard_name(MINE)), published_file(DENIALS)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGate]:
    with started(tmp_path_factory.mktemp("gate")) as running:
        yield running


@pytest.fixture
def gate(running: RunningGate) -> RunningGate:
    """A gate that knows the credentials of `token()` and of another shard, and no denials."""
    running.publish(BOTH)
    lines = [bearer(of(uid)) for uid in (SECRET_UID, OTHER_UID)]
    eventually(
        "the gate is as it was", lambda: all(running.send([each]).code == 200 for each in lines)
    )
    return running


def started(folder: Path, **more: Any) -> Any:
    return running_gate(folder, SIGNER.jwks, **{"published": BOTH, **more})


def of(uid: object, account: object = ACCOUNT_UID, **changes: Any) -> str:
    """A token that is bound to the Secret with this UID. `account`: the UID of whose it is."""
    bound = {"namespace": "team", "secret": {"uid": uid}, "serviceaccount": {"uid": account}}
    return token(**{"kubernetes.io": bound, **changes})


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


def reason_by(rules: Rules, sent: str) -> Reason:
    """What the decision says to a request with a token that the API server has signed."""
    request = GateRequest(host=EKF, authorizations=(f"Bearer {sent}",))
    return decide(request, rules, closing_in(0), signed=True).reason


def becomes(gate: RunningGate, sent: str, reason: Reason) -> None:
    eventually(f"it says {reason}", lambda: reason_in(gate.send([bearer(sent)])) is reason)


@contextmanager
def calling(gate: RunningGate, *lines: str) -> Iterator[Caller]:
    """A caller with a good token on a connection that stays open."""
    with gate.connect() as connection:
        yield Caller(Conversation(connection), EKF, Secret(token()), *lines)


def test_of_two_identities_each_passes_with_its_own_secret_alone(gate: RunningGate) -> None:
    secrets, accounts = (SECRET_UID, SAME_PART_UID), (ACCOUNT_UID, OTHER_UID)
    own = set(map(credential_of, secrets, accounts))
    for existing in ({*own}, {min(own)}, {max(own)}, set[str]()):
        gate.publish(published({credential_of(OTHER_UID, ACCOUNT_UID), *existing}))
        for pair in product(secrets, accounts):
            is_there = credential_of(*pair) in existing
            found = Reason.ALLOWED if is_there else Reason.UNKNOWN_CREDENTIAL
            becomes(gate, of(*pair), found)


def test_a_credential_that_is_gone_is_refused_on_a_connection_opened_before(
    gate: RunningGate,
) -> None:
    with calling(gate) as caller:
        assert caller.ask().code == 200
        gate.publish(published({OTHER_UID}))
        assert_refused(caller.becomes(401), Reason.UNKNOWN_CREDENTIAL)
        assert gate.send([bearer(of(OTHER_UID))]).code == 200
        gate.publish(BOTH)
        caller.becomes(200)


def test_a_credential_that_is_gone_is_refused_over_http2_on_an_open_connection(
    gate: RunningGate,
) -> None:
    fields = [(":method", "GET"), (":scheme", "https"), (":authority", EKF), (":path", "/"),
              ("authorization", f"Bearer {token()}")]  # fmt: skip
    with Http2(gate.port, authority_pem=gate.authority.pem, name=EKF) as client:
        assert client.request(fields).code == 200
        gate.publish(published({OTHER_UID}))
        reply = eventually(
            "a 401", lambda: r if (r := client.request(fields)).code == 401 else None
        )
    assert reply.headers[REASON_HEADER] == Reason.UNKNOWN_CREDENTIAL


DENIED: dict[str, dict[str, Any]] = {
    "secret": {"objects": [SECRET_UID]},
    "account": {"objects": [ACCOUNT_UID]},
    "token": {"tokens": ["j-1"]},
    "namespace": {"namespaces": ["team"]},
    "among many": {"tokens": [f"j-{number}" for number in range(1000)]},
}


@pytest.mark.parametrize("kind", DENIED)
def test_what_is_denied_is_refused_on_a_connection_opened_before(
    gate: RunningGate, kind: str
) -> None:
    with calling(gate) as caller:
        assert caller.ask().code == 200
        gate.publish(published({SECRET_UID, OTHER_UID}, **DENIED[kind]))
        assert_refused(caller.becomes(401), Reason.DENIED)
        gate.publish(BOTH)
        caller.becomes(200)


def test_a_denial_takes_precedence_over_a_credential_that_is_gone(gate: RunningGate) -> None:
    gate.publish(published((), objects=[SECRET_UID]))
    eventually("none is left", lambda: gate.send([bearer(of(OTHER_UID))]).code == 401)
    eventually(
        "it is denied",
        lambda: gate.send([bearer(token())]).headers[REASON_HEADER] == Reason.DENIED,
    )


def test_a_long_lived_token_is_refused_as_such_while_nothing_is_known(gate: RunningGate) -> None:
    gate.publish(Published.closed(SHARDS))
    eventually("it is closed", lambda: gate.send([bearer(token())]).code == 503)
    assert_refused(gate.send([bearer(LONG_LIVED)]), Reason.LONG_LIVED)
    assert_refused(gate.send([]), Reason.NO_TOKEN)


def test_a_closed_gate_refuses_everybody(gate: RunningGate) -> None:
    with calling(gate) as caller:
        assert caller.ask().code == 200
        gate.publish(Published.closed(SHARDS))
        answer = caller.becomes(503)
        assert_refused(answer, Reason.UNKNOWN)
        assert answer.json["message"] == MESSAGES[Reason.UNKNOWN]
        assert answer.headers["retry-after"]
        gate.publish(BOTH)
        caller.becomes(200)


FORGED = [
    f"daypass.credential: {OTHER_UID}",
    "daypass.jti: j-2",
    f"x-envoy-filter-state: daypass.credential={OTHER_UID}",
    f"x-daypass-secret-uid: {OTHER_UID}",
]


@pytest.mark.parametrize("line", FORGED)
def test_client_headers_cannot_name_the_credential_of_a_token(gate: RunningGate, line: str) -> None:
    gate.publish(published({OTHER_UID}))
    with calling(gate, line) as caller:
        assert_refused(caller.becomes(401), Reason.UNKNOWN_CREDENTIAL)


def test_nothing_of_the_check_travels_on(gate: RunningGate) -> None:
    headers = seen(gate.send([bearer(token())]))
    assert not {SECRET_UID, ACCOUNT_UID, "j-1"} & {*headers.values()}
    assert set(headers) == {
        "host", "kubeflow-userid", "kubeflow-groups", "x-forwarded-for", "x-forwarded-proto",
        "x-request-id", "x-envoy-external-address",
    }  # fmt: skip


def deleted(gate: RunningGate, name: str) -> None:
    (gate.folder / name).unlink()


def rejected(gate: RunningGate, name: str) -> None:
    content = json.loads((gate.folder / name).read_text())
    (config,) = content["resources"]
    looked = f"extension_config_discovery.*{config['name']}.update_(rejected|failure)"
    before = sum(gate.envoy.stats(looked).values())
    config["typed_config"]["matcher"] = {"matcher_list": {"matchers": []}}  # Envoy takes none
    gate.write(name, to_json(content))
    eventually("Envoy has looked", lambda: sum(gate.envoy.stats(looked).values()) > before)


def unreadable(gate: RunningGate, name: str) -> None:
    gate.write(name, "{")


NOT_RENEWED: dict[str, tuple[str, Callable[[int], Published], Reason]] = {
    "a shard": (
        SHARD_FILE, lambda closes: BOTH.with_shard(MINE, Shard(closes_unix=closes)),
        Reason.ALLOWED,
    ),
    "denials": (
        DENIALS_FILE, lambda closes: replace(BOTH, denials=denied_by_hand(closes, tokens={"j-1"})),
        Reason.UNKNOWN,
    ),
}  # fmt: skip
"""A file, how it refuses `token()` before it closes, and what others get then."""


@pytest.mark.parametrize("broken", [deleted, rejected, unreadable])
@pytest.mark.parametrize("what", NOT_RENEWED)
def test_what_is_not_renewed_refuses_from_its_closing_time_on(
    gate: RunningGate, what: str, broken: Callable[[RunningGate, str], None]
) -> None:
    """By Envoy's own clock: nobody publishes anything, and open connections are refused."""
    file, refusing, others = NOT_RENEWED[what]
    with calling(gate) as caller:
        assert caller.ask().code == 200

        def refuses_before_it_closes() -> int | None:
            closes = closing_in(4)
            gate.write(file, to_json(published_files(refusing(closes))[file]))
            while closing_in(0) < closes:
                if caller.ask().code == 401:
                    return closes
            return None  # this machine was too slow

        closes = eventually("it refuses the token", refuses_before_it_closes)
        broken(gate, file)
        answer = caller.becomes(503)
        assert closing_in(0) >= closes
        assert_refused(answer, Reason.UNKNOWN)
        answer = gate.send([bearer(of(OTHER_UID, jti="j-2"))])
        assert reason_in(answer) is others
        gate.publish(BOTH)
        caller.becomes(200)


def test_a_request_that_began_before_the_closing_time_is_refused_after_it(
    gate: RunningGate,
) -> None:
    """A client may send its first line long before the rest."""
    closes = closing_in(3)
    gate.publish(BOTH.with_shard(MINE, Shard(credentials={CREDENTIAL}, closes_unix=closes)))
    with gate.connect() as held:
        held.sendall(f"GET / HTTP/1.1\r\nHost: {EKF}\r\n".encode())
        with calling(gate) as caller:
            caller.becomes(503)
        assert closing_in(0) >= closes
        conversation = Conversation(held)
        conversation.send(f"{bearer(token())}\r\n\r\n".encode())
        assert_refused(conversation.answer(), Reason.UNKNOWN)


def without_filter(name: str) -> Callable[[dict[str, Json]], None]:
    def change(files: dict[str, Json]) -> None:
        filters = manager_of(files)["http_filters"]
        kept = [each for each in filters if each["name"] != name]
        assert len(kept) < len(filters)
        filters[:] = kept

    return change


def published_as(file: str, change: Callable[[Json], None]) -> Callable[[dict[str, Json]], None]:
    def changed(files: dict[str, Json]) -> None:
        (config,) = files[file]["resources"]
        change(config["typed_config"])

    return changed


def no_mark(config: Json) -> None:
    config["matcher"] = config.pop("shadow_matcher")


def another_mark(config: Json) -> None:
    config["shadow_rules_stat_prefix"] = "other_"


def another_mark_of_the_decision(files: dict[str, Json]) -> None:
    filters = manager_of(files)["http_filters"]
    (decision,) = (each for each in filters if each["name"] == "daypass-gate-decision")
    another_mark(decision["typed_config"])


def marks_of_another_filter(files: dict[str, Json]) -> None:
    """Denials that pass, in the place of the shard."""
    files[SHARD_FILE]["resources"][0]["typed_config"] = (
        files[DENIALS_FILE]["resources"][0]["typed_config"]
    )  # fmt: skip


BENT: dict[str, Callable[[dict[str, Json]], None]] = {
    "no denials": without_filter(DENIALS),
    "no credentials": without_filter(CREDENTIALS),
    "no claims": without_filter("daypass-gate-claims"),
    "no keys": without_filter("keys"),
    "no decision": without_filter("daypass-gate-decision"),
    "a decision with another mark": another_mark_of_the_decision,
    "a shard without a mark": published_as(SHARD_FILE, no_mark),
    "denials without a mark": published_as(DENIALS_FILE, no_mark),
    "a shard with another mark": published_as(SHARD_FILE, another_mark),
    "denials with another mark": published_as(DENIALS_FILE, another_mark),
    "a shard with the mark of denials": marks_of_another_filter,
}


@pytest.mark.parametrize("case", BENT)
def test_nothing_passes_where_a_filter_or_its_mark_is_missing(tmp_path: Path, case: str) -> None:
    unbound = token(**{"kubernetes.io": {"namespace": "team"}})
    with started(tmp_path, change=BENT[case]) as bent:
        for sent in (token(), unbound, LONG_LIVED):
            assert_refused(bent.send([bearer(sent)]), *Reason)
        if case.startswith(("a shard", "denials", "no denials", "no credentials")):
            assert_refused(bent.send([bearer(token())]), Reason.UNKNOWN)
            assert_refused(bent.send([]), Reason.NO_TOKEN)


def test_a_gate_that_starts_while_nothing_is_published_refuses(tmp_path: Path) -> None:
    with started(tmp_path, published=Published.closed(SHARDS)) as gate:
        assert_refused(gate.send([bearer(token())]), Reason.UNKNOWN)
        gate.publish(BOTH)
        eventually("it passes", lambda: gate.send([bearer(token())]).code == 200)


POD_UID = "90d00000-0000-4000-8000-000000000001"
_OF_ACCOUNT = {"serviceaccount": {"uid": ACCOUNT_UID}}
_POD, _NODE = {"pod": {"name": "p", "uid": POD_UID}}, {"node": {"name": "n", "uid": POD_UID}}
BOUND_TO: dict[str, Json] = {
    "its account": _OF_ACCOUNT,
    "a Pod": {**_OF_ACCOUNT, **_POD},
    "a Pod and its node": {**_OF_ACCOUNT, **_POD, **_NODE},
    "a Pod that is null": {**_OF_ACCOUNT, "pod": None},
    "a Pod without an account": _POD,
    "a Pod whose UID is that of a Secret": {**_OF_ACCOUNT, "pod": {"uid": SECRET_UID}},
    "a node": {**_OF_ACCOUNT, **_NODE},
    "another account": {"serviceaccount": {"uid": SAME_PART_UID}},
    "nothing": {},
    "a Secret that is gone": {**_OF_ACCOUNT, "secret": {"uid": SAME_PART_UID}},
    "a Secret without a UID": {**_OF_ACCOUNT, "secret": {"name": "s"}},
    "a Secret that exists": {"secret": {"uid": SECRET_UID}},
    "a Secret that exists and a Pod": {**_OF_ACCOUNT, **_POD, "secret": {"uid": SECRET_UID}},
    "a Secret that is gone and a Pod": {**_OF_ACCOUNT, **_POD, "secret": {"uid": SAME_PART_UID}},
}


def test_denials_and_their_age_hold_for_the_token_of_a_pod(tmp_path: Path) -> None:
    rules = replace(RULES, bound=frozenset({Bound.SECRET, Bound.POD}))
    bound = {"namespace": "team", **_OF_ACCOUNT, **_POD, **_NODE}
    sent = token(**{"kubernetes.io": bound, "jti": "pods"})
    with started(tmp_path, published=published({SECRET_UID}), rules=rules) as gate:
        assert reason_in(gate.send([bearer(sent)])) is Reason.ALLOWED
        for denials in (
            denied_by_hand(tokens={"pods"}), denied_by_hand(objects={POD_UID}),
            denied_by_hand(objects={ACCOUNT_UID}), denied_by_hand(namespaces={"team"}),
        ):  # fmt: skip
            gate.publish(replace(published({SECRET_UID}), denials=denials))
            becomes(gate, sent, Reason.DENIED)
            gate.publish(published({SECRET_UID}))
            becomes(gate, sent, Reason.ALLOWED)
        gate.publish(replace(published({SECRET_UID}), denials=denied_by_hand(closing_in(0))))
        becomes(gate, sent, Reason.UNKNOWN)


@pytest.mark.parametrize(
    "accepted",
    [each for count in (1, 2, 3) for each in combinations(Bound, count)],
    ids="-".join,
)
def test_a_token_passes_only_if_it_is_bound_to_what_the_gate_accepts(
    tmp_path: Path, accepted: tuple[Bound, ...]
) -> None:
    exist = published({SECRET_UID, ACCOUNT_UID})
    rules = replace(RULES, bound=frozenset(accepted), published=exist)
    with started(tmp_path, published=exist, rules=rules) as gate:
        for case, bound in BOUND_TO.items():
            sent = token(**{"kubernetes.io": {"namespace": "team", **bound}})
            assert reason_in(gate.send([bearer(sent)])) is reason_by(rules, sent), case
