"""Where an engine's gate and the pure decision differ: see docs/reference/gate-refusals.md.

Every other single change of a token is accepted or refused alike, for the same reason.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from daypass.rules.decision import Decision
from daypass.rules.reasons import CODES, MESSAGES, REASON_HEADER, Reason
from support.raw import Answer, Reconnecting, get
from support.single_changes import Change, Keys, Sent, changed

Opened = Callable[[], ssl.SSLSocket]
Expect = Callable[[Sent, float], Decision]
Reasons = Mapping[str, tuple[Reason, Reason]]
Engine = Literal["envoy", "review", "authorizer"]
"""Envoy alone (one machine, Istio), the same with `check: review`, the authorizer alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A row. `changes`: names of single changes, with `*`. Reasons: what is found by the decision
    (`daypass gate explain`, the authorizer), and by Envoy on one machine and on Istio.
    """

    what: str
    changes: tuple[str, ...]
    decision: tuple[Reason, ...]
    envoy: tuple[Reason, ...]

    def covers(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.changes)

    def finds(self, engine: Engine) -> tuple[Reason, ...]:
        """What that engine finds; empty where it agrees."""
        is_asked = engine == "authorizer" or (engine == "review" and self.envoy == _PASSES)
        return () if is_asked else self.envoy


_PASSES = (Reason.ALLOWED,)
DIFFERENCES = (
    Difference(
        what="its subject and its claim `kubernetes.io` name two namespaces",
        changes=("sub=another namespace", *(
            f"kubernetes.io.namespace={value}" for value in ("text", "digits", "huge", "other")
        )),
        decision=(Reason.SUBJECT,),
        envoy=_PASSES,
    ),
    Difference(
        what="the same, and the claim's namespace is denied",
        changes=("kubernetes.io.namespace=denied",),
        decision=(Reason.SUBJECT,),
        envoy=(Reason.DENIED,),
    ),
    Difference(
        what="issued for longer than `policy.longestLifetime`, of which no more than that is left",
        changes=("exp=+7141", "iat=-5400", "iat=-4201", "iat=-7300", "iat=0", "iat=1", "iat=1.5",
                 "iat=1e-400*", "iat=-0*", "iat=0e0*", "iat=1e3*"),
        decision=(Reason.LIVES_TOO_LONG,),
        envoy=_PASSES,
    ),
    Difference(
        what="JSON with single quotes, a comma at its end, or a control character within a text",
        changes=(
            "* with a raw newline", "* with a comma at its end", "* in single quotes",
            "extra=a raw *",
        ),
        decision=(Reason.MALFORMED,),
        envoy=_PASSES,
    ),
    Difference(
        what="claims that are nested 100 deep or more",
        changes=("claims with a list 10[01] deep", "claims with a list 200 deep"),
        decision=(Reason.ALLOWED,),
        envoy=(Reason.MALFORMED,),
    ),
    Difference(
        what="more than 8,192 characters",
        changes=("claims of 9,000 characters",),
        decision=(Reason.MALFORMED,),
        envoy=_PASSES,
    ),
    Difference(
        what="`null` in place of claims",
        changes=("claims of null",),
        decision=(Reason.MALFORMED,),
        envoy=(Reason.FOREIGN_ISSUER,),
    ),
    Difference(
        what="a header with `crit` or `b64: false`",
        changes=("header crit=[!1Nah]*", "header crit=1", "header crit=1.5", "header crit=NUL",
                 "header crit=huge", "header b64=false"),
        decision=(Reason.SIGNATURE,),
        envoy=_PASSES,
    ),
    Difference(
        what="`alg` is HS256, PS256 or EdDSA",
        changes=("header alg=HS256", "header alg=PS256", "header alg=EdDSA"),
        decision=(Reason.ALGORITHM,),
        envoy=(Reason.SIGNATURE,),
    ),
)  # fmt: skip
TWICE = Difference(
    what="an audience of `audiences`, twice",
    changes=("aud=twice",),
    decision=(Reason.ALLOWED,),
    envoy=(Reason.SEVERAL_AUDIENCES,),
)
WITH_AUDIENCES = (*DIFFERENCES, TWICE)
"""The rows of a gate with audiences."""


def as_table() -> str:
    lines = ["| a token | `gate explain`, the authorizer | Envoy |", "| --- | --- | --- |"]
    lines += [
        f"| {row.what} | {cell(row.decision)} | {cell(row.envoy)} |"
        for row in (*DIFFERENCES, TWICE)
    ]
    return "\n".join(lines)


def cell(reasons: Iterable[str]) -> str:
    shown = (f"`{each}`" if isinstance(each, Reason) else each for each in reasons)
    return " or ".join(shown).replace(f"`{Reason.ALLOWED}`", "passes")


def compare(
    changes: Mapping[str, Change], keys: Keys, opened: Opened, expect: Expect
) -> dict[str, tuple[Reason, Reason]]:
    """What the decision and the engine say to each change, over one connection where it lasts."""
    pairs = {}
    with closing(Reconnecting(opened)) as asking:
        for name, change in changes.items():
            while True:
                sent = changed(keys, change)
                before = expect(sent, time.time())  # noqa: TID251 - Envoy reads the machine's clock
                lines = (f"Authorization: {value}" for value in sent.authorization)
                answer = asking.ask(get(*lines, "kubeflow-userid: forged", host=sent.host))
                after = expect(sent, time.time())  # noqa: TID251
                if before.reason is after.reason:  # otherwise it expired or began on the way
                    break
            pairs[name] = (before.reason, reason_in(answer))
            if before.identity is not None and answer.code == 200:
                seen = answer.json["headers"]
                assert seen["kubeflow-userid"] == before.identity.user, name
                assert seen["kubeflow-groups"] == ",".join(before.identity.groups), name
    return pairs


def assert_documented(
    pairs: Reasons, engine: Engine, documented: Sequence[Difference] = DIFFERENCES
) -> None:
    """Fails for a difference that is in no row, and for a row that is no difference any more."""
    differing = {name: pair for name, pair in pairs.items() if pair[0] is not pair[1]}
    rows = [row for row in documented if row.finds(engine)]
    new = [
        f"{name}: {pair[0]} by the decision, {pair[1]} by {engine}"
        for name, pair in differing.items()
        if not any(
            row.covers(name) and pair[0] in row.decision and pair[1] in row.finds(engine)
            for row in rows
        )
    ]
    assert not new, "differences that are in no row:\n" + "\n".join(new)
    for row in rows:
        covered = {name: pair for name, pair in pairs.items() if row.covers(name)}
        alike = sorted(name for name in covered if name not in differing)
        assert not alike, f"no difference any more: {alike} ({row.what})"
        assert {pair[0] for pair in covered.values()} == set(row.decision), row.what
        assert {pair[1] for pair in covered.values()} == set(row.finds(engine)), row.what


def assert_agree(names: Sequence[str], pair: tuple[Reason, Reason], engine: Engine) -> None:
    """Fails if of the decision and an engine one lets a token with several changes pass and the
    other refuses it, unless a row has it; and if the authorizer has another reason.
    """
    decision, found = pair
    if engine == "authorizer" or decision is Reason.DENIED:
        assert found is decision, names
    elif (decision is Reason.ALLOWED) is not (found is Reason.ALLOWED):
        if decision is Reason.LIVES_TOO_LONG and any(name[:3] in ("exp", "iat") for name in names):
            return  # of an end and a beginning, neither may make a token live too long alone
        rows = [row for row in DIFFERENCES if any(map(row.covers, names))]
        assert any(decision in it.decision and found in it.envoy for it in rows), (names, pair)


def reason_in(answer: Answer) -> Reason:
    """The reason in an answer. Fails where there is none, or its code is another one's."""
    if answer.code == 200:
        assert answer.json["headers"].get("kubeflow-userid") != "forged"
        return Reason.ALLOWED
    if answer.code == 404 and not answer.body:  # Istio has no route for that host either
        return Reason.NOT_GUARDED
    assert answer.headers.get("content-type") == "application/json", answer
    message = answer.json["message"]
    reason = next(reason for reason in Reason if message.startswith(MESSAGES[reason]))
    assert answer.code == answer.json["code"] == CODES.get(reason, 401), answer
    assert "www-authenticate" in answer.headers or answer.code != 401, answer
    assert answer.headers[REASON_HEADER] == reason, answer
    return reason


