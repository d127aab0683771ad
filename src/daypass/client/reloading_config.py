"""Credentials as they were read last, and read again when their files have changed."""

from __future__ import annotations

from daypass._core.files import fingerprint
from daypass.client.errors import CredentialsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from daypass.client.config import CredentialsConfig


class ReloadingConfig:
    """The settings that count now. `read` gets them anew; None: they are what they are."""

    __slots__ = ("_read", "_seen", "problem", "settings")

    def __init__(
        self, settings: CredentialsConfig, read: Callable[[], CredentialsConfig] | None = None
    ) -> None:
        self.settings = settings
        self.problem: CredentialsError | None = None
        """Why what is there now can't be used; the older settings are, as long as they will do."""
        self._read = read
        self._seen = settings.files

    def has_changed(self) -> bool:
        """Whether a file is another one than was read. Asks for each file's status only."""
        return self._read is not None and any(
            fingerprint(path) != seen for path, seen in self._seen
        )

    def again(self) -> CredentialsConfig:
        """Read again, and give what counts then."""
        if self._read is not None:
            self._seen = tuple((path, fingerprint(path)) for path, _ in self._seen)
            try:
                self.settings, self.problem = self._read(), None
                self._seen = self.settings.files
            except CredentialsError as error:
                self.problem = error
        return self.settings
