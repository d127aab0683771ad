"""The authorizer's own certificate, followed when it is renewed."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass

from daypass._core.errors import DaypassError
from daypass._core.tls import server_context


class CertificateFilesError(DaypassError):
    """A certificate and its key that cannot be shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """PEM files: the chain, and its key."""

    certificate: str
    key: str


class FollowedCertificate:
    """A context for a server. `look` loads the files anew where they have changed.

    Raises CertificateFilesError for files that cannot be shown to begin with; later on the old pair
    stays in use, and `trouble` says why.
    """

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._seen = self._signature()
        self.trouble = ""
        try:
            self.context = server_context(files.certificate, files.key)
        except (OSError, ValueError) as error:
            raise CertificateFilesError(
                f"{files.certificate} and {files.key} cannot be shown: {_words(error)}",
                "both are PEM files: a certificate, and its key without a password",
            ) from None

    def look(self) -> None:
        """Take what is new."""
        seen = self._signature()
        if seen == self._seen:
            return
        try:
            # Into another context first: half a pair would otherwise stay in the one that is used.
            server_context(self._files.certificate, self._files.key)
            self.context.load_cert_chain(self._files.certificate, self._files.key, password="")
        except (OSError, ValueError) as error:
            self.trouble = f"the new certificate is not taken: {_words(error)}"
            return
        self._seen, self.trouble = seen, ""

    def _signature(self) -> tuple[tuple[int, int, int], ...]:
        return tuple(_stamp(path) for path in (self._files.certificate, self._files.key))


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "they are no pair"
    return getattr(error, "strerror", None) or "they are no pair"
