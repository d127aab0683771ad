"""Credentials: a door, a long-lived token, and the short-lived tokens got with them so far."""

from __future__ import annotations

import os

from daypass.client.flights import AsyncFlights, Flights
from daypass.client.flow import exchange
from daypass.client.order import Order
from daypass.client.route import route_to
from daypass.client.settings import check_audience, check_lifetime, parse_source
from daypass.client.source import read_source
from daypass.client.timing import SYSTEM_TIMING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from daypass.client.settings import Settings
    from daypass.client.timing import Timing
    from daypass.client.token import Grant, Token

_KEPT = 64
"""So many answers are kept before the stale ones are thrown out."""


class Credentials:
    """What a client has been handed, and the tokens it stands for.

        credentials = Credentials.load()
        token = credentials.token()

    Safe to share between threads and between tasks: one question is asked once at a time. Nothing
    is checked against the cluster until a token is asked for.
    """

    __slots__ = ("_async_flights", "_flights", "_grants", "_settings", "_timing")

    def __init__(self, settings: Settings, *, timing: Timing = SYSTEM_TIMING) -> None:
        self._settings = settings
        self._timing = timing
        self._grants: dict[tuple[str | None, int | None], Grant] = {}
        self._flights = Flights()
        self._async_flights = AsyncFlights()

    @classmethod
    def load(
        cls, environ: Mapping[str, str] | None = None, *, timing: Timing = SYSTEM_TIMING
    ) -> Credentials:
        """From DAYPASS_CREDENTIALS, or DAYPASS_DOOR and its kin, in `environ` (os.environ).

        Raises CredentialsError.
        """
        source = read_source(os.environ if environ is None else environ)
        return cls(parse_source(source, timing.clock.unix()), timing=timing)

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], *, timing: Timing = SYSTEM_TIMING
    ) -> Credentials:
        """From a credentials file, whatever the environment says. Raises CredentialsError."""
        source = read_source({}, os.fspath(path))
        return cls(parse_source(source, timing.clock.unix()), timing=timing)

    @property
    def door(self) -> str:
        """The door's URL."""
        return self._settings.door.url

    @property
    def namespace(self) -> str:
        """The ServiceAccount's namespace."""
        return self._settings.identity.namespace

    @property
    def service_account(self) -> str:
        """The ServiceAccount's name."""
        return self._settings.identity.service_account

    @property
    def secret_name(self) -> str:
        """The Secret of the long-lived token, which every short-lived one is bound to."""
        return self._settings.identity.secret_name

    @property
    def audience(self) -> str | None:
        """The audience of tokens that are asked for without one, or None."""
        return self._settings.audience

    @property
    def lifetime_seconds(self) -> int:
        """The lifetime of tokens that are asked for without one."""
        return self._settings.lifetime_seconds

    def __repr__(self) -> str:
        return f"Credentials({self.namespace}/{self.service_account} at {self.door})"

    def token(self, audience: str | None = None, lifetime_seconds: int | None = None) -> Token:
        """A short-lived token that is fresh: one from before, or a new one from the door.

        `audience` and `lifetime_seconds` are the credentials' own unless named; the API server may
        grant less. Waits for the door at most 30 seconds. Raises the errors of
        `daypass.client.errors`.
        """
        grant = self._grants.get((audience, lifetime_seconds))
        if grant is not None and grant.is_fresh(self._timing.clock):
            return grant.token
        return self.grant(audience, lifetime_seconds).token

    async def token_async(
        self, audience: str | None = None, lifetime_seconds: int | None = None
    ) -> Token:
        """The same as `token`, without holding up the event loop."""
        asked = (audience, lifetime_seconds)
        grant = self._grants.get(asked)
        if grant is None or not grant.is_fresh(self._timing.clock):
            question = self._question(audience, lifetime_seconds)
            grant = self._known(asked, question)
            if grant is None:
                grant = await self._async_flights.share(
                    question, lambda: self._exchange_async(question)
                )
                self._keep(asked, question, grant)
        return grant.token

    def grant(self, audience: str | None = None, lifetime_seconds: int | None = None) -> Grant:
        """As `token`, with what a cache needs to know about it."""
        asked = (audience, lifetime_seconds)
        question = self._question(audience, lifetime_seconds)
        grant = self._known(asked, question)
        if grant is None:
            grant = self._flights.share(question, lambda: self._exchange(question))
            self._keep(asked, question, grant)
        return grant

    def _question(self, audience: str | None, lifetime_seconds: int | None) -> tuple[str, int]:
        settings = self._settings
        return (
            check_audience((settings.audience or "") if audience is None else audience),
            settings.lifetime_seconds
            if lifetime_seconds is None
            else check_lifetime(lifetime_seconds),
        )

    def _known(
        self, asked: tuple[str | None, int | None], question: tuple[str, int]
    ) -> Grant | None:
        grant = self._grants.get(question)
        if grant is None or not grant.is_fresh(self._timing.clock):
            return None
        self._grants[asked] = grant
        return grant

    def _keep(
        self, asked: tuple[str | None, int | None], question: tuple[str, int], grant: Grant
    ) -> None:
        if len(self._grants) >= _KEPT:
            for key, kept in list(self._grants.items()):
                if not kept.is_fresh(self._timing.clock):
                    self._grants.pop(key, None)
        self._grants[question] = self._grants[asked] = grant

    def _exchange(self, question: tuple[str, int]) -> Grant:
        from daypass.client.sync import drive

        grant = self._known(question, question)  # its last flight may have landed just now
        if grant is None:
            flow = exchange(self._order(question), self._timing)
            settings = self._settings
            route = route_to(settings.door, settings.certificate_authority)
            grant = drive(flow, route, self._timing)
            self._grants[question] = grant
        return grant

    async def _exchange_async(self, question: tuple[str, int]) -> Grant:
        from daypass.client.aio import drive_async

        flow = exchange(self._order(question), self._timing)
        settings = self._settings
        route = route_to(settings.door, settings.certificate_authority)
        grant = await drive_async(flow, route, self._timing)
        self._grants[question] = grant
        return grant

    def _order(self, question: tuple[str, int]) -> Order:
        return Order(
            door=self._settings.door,
            identity=self._settings.identity,
            token=self._settings.token,
            audience=question[0],
            lifetime_seconds=question[1],
        )
