"""Credentials: a door, a subject token, and the short-lived tokens obtained with them."""

from __future__ import annotations

import os
from functools import partial

from daypass.client.config import CredentialsConfig, ReloadingConfig
from daypass.client.credentials_source import FILE_VARIABLE, read_source
from daypass.client.errors import CredentialsError, log_warning
from daypass.client.token import AUTHORIZATION, authorization
from daypass.client.token_source import TokenSource
from daypass.client.transport import SYSTEM_TIMING, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from daypass.client.shared_cache import SharedTokenCache
    from daypass.client.token import CachedToken, Token
    from daypass.client.transport import Send, Timing


class Credentials:
    """Credentials for a door, and the tokens obtained with them.

        credentials = Credentials.load()
        headers = credentials.headers()

    It can be shared between threads, between tasks of any event loop, and with forked children.
    Nothing is sent to the cluster before a token is requested.
    """

    __slots__ = ("_clock", "_config", "_recent", "_tokens")

    def __init__(
        self,
        config: CredentialsConfig | ReloadingConfig,
        *,
        timing: Timing = SYSTEM_TIMING,
        shared_cache: SharedTokenCache | None = None,
        send: Send = send,
    ) -> None:
        if isinstance(config, CredentialsConfig):
            config = ReloadingConfig(config)
        self._config = config
        self._clock = timing.clock
        self._tokens = TokenSource(self._config, timing, shared_cache=shared_cache, send=send)
        self._recent: dict[tuple[str | None, int | None], CachedToken] = {}
        """The last token for these arguments.

        A lookup here takes 0.44 µs. That of `TokenSource` checks the arguments and takes a lock.
        """

    @classmethod
    def load(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        shared: bool = False,
        timing: Timing = SYSTEM_TIMING,
    ) -> Credentials:
        """Load credentials from the file that DAYPASS_CREDENTIALS names.

        `environ`: os.environ by default. `shared`: cache tokens on disk too, where `daypass token`
        caches its own, for all processes of this user. Raises CredentialsError, for a path too:
        `from_file` takes that.
        """
        environ = os.environ if environ is None else environ
        if not hasattr(environ, "keys"):
            raise CredentialsError(
                f"an environment is expected here, not an object of type {type(environ).__name__}",
                "Credentials.from_file(PATH) reads a file",
                reason="not-an-environment",
            )
        return cls._read(environ, None, shared, timing)

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        shared: bool = False,
        timing: Timing = SYSTEM_TIMING,
    ) -> Credentials:
        """Load credentials from a file, whatever the environment contains. Raises CredentialsError.

        `shared`: see `load`.
        """
        return cls._read(os.environ, os.path.abspath(path), shared, timing)

    @classmethod
    def _read(
        cls, environ: Mapping[str, str], path: str | None, shared: bool, timing: Timing
    ) -> Credentials:
        # A copy: later changes of the environment and of the current folder have no effect.
        snapshot = dict(environ)
        if snapshot.get(FILE_VARIABLE):
            snapshot[FILE_VARIABLE] = os.path.abspath(snapshot[FILE_VARIABLE])

        def read() -> CredentialsConfig:
            return CredentialsConfig(read_source(snapshot, path), snapshot)

        cache = _shared_cache(snapshot) if shared else None
        return cls(ReloadingConfig(read(), read), timing=timing, shared_cache=cache)

    @property
    def door(self) -> str:
        """The door's URL."""
        return self._config.current.door.url

    @property
    def namespace(self) -> str:
        """The ServiceAccount's namespace."""
        return self._config.current.identity.namespace

    @property
    def service_account(self) -> str:
        """The ServiceAccount's name."""
        return self._config.current.identity.service_account

    @property
    def secret_name(self) -> str | None:
        """The Secret that every short-lived token is bound to.

        It is that of the long-lived token or, if the subject token is another issuer's, the one
        that the credentials file names. None if it names none, or before the token is known.
        """
        return self._config.current.identity.secret_name

    @property
    def audience(self) -> str | None:
        """The default audience, or None."""
        return self._config.current.audience

    @property
    def lifetime_seconds(self) -> int:
        """The default lifetime."""
        return self._config.current.lifetime_seconds

    def __repr__(self) -> str:
        return f"Credentials({self.namespace}/{self.service_account} at {self.door})"

    def cached_token(
        self, audience: str | None = None, lifetime_seconds: int | None = None
    ) -> Token | None:
        """Return the token in memory if it is fresh, or None: then call `token`.

        It never waits, starts nothing and is not a coroutine: for code that needs a token for each
        of very many requests.
        """
        try:
            cached = self._recent.get((audience, lifetime_seconds))
        except TypeError:  # a list, which `token` refuses
            return None
        if cached is not None and cached.is_fresh(self._clock):
            return cached.token
        return None

    def token(self, audience: str | None = None, lifetime_seconds: int | None = None) -> Token:
        """Return a usable token: the cached one, or a new one from the door.

        None selects the default audience and lifetime. A token is refreshed in the background long
        before it expires. Threads and tasks that need the same token share one exchange, which
        takes 30 s at most. Raises the errors of `daypass.client.errors`.
        """
        token = self.cached_token(audience, lifetime_seconds)
        return self._get(audience, lifetime_seconds, None) if token is None else token

    async def token_async(
        self, audience: str | None = None, lifetime_seconds: int | None = None
    ) -> Token:
        """Return what `token` does, without blocking the event loop."""
        token = self.cached_token(audience, lifetime_seconds)
        if token is None:
            token = await self._get_async(audience, lifetime_seconds, None)
        return token

    def headers(
        self, audience: str | None = None, lifetime_seconds: int | None = None
    ) -> dict[str, str]:
        """Return `{"Authorization": "Bearer ..."}` with the token that `token` returns.

        For the headers of one request: call it again for the next one, since the token is replaced
        before it expires. It is a new dict, which holds the token in plain text: don't log or store
        it. Arguments and errors are those of `token`. gRPC refuses its upper case, and takes
        `daypass.integrations.grpc.metadata(credentials)`.
        """
        return {AUTHORIZATION: authorization(self.token(audience, lifetime_seconds))}

    async def headers_async(
        self, audience: str | None = None, lifetime_seconds: int | None = None
    ) -> dict[str, str]:
        """Return what `headers` does, without blocking the event loop."""
        return {AUTHORIZATION: authorization(await self.token_async(audience, lifetime_seconds))}

    def bearer(self, audience: str | None = None, lifetime_seconds: int | None = None) -> str:
        """Return the token that `token` returns as text, for an API that takes a function.

            OpenAI(base_url=url, api_key=credentials.bearer)

        Pass the function, so that each request gets a token that has not expired. Don't log or
        store the text.
        """
        return self.token(audience, lifetime_seconds).value.reveal()

    async def bearer_async(
        self, audience: str | None = None, lifetime_seconds: int | None = None
    ) -> str:
        """Return what `bearer` does, without blocking the event loop: `AsyncOpenAI` takes it."""
        return (await self.token_async(audience, lifetime_seconds)).value.reveal()

    def renew(
        self, refused: Token, audience: str | None = None, lifetime_seconds: int | None = None
    ) -> Token:
        """Return another token after a server answered 401 to `refused`.

        It is one that was obtained meanwhile, or a new one: one exchange for all callers. If
        servers refuse a token that was renewed only moments ago, `refused` itself is returned.
        Raises as `token` does.
        """
        return self._get(audience, lifetime_seconds, refused)

    async def renew_async(
        self, refused: Token, audience: str | None = None, lifetime_seconds: int | None = None
    ) -> Token:
        """Return what `renew` does, without blocking the event loop."""
        return await self._get_async(audience, lifetime_seconds, refused)

    def _get(
        self, audience: str | None, lifetime_seconds: int | None, rejected: Token | None
    ) -> Token:
        key = self._tokens.key(audience, lifetime_seconds)
        return self._remember(audience, lifetime_seconds, self._tokens.get(key, rejected))

    async def _get_async(
        self, audience: str | None, lifetime_seconds: int | None, rejected: Token | None
    ) -> Token:
        key = self._tokens.key(audience, lifetime_seconds)
        cached = await self._tokens.get_async(key, rejected)
        return self._remember(audience, lifetime_seconds, cached)

    def _remember(
        self, audience: str | None, lifetime_seconds: int | None, cached: CachedToken
    ) -> Token:
        self._recent[(audience, lifetime_seconds)] = cached
        return cached.token


def _shared_cache(environ: Mapping[str, str]) -> SharedTokenCache | None:
    from daypass.client.shared_cache import CacheWarning, SharedTokenCache, cache_folder

    warn = partial(log_warning, "tokens are not shared")
    try:
        return SharedTokenCache(folder=cache_folder(environ), environ=environ, warn=warn)
    except CacheWarning as problem:
        warn(problem)
        return None
