"""Whatever becomes of two identities, exactly the tokens that may pass do: the embedded server.

The door accepts requests for tokens; the gate accepts tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from daypass._core.jwt import decode_unverified
from daypass._core.secret import Secret
from daypass.gate.watch.observer import CredentialObserver
from daypass.gate.watch.schedule import ShardsPlanner
from daypass.identity.accounts import (
    IdentityName,
    IdentityNotFoundError,
    InactiveIdentityError,
    find_account,
)
from daypass.identity.create import FederatedIdentityError
from daypass.identity.credential_secrets import FilledSecret
from daypass.identity.delete import delete, delete_expired, revoke
from daypass.identity.rotate import find_rotations, rotate
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ApiError
from daypass.kube.resources import SERVICE_ACCOUNTS
from daypass.rules.decision import GateRequest, Rules, decide
from daypass.rules.patterns import HostPattern
from daypass.rules.published import CLUSTER_SHARDS
from support.embedded import EmbeddedCluster, InProcess
from support.lifecycle import (
    GATE,
    accepts,
    make,
    make_federated,
    own_secrets,
    renew,
    silent,
)

HOST = "ekf.example.com"
NAMESPACE = "team"
CLOSE_AFTER = 10_000.0
DAY = 86_400


class InLoop(httpx2.AsyncBaseTransport):
    """Requests to the embedded API server in an event loop."""

    def __init__(self, transport: InProcess) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        return self._transport.handle_request(request)


@dataclass(slots=True)
class KnownSecret:
    """A Secret of the model. `retire_after`: when it may be deleted, on the world's clock."""

    name: str
    uid: str
    is_anchor: bool
    token: Secret | None
    retire_after: float | None = None


@dataclass(slots=True)
class Known:
    """An identity. `uid`: of its ServiceAccount, if it exists. `itself_may`, `job_may`: who may
    request its tokens. `secrets`: by name. `deadline`: "" for none, or one that has passed, or that
    cannot be read.
    """

    uid: str | None = None
    deadline: str = ""
    itself_may: bool = False
    job_may: bool = False
    secrets: dict[str, KnownSecret] = field(default_factory=dict)

    def has_retired(self, uid: str, now: float) -> bool:
        ends = [each.retire_after for each in self.secrets.values() if each.uid == uid]
        return any(end is not None and end <= now for end in ends)

    def live(self) -> list[KnownSecret]:
        found = [each for each in self.secrets.values() if each.retire_after is None]
        return [each for each in found if each.is_anchor] or found

    def is_active(self) -> bool:
        return bool(self.live()) and not self.deadline

    def is_mixed(self) -> bool:
        kinds = {each.is_anchor for each in self.secrets.values() if each.retire_after is None}
        return len(kinds) == 2


@dataclass(frozen=True, slots=True)
class LongLived:
    """A long-lived token that was handed out. `secret`: the UID of its own."""

    owner: str
    secret: str
    token: Secret


@dataclass(frozen=True, slots=True)
class ShortLived:
    """A token that the API server has issued to the ServiceAccount `uid` of `owner`.

    `bound`: whose Secret it is bound to, and that one's UID; None for none.
    """

    owner: str
    uid: str
    bound: tuple[str, str] | None
    token: Secret


ANN, BEN = "ann", "ben"
names = st.sampled_from([ANN, BEN])
kinds = st.sampled_from(["token", "federated", "federated later"])
PASSED, UNREADABLE = "2026-11-01T00:00:00Z", "tomorrow"
deadlines = st.sampled_from(["", "", PASSED, UNREADABLE])
bindings = st.sampled_from(["own", "other's", "none"])