def seen(answer: Answer) -> dict[str, str]:
    """The headers that arrived at the echo service behind a gate. Fails where the gate answered."""
    assert answer.code == 200, answer
    return dict(answer.json["headers"])


FORGERIES = (
    ("kubeflow-userid: admin", "kubeflow-groups: system:masters"),
    ("Kubeflow-UserID: admin", "KUBEFLOW-GROUPS: system:masters"),
    ("kubeflow-userid: admin", "kubeflow-userid: admin2"),
    ("kubeflow_userid: admin", "kubeflow_groups: system:masters"),
    ("kubeflow-userid: admin", "Connection: kubeflow-userid"),
    ("Connection: kubeflow-userid, kubeflow-groups",),
    ("TE: trailers", "Connection: TE, kubeflow-userid", "kubeflow-userid: admin"),
)
"""Header lines by which a client claims to be somebody."""


def assert_passed_as(answer: Answer, user: str) -> None:
    """That a request has passed as a ServiceAccount, whatever it claimed, and without its token."""
    headers = {name.replace("_", "-"): value for name, value in seen(answer).items()}
    namespace = user.split(":")[2]
    assert headers["kubeflow-userid"] == user
    assert headers["kubeflow-groups"] == (
        f"system:serviceaccounts,system:serviceaccounts:{namespace},system:authenticated"
    )
    assert "authorization" not in headers


def assert_refused(answer: Answer, *reasons: Reason) -> None:
    """That an answer is the gate's own refusal for one of these reasons, whole and no redirect."""
    assert reason_in(answer) in reasons, answer
    assert answer.code != 200
    assert (answer.headers.get("www-authenticate") == "Bearer") is (answer.code == 401), answer
    assert "location" not in answer.headers
    assert not answer.cookies
    assert (answer.json["kind"], answer.json["apiVersion"]) == ("Status", "v1")
