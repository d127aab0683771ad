"""After any interrupted operation on identities, repeating it gives the requested state."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object
from daypass._core.secret import Secret
from daypass.identity import authorize as authorizing
from daypass.identity.accounts import (
    IdentityName,
    IdentityNotFoundError,
    InactiveIdentityError,
    find_account,
)
from daypass.identity.credential_secrets import live_secrets, secrets_of
from daypass.identity.delete import delete, delete_expired, revoke
from daypass.identity.grants import GRANTED, KUBEFLOW, Grant, model_grant, role_grant
from daypass.kube.cluster import Cluster
from daypass.kube.resources import (
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
)
from support.embedded import EmbeddedCluster
from support.lifecycle import (
    SETTINGS,
    accepts,
    exchange,
    make,
    make_federated,
    renew,
    silent,
    token_in,
)

NAMES = [
    IdentityName(namespace="team", name="bot"),
    IdentityName(namespace="team", name="bot-daypass"),
    IdentityName(namespace="other", name="bot"),
]
names = st.sampled_from(NAMES)
places = st.sampled_from(["team", "far"])
roles = st.sampled_from(["view", "edit", "model/iris", "model/*"])
crashes = st.one_of(st.none(), st.tuples(st.integers(1, 18), st.booleans()))


@dataclass(slots=True)
class Known:
    """The expected state of an identity: `state`, `grants` (namespace and role), and the last
    credentials `file`.
    """

    state: str = "absent"
    grants: set[tuple[str, str]] = field(default_factory=set)
    file: bytes = b""


class Crash(Exception):
    """The process has ended here. No code of daypass handles it."""


class CrashingCluster(Cluster):
    """A Cluster whose process ends at a request, the `left`-th from now, before or after the server
    has `acted`.
    """

    left: int | None = None
    acted = False

    def step(self, action: Any) -> Any:
        """Do something that counts as a request, such as writing a file."""
        if self.left is not None:
            self.left -= 1
        ends = self.left == 0
        if ends and not self.acted:
            raise Crash
        result = action()
        if ends:
            raise Crash
        return result

    def request(self, *arguments: Any, **options: Any) -> Object:
        answer: Object = self.step(partial(super().request, *arguments, **options))
        return answer


class Lifecycle(RuleBasedStateMachine):
    """Operations that are interrupted and then repeated."""

    def __init__(self) -> None:
        super().__init__()
        self.embedded = EmbeddedCluster()
        self.cluster = self.embedded.connect(CrashingCluster)
        for namespace in ("team", "other", "far"):
            self.embedded.make_namespace(namespace)
        self.known = {name: Known() for name in NAMES}

    def interrupted(
        self, crash: tuple[int, bool] | None, action: Callable[[], object], *done: type[Exception]
    ) -> None:
        """Run the action with a crash in it, then again if it crashed. `done`: the errors of a run
        that finds nothing left to do."""
        if crash is None:
            action()
            return
        self.cluster.left, self.cluster.acted = crash
        try:
            action()
        except Crash:
            self.files_work()
            with suppress(*done):
                action()
        finally:
            self.cluster.left = None

    @rule(name=names, crash=crashes)
    def create(self, name: IdentityName, crash: tuple[int, bool] | None) -> None:
        """Create the identity, with a credentials file."""

        self.interrupted(crash, lambda: self.hand_over(name, self.made(name)))
        self.known[name].state = "live"
        self.file_works(name)

    @rule(name=names, crash=crashes, overlap_seconds=st.sampled_from([0, 60]))
    def rotate(
        self, name: IdentityName, crash: tuple[int, bool] | None, overlap_seconds: int
    ) -> None:
        """Rotate its token."""

        def action() -> None:
            renew(
                self.cluster,
                name,
                lambda content: self.hand_over(name, content),
                overlap_seconds=overlap_seconds,
            )

        before = self.known[name].file
        try:
            self.interrupted(crash, action)
        except (IdentityNotFoundError, InactiveIdentityError):
            assert self.known[name].state != "live"
            return
        assert self.known[name].state == "live"
        assert self.known[name].file != before
        self.file_works(name)

    @rule(name=names, namespace=places, role=roles, crash=crashes)
    def authorize(
        self, name: IdentityName, namespace: str, role: str, crash: tuple[int, bool] | None
    ) -> None:
        """Grant a role, in its namespace or another."""

        def action() -> None:
            grant = granted(name, namespace, role)
            planned = authorizing.plan(self.cluster, [grant], accept_risks=True, warn=silent)
            authorizing.apply(self.cluster, planned)

        known = self.known[name]
        try:
            self.interrupted(crash, action)
        except IdentityNotFoundError:
            assert known.state == "absent"
            return
        known.grants.add((namespace, role))

    @rule(name=names, namespace=st.one_of(st.none(), places), crash=crashes)
    def unauthorize(
        self, name: IdentityName, namespace: str | None, crash: tuple[int, bool] | None
    ) -> None:
        """Remove its roles in one namespace, or in all."""
        where = None if namespace is None else [namespace]
        self.interrupted(
            crash, lambda: authorizing.unauthorize(self.cluster, name, where, warn=silent)
        )
        known = self.known[name]
        known.grants = {each for each in known.grants if namespace not in (None, each[0])}

    @rule(name=names, crash=crashes)
    def revoke(self, name: IdentityName, crash: tuple[int, bool] | None) -> None:
        """Revoke its tokens."""
        if self.known[name].state == "absent":
            return
        self.known[name].state = "revoked"
        self.interrupted(crash, lambda: revoke(self.cluster, name))
        assert secrets_of(self.cluster, name) == []

    @rule(name=names, crash=crashes)
    def delete(self, name: IdentityName, crash: tuple[int, bool] | None) -> None:
        """Delete the identity."""
        if self.known[name].state == "absent":
            return
        self.known[name] = Known()
        self.interrupted(
            crash, lambda: delete(self.cluster, name, warn=silent), IdentityNotFoundError
        )

    @rule(crash=crashes)
    def delete_expired(self, crash: tuple[int, bool] | None) -> None:
        """Delete retired Secrets once their time has come."""
        self.embedded.clock.advance(61)
        self.interrupted(crash, lambda: delete_expired(self.cluster, None, warn=silent))
        secrets = [each for name in NAMES for each in secrets_of(self.cluster, name)]
        assert [each.name for each in secrets if each.retire_after] == []

    def made(self, name: IdentityName) -> bytes:
        """The credentials file of the identity that is created."""
        return SETTINGS.file_content(make(self.cluster, name))

    def hand_over(self, name: IdentityName, content: bytes) -> None:
        """Write the credentials file; the process may crash here too."""

        def write() -> None:
            self.known[name].file = content

        self.cluster.step(write)

    def alive(self, name: IdentityName) -> list[str]:
        """The live Secrets of an identity."""
        account = find_account(self.cluster, name)
        secrets = secrets_of(self.cluster, name)
        return [each.name for each in live_secrets(secrets, account.uid)] if account else []

    def files_work(self) -> None:
        """The credentials file of every live identity works."""
        for name, known in self.known.items():
            if known.state == "live":
                self.file_works(name)

    def file_works(self, name: IdentityName) -> None:
        """The API server accepts the token in the credentials file."""
        assert accepts(self.cluster, token_in(self.known[name].file))

    @invariant()
    def all_is_as_asked(self) -> None:
        """Exactly the objects of live identities exist."""
        for name, known in self.known.items():
            assert len(self.alive(name)) == (known.state == "live")
        marked = {
            each["metadata"]["annotations"][labels.IDENTITY]
            for resource in (SERVICE_ACCOUNTS, SECRETS, ROLES, ROLE_BINDINGS)
            for each in self.cluster.list(resource, labels=labels.SELECTOR)
        }
        assert marked == {n.key for n, known in self.known.items() if known.state != "absent"}
        grants = [
            granted(name, *each) for name, known in self.known.items() for each in known.grants
        ]
        for resource in GRANTED:
            wanted = [
                document["metadata"]
                for grant in grants
                for document in grant.objects(grant.names[-1], KUBEFLOW)
                if document["kind"] == resource.kind
            ]
            ours = f"{labels.SELECTOR},{labels.COMPONENT}=grant"
            found = [each["metadata"] for each in self.cluster.list(resource, labels=ours)]
            assert sorted(map(place_of, wanted)) == sorted(map(place_of, found))


def granted(name: IdentityName, namespace: str, role: str) -> Grant:
    """What a rule asks for."""
    kind, _, model = role.partition("/")
    if kind == "model":
        return model_grant(identity=name, namespace=namespace, model=model)
    return role_grant(identity=name, namespace=namespace, cluster_role=role)


def place_of(metadata: dict[str, Any]) -> tuple[str, str, str]:
    return metadata["annotations"][labels.IDENTITY], metadata["namespace"], metadata["name"]


class FederatedLifecycle(Lifecycle):
    """The same of identities whose tokens are bound to an anchor."""

    def made(self, name: IdentityName) -> bytes:
        """The credentials file, which names the anchor."""
        anchor = make_federated(self.cluster, name)
        return SETTINGS.file_content(anchor)

    def file_works(self, name: IdentityName) -> None:
        """The API server binds a token to the anchor in the credentials file."""
        anchor = str(json.loads(self.known[name].file)["secretName"])
        assert isinstance(exchange(self.cluster, name, bound_to=anchor), Secret)


TestLifecycle = Lifecycle.TestCase
TestFederatedLifecycle = FederatedLifecycle.TestCase
TestLifecycle.settings = TestFederatedLifecycle.settings = settings(
    max_examples=16,
    stateful_step_count=15,
    phases=[Phase.explicit, Phase.generate],  # shrinking fifteen steps takes minutes
)