class IdentityLife(RuleBasedStateMachine):
    """Commands on identities in any order, and requests at the door in between."""

    def __init__(self) -> None:
        super().__init__()
        self.embedded = EmbeddedCluster()
        self.embedded.make_namespace(NAMESPACE)
        self.cluster, self.clock = self.embedded.cluster, self.embedded.clock
        self.known = {ANN: Known(), BEN: Known()}
        self.long_lived: list[LongLived] = []
        self.short_lived: list[ShortLived] = []

    def pass_time(self) -> None:
        """What the API server has accepted, it remembers for ten seconds."""
        self.clock.advance(11)

    def name(self, who: str) -> IdentityName:
        return IdentityName(namespace=NAMESPACE, name=who)

    # What administrators do

    @initialize(ann=kinds, ben=kinds)
    def begin(self, ann: str, ben: str) -> None:
        for who, kind in ((ANN, ann), (BEN, ben)):
            if kind != "federated":
                self.create(who)
            if kind != "token":
                self.federate(who)
        for bound in ("own", "other's", "none"):
            self.ask(bound)

    @rule(who=names, deadline=deadlines)
    def create(self, who: str, deadline: str = "") -> None:
        known = self.known[who]
        with self.refused(FederatedIdentityError, known.job_may):
            self.take(who, make(self.cluster, self.name(who), deadline=deadline))
            known.itself_may, known.deadline = True, deadline

    @rule(who=names, deadline=deadlines)
    def federate(self, who: str, deadline: str = "") -> None:
        self.take(who, make_federated(self.cluster, self.name(who), deadline=deadline))
        self.known[who].job_may, self.known[who].deadline = True, deadline

    @rule(who=names, overlap=st.sampled_from([0, 60, DAY]))
    def rotate(self, who: str, overlap: int) -> None:
        known, cluster = self.known[who], self.cluster
        with (
            self.refused(IdentityNotFoundError, known.uid is None),
            self.refused(InactiveIdentityError, known.uid is not None and not known.is_active()),
        ):
            rotated = renew(cluster, self.name(who), overlap_seconds=overlap)
            assert rotated.filled is not None
            self.replace(who, rotated.filled, overlap)

    @rule(overlap=st.sampled_from([0, 60]))
    def rotate_all(self, overlap: int) -> None:
        cluster, namespace = self.cluster, NAMESPACE
        found = find_rotations(cluster, namespace)
        wanted = [
            who
            for who, known in self.known.items()
            if known.is_active() and (known.is_mixed() or not known.live()[0].is_anchor)
        ]
        assert [each.name.name for each in found] == wanted
        rotate(cluster, found, deliver=lambda name, content: None, overlap_seconds=overlap)
        for each in found:
            assert each.error is None
            assert each.filled is not None
            self.replace(each.name.name, each.filled, overlap)

    @rule(who=names)
    def revoke(self, who: str) -> None:
        deleted, left = revoke(self.cluster, self.name(who))
        assert left == []
        assert {each.name for each in deleted} == set(self.known[who].secrets)
        self.known[who].secrets.clear()
        self.pass_time()

    @rule(who=names)
    def delete(self, who: str) -> None:
        with self.refused(IdentityNotFoundError, self.known[who].uid is None):
            delete(self.cluster, self.name(who), warn=silent)
            self.known[who] = Known()
        self.pass_time()

    @rule()
    def delete_expired(self) -> None:
        self.pass_time()
        delete_expired(self.cluster, NAMESPACE, warn=silent)
        now = self.clock.unix()
        for known in self.known.values():
            for name, secret in list(known.secrets.items()):
                if known.has_retired(secret.uid, now):
                    del known.secrets[name]
            if known.deadline == PASSED:
                known.secrets.clear()
                known.itself_may = known.job_may = False
        self.pass_time()

    # What clients do at the door, with any token that they have had

    @rule(bound=bindings)
    def ask(self, bound: str) -> None:
        """Everybody asks, with each token that they have ever had."""
        for who, known in self.known.items():
            owner = {"own": who, "other's": BEN if who == ANN else ANN}.get(bound)
            secret = next(iter(self.known[owner].live()), None) if owner else None
            if owner and secret is None:
                continue
            for held in [each for each in self.long_lived if each.owner == who]:
                is_alive = held.secret in {each.uid for each in known.secrets.values()}
                token = self.request(self.embedded.as_holder_of(held.token), who, secret)
                assert (token is not None) == (is_alive and known.itself_may)
                self.keep(who, owner, secret, token)
            if known.job_may:  # the administrator asks for it
                token = self.request(self.cluster, who, secret)
                assert token is not None
                self.keep(who, owner, secret, token)

    # What must hold after each of them

    @invariant()
    def the_gate_accepts_what_is_bound_to_a_secret_of_its_own_identity(self) -> None:
        observer = CredentialObserver(
            self.cluster.connection, self.clock, gate_namespace=NAMESPACE,
            per_namespace=100, accounts_too=False, close_after_seconds=CLOSE_AFTER,
            transport=InLoop(self.embedded.transport),
        )  # fmt: skip
        observer.sync()
        clock, planner = self.clock, ShardsPlanner(CLUSTER_SHARDS, CLOSE_AFTER)
        published = planner.wanted(
            observer.observation(), now=clock.monotonic(), now_unix=clock.unix()
        )
        for each in self.short_lived:
            raw = each.token.reveal()
            rules = Rules(
                hosts=(HostPattern.parse(HOST),), issuer=str(decode_unverified(raw)[1]["iss"]),
                audience=GATE, longest_lifetime_seconds=DAY, published=published,
            )  # fmt: skip
            request = GateRequest(host=HOST, authorizations=(f"Bearer {raw}",))
            decision = decide(request, rules, clock.unix(), signed=True)
            assert decision.is_allowed == self.passes_the_gate(each), (each, decision.reason)

    @invariant()
    def the_api_server_accepts_what_is_bound_to_anything_that_exists(self) -> None:
        for each in self.short_lived:
            assert accepts(self.cluster, each.token, GATE) == self.is_alive(each), each

    @invariant()
    def exactly_the_secrets_of_the_model_exist(self) -> None:
        for who, known in self.known.items():
            found = own_secrets(self.cluster, self.name(who))
            retired = {each.name: each.retire_after is not None for each in found}
            wanted = {name: each.retire_after is not None for name, each in known.secrets.items()}
            assert retired == wanted

    # The model

    def passes_the_gate(self, token: ShortLived) -> bool:
        known = self.known[token.owner]
        return (
            token.bound is not None
            and token.bound[0] == token.owner
            and self.is_alive(token)
            and not known.deadline
            and not known.has_retired(token.bound[1], self.clock.unix())
        )

    def is_alive(self, token: ShortLived) -> bool:
        if self.known[token.owner].uid != token.uid:
            return False
        if token.bound is None:
            return True
        owner, uid = token.bound
        return uid in {each.uid for each in self.known[owner].secrets.values()}

    def take(self, who: str, filled: FilledSecret) -> None:
        """What `create` or `federate` has returned: the live Secret of its kind, or a new one."""
        known, secret = self.known[who], filled.secret
        live = [each.name for each in known.secrets.values() if each.retire_after is None
                and each.is_anchor is secret.is_anchor]  # fmt: skip
        assert secret.name in live or live == []
        assert filled.is_new == (live == [])
        account = find_account(self.cluster, self.name(who))
        assert account is not None
        assert known.uid in (None, account.uid)
        known.uid = account.uid
        self.add(who, filled)

    def add(self, who: str, filled: FilledSecret) -> None:
        secret, token = filled.secret, None if filled.secret.is_anchor else filled.token
        known = self.known[who].secrets
        if secret.name not in known:
            known[secret.name] = KnownSecret(secret.name, secret.uid, secret.is_anchor, token)
            if token is not None:
                self.long_lived.append(LongLived(who, secret.uid, token))

    def replace(self, who: str, filled: FilledSecret, overlap: int) -> None:
        """What a rotation has returned: the new Secret, or the anchor that replaces a token."""
        known, now = self.known[who], self.clock.unix()
        before = {each.name for each in known.live()}
        assert known.live()[0].is_anchor is filled.secret.is_anchor
        assert (filled.secret.name in before) == known.is_mixed()
        self.add(who, filled)
        for name, secret in list(known.secrets.items()):
            if name == filled.secret.name:
                continue
            is_over = self.known[who].has_retired(secret.uid, now)
            if not overlap or is_over:
                del known.secrets[name]
            elif secret.retire_after is None:
                secret.retire_after = now + overlap
        self.pass_time()

    def request(self, holder: Cluster, who: str, secret: KnownSecret | None) -> Secret | None:
        """Request a token of an identity, bound to a Secret or to nothing."""
        spec: dict[str, Any] = {"audiences": [GATE], "expirationSeconds": 7200}
        if secret is not None:
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Secret", "name": secret.name}
        path = SERVICE_ACCOUNTS.path(NAMESPACE, who, "token")
        try:
            answer = holder.request("POST", path, {"spec": spec}, what="ask")
        except ApiError:
            return None
        return Secret(answer["status"]["token"])

    def keep(
        self, who: str, owner: str | None, secret: KnownSecret | None, token: Secret | None
    ) -> None:
        uid = self.known[who].uid
        if token is not None and uid is not None:
            bound = (owner, secret.uid) if owner and secret else None
            self.short_lived.append(ShortLived(who, uid, bound, token))

    @contextmanager
    def refused(self, error: type[Exception], is_expected: bool) -> Iterator[None]:
        """Expect an error where the model says so, and none elsewhere."""
        try:
            yield
        except error:
            assert is_expected
        else:
            assert not is_expected


TestIdentityLife = IdentityLife.TestCase
TestIdentityLife.settings = settings(
    max_examples=12,
    stateful_step_count=15,
    phases=[Phase.explicit, Phase.generate],  # shrinking takes minutes
)
