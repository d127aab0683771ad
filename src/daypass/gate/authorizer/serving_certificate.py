"""The authorizer's serving certificate, which is loaded again when its files change."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from daypass._core.errors import DaypassError
from daypass._core.files import fingerprint
from daypass._core.tls import server_context


class CertificateFilesError(DaypassError):
    """A certificate and its key that cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """PEM files: the certificate chain and its key."""

    certificate: str
    key: str


class ReloadingCertificate:
    """A TLS context for a server. `reload` loads the files again if they have changed.

    Raises CertificateFilesError if they can't be used at the beginning; later on the old pair stays
    in use, and `last_error` has the error.
    """

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._seen = self._fingerprints()
        self.last_error = ""
        try:
            self.context = server_context(files.certificate, files.key)
        except (OSError, ValueError) as error:
            raise CertificateFilesError(
                f"{files.certificate} and {files.key} cannot be used: {_words(error)}",
                "both are PEM files: a certificate, and its key without a password",
            ) from None

    def reload(self) -> None:
        """Load a new pair."""
        seen = self._fingerprints()
        if seen == self._seen:
            return
        try:
            # Try another context first: a pair that does not match would break the one in use.
            server_context(self._files.certificate, self._files.key)
            self.context.load_cert_chain(self._files.certificate, self._files.key, password="")
        except (OSError, ValueError) as error:
            self.last_error = f"the new certificate is not used: {_words(error)}"
            return
        self._seen, self.last_error = seen, ""

    def _fingerprints(self) -> tuple[str, str]:
        return fingerprint(self._files.certificate), fingerprint(self._files.key)


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "they do not belong together"
    return getattr(error, "strerror", None) or "they do not belong together"
