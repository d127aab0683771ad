"""Credentials: a door, a long-lived token, and the short-lived tokens got with them so far."""

from __future__ import annotations

import os

from daypass.client.config import parse_source
from daypass.client.config_source import FILE_VARIABLES, read_source
from daypass.client.reloading_config import ReloadingConfig
from daypass.client.timing import SYSTEM_TIMING
from daypass.client.token_source import TokenSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from daypass.client.config import CredentialsConfig
    from daypass.client.shared_cache import SharedTokenCache
    from daypass.client.timing import Timing
    from daypass.client.token import CachedToken, Token
    from daypass.client.transport import Wire

_KNOWN = 256
"""So many ways to ask are known by heart before they are all looked up anew."""


class Credentials:
    """What a client has been handed, and the tokens it stands for.

        credentials = Credentials.load()
        token = credentials.token()

    Safe to share between threads, between tasks of any event loops, and with children of a fork.
    Nothing is checked against the cluster until a token is asked for.
    """

    __slots__ = ("_clock", "_grants", "_reading", "_supply", "_timing", "_wire")

    def __init__(
        self,
        settings: CredentialsConfig | ReloadingConfig,
        *,
        timing: Timing = SYSTEM_TIMING,
        shelf: SharedTokenCache | None = None,
        wire: Wire | None = None,
    ) -> None:
        self._reading = (
            settings if isinstance(settings, ReloadingConfig) else ReloadingConfig(settings)
        )
        self._timing = timing
        self._clock = timing.clock
        self._wire = wire
        self._supply = TokenSource(self._reading, timing, shelf=shelf, wire=wire)
        self._grants: dict[tuple[str | None, int | None], CachedToken] = {}

    @classmethod
    def load(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        shared: bool = False,
        timing: Timing = SYSTEM_TIMING,
    ) -> Credentials:
        """From DAYPASS_CREDENTIALS, or DAYPASS_DOOR and its kin, in `environ` (os.environ).

        `shared`: tokens are also kept on disk, where `daypass token` keeps its own, for all
        processes of this user. Raises CredentialsError.
        """
        return cls._read(os.environ if environ is None else environ, None, shared, timing)

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        shared: bool = False,
        timing: Timing = SYSTEM_TIMING,
    ) -> Credentials:
        """From a credentials file, whatever the environment says. Raises CredentialsError."""
        return cls._read(os.environ, os.path.abspath(path), shared, timing)

    @classmethod
    def _read(
        cls, environ: Mapping[str, str], path: str | None, shared: bool, timing: Timing
    ) -> Credentials:
        # As it is now: what a program does to its environment and its folder later changes nothing.
        then = dict(environ)
        for name in FILE_VARIABLES:
            if then.get(name):
                then[name] = os.path.abspath(then[name])

        def read() -> CredentialsConfig:
            return parse_source(read_source(then, path), timing.clock.unix(), then)

        shelf = None
        if shared:
            from daypass.client.shared_cache import open_shared_cache

            shelf = open_shared_cache(then)
        return cls(ReloadingConfig(read(), read), timing=timing, shelf=shelf)

    @property
    def door(self) -> str:
        """The door's URL."""
        return self._reading.settings.door.url

    @property
    def namespace(self) -> str:
        """The ServiceAccount's namespace."""
        return self._reading.settings.identity.namespace

    @property
    def service_account(self) -> str:
        """The ServiceAccount's name."""
        return self._reading.settings.identity.service_account

    @property
    def secret_name(self) -> str | None:
        """The Secret of the long-lived token, which every short-lived one is bound to.

        None where the token that is traded is another issuer's, or is not known yet.
        """
        return self._reading.settings.identity.secret_name

    @property
    def audience(self) -> str | None:
        """The audience of tokens that are asked for without one, or None."""
        return self._reading.settings.audience

    @property
    def lifetime_seconds(self) -> int:
        """The lifetime of tokens that are asked for without one."""
        return self._reading.settings.lifetime_seconds

    def __repr__(self) -> str:
        return f"Credentials({self.namespace}/{self.service_account} at {self.door})"

    def at_hand(
        self, audience: str | None = None, lifetime_seconds: int | None = None
    ) -> Token | None:
        """The token from before, where it needs no thought yet; None where `token` is to be asked.

        For those who ask before each of very many requests: it waits for nobody, begins nothing,
        and is no coroutine.
        """
        grant = self._grants.get((audience, lifetime_seconds))
        if grant is not None and grant.is_quiet(self._clock):
            return grant.token
        return None

    def token(self, audience: str | None = None, lifetime_seconds: int | None = None) -> Token:
        """A short-lived token to use now: one from before, or a new one from the door.

        `audience` and `lifetime_seconds` are the credentials' own unless named; the API server may
        grant less. Long before its end a token is replaced in the background. Only where there is
        none to hand out does one wait for the door, 30 seconds at most. Raises the errors of
        `daypass.client.errors`.
        """
        token = self.at_hand(audience, lifetime_seconds)
        return self._obtain((audience, lifetime_seconds), None) if token is None else token

    async def token_async(
        self, audience: str | None = None, lifetime_seconds: int | None = None
    ) -> Token:
        """The same as `token`, without holding up the event loop."""
        token = self.at_hand(audience, lifetime_seconds)
        if token is None:
            token = await self._obtain_async((audience, lifetime_seconds), None)
        return token

    def renew(
        self, refused: Token, audience: str | None = None, lifetime_seconds: int | None = None
    ) -> Token:
        """A token to try instead of `refused`, which a server answered with 401.

        Another one that came meanwhile, or a new one from the door: one exchange for all who ask.
        Where servers refuse what was renewed only just now, `refused` itself comes back: their word
        stands. Raises as `token` does.
        """
        return self._obtain((audience, lifetime_seconds), refused)

    async def renew_async(
        self, refused: Token, audience: str | None = None, lifetime_seconds: int | None = None
    ) -> Token:
        """The same as `renew`, without holding up the event loop."""
        return await self._obtain_async((audience, lifetime_seconds), refused)

    def _obtain(self, asked: tuple[str | None, int | None], refused: Token | None) -> Token:
        from daypass.client.sync import drive

        question = self._reading.settings.question(*asked)
        flow = self._supply.obtain(question, refused)
        return self._learnt(asked, drive(flow, self._timing, self._wire))

    async def _obtain_async(
        self, asked: tuple[str | None, int | None], refused: Token | None
    ) -> Token:
        from daypass.client.aio import drive_async

        question = self._reading.settings.question(*asked)
        flow = self._supply.obtain(question, refused)
        return self._learnt(asked, await drive_async(flow, self._timing, self._wire))

    def _learnt(self, asked: tuple[str | None, int | None], grant: CachedToken) -> Token:
        if len(self._grants) >= _KNOWN:
            self._grants.clear()
        self._grants[asked] = grant
        return grant.token
