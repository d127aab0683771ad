"""Credentials for a `LocalStack`, by a test's clock, and tokens that its gate denies."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import daypass
from daypass._core.jwt import decode_unverified
from daypass.client.token import Token
from daypass.client.transport import SYSTEM_TIMING, Timing
from daypass.gate.deny import change_denial
from daypass.local.demo import ask
from daypass.local.stack import LocalStack
from daypass.rules.published import Denial, DeniedKind
from daypass.testing import MovableClock
from support.deadline import eventually

LONG_ENOUGH_SECONDS = 120.0
"""After so long a refused token is not one that came only just now, and may be renewed."""
HOUR_SECONDS = 3600.0
"""The lifetime of a token."""
GATE_NAMESPACE = "daypass"
"""Where the gate of a stack looks for denials."""


def credentials_by(clock: MovableClock, file: Path) -> daypass.Credentials:
    """Load credentials that go by this clock."""
    timing = Timing(
        clock=clock,
        sleep=SYSTEM_TIMING.sleep,
        jitter=SYSTEM_TIMING.jitter,
        start=SYSTEM_TIMING.start,
    )
    return daypass.Credentials.from_file(file, timing=timing)


def credentials_with_an_old_token(clock: MovableClock, file: Path) -> daypass.Credentials:
    """Load credentials that hold a token of two minutes ago."""
    credentials = credentials_by(clock, file)
    credentials.token()
    clock.move(LONG_ENOUGH_SECONDS)
    return credentials


def deny_token(stack: LocalStack, token: Token, *, every: bool = False) -> None:
    """Deny a token, or each token of its identity, and wait until the gate refuses it."""
    claims = decode_unverified(token.value.reveal())[1]
    name = claims["kubernetes.io"]["secret"]["uid"] if every else claims["jti"]
    kind = DeniedKind.OBJECT if every else DeniedKind.TOKEN
    denial = Denial(kind=kind, name=name, until_unix=claims["exp"] + HOUR_SECONDS)
    change_denial(stack.cluster, GATE_NAMESPACE, denial, undo=False)
    asking = partial(ask, stack, stack.gate, "/is-it-refused", token.value)
    eventually("the gate refuses it", lambda: asking().code == 401)
