"""New tokens with credentials that are read again each time, so that a rotated identity is used as
soon as its file is replaced."""

from collections.abc import Callable, Mapping

from daypass._core.errors import DaypassError
from daypass.client.flow import exchange
from daypass.client.settings import Settings, parse_source
from daypass.client.source import read_source
from daypass.client.sync import drive
from daypass.client.timing import Timing
from daypass.client.token import Grant

Ask = Callable[[str | None, int | None], Grant]
"""A new token for an audience and a lifetime; raises the errors of `daypass.client.errors`."""


class Holder:
    """Credentials where they stand: in the file `path`, or where `environ` says.

    `variables`: of the environment, that led to a long-lived token whenever this was read: after a
    rotation to a file, the old one may still be good.
    """

    def __init__(self, environ: Mapping[str, str], path: str | None, timing: Timing) -> None:
        self._environ = environ
        self._path = path
        self._timing = timing
        self.variables: tuple[str, ...] = ()

    def ask(self, audience: str | None, lifetime_seconds: int | None) -> Grant:
        """A new token, as `Ask` says."""
        settings = self._read()
        question = settings.question(audience, lifetime_seconds)
        return drive(exchange(settings, question, self._timing), self._timing)

    def identity(self) -> object:
        """All of the credentials, to be compared; None where they cannot be read just now."""
        try:
            settings = self._read()
        except DaypassError:
            return None
        return settings.source and settings.source.identity(), settings.token

    def _read(self) -> Settings:
        source = read_source(self._environ, self._path)
        settings = parse_source(source, self._timing.clock.unix(), self._environ)
        self.variables = tuple(dict.fromkeys((*self.variables, *settings.variables)))
        return settings
