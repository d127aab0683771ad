"""The authorizer's serving certificate, which is loaded again when its files change."""

from __future__ import annotations

import ssl
from pathlib import Path

from cryptography import x509

from daypass._core.errors import DaypassError
from daypass._core.files import fingerprint
from daypass._core.tls import server_context


class CertificateFilesError(DaypassError):
    """A certificate and its key that cannot be used."""


class ReloadingCertificate:
    """A TLS context for a server, from PEM files: the certificate chain, and its key. `reload`
    loads them again if they have changed. `expires_unix`: when the one in use expires.

    Raises CertificateFilesError if they can't be used at the beginning; later on the old pair stays
    in use, and `last_error` has the error.
    """

    def __init__(self, certificate: str, key: str) -> None:
        self._files = certificate, key
        self._seen = self._fingerprints()
        self.last_error = ""
        try:
            self.context = server_context(certificate, key)
            self.expires_unix = self._expires_unix()
        except (OSError, ValueError) as error:
            raise CertificateFilesError(
                f"{certificate} and {key} cannot be used: {_words(error)}",
                "both are PEM files: a certificate, and its key without a password",
            ) from None

    def reload(self) -> None:
        """Load a new pair."""
        seen = self._fingerprints()
        if seen == self._seen:
            return
        try:
            # Try another context first: a pair that does not match would break the one in use.
            server_context(*self._files)
            self.context.load_cert_chain(*self._files, password="")
            self.expires_unix = self._expires_unix()
        except (OSError, ValueError) as error:
            self.last_error = f"the new certificate is not used: {_words(error)}"
            return
        self._seen, self.last_error = seen, ""

    def _expires_unix(self) -> float:
        chain = x509.load_pem_x509_certificates(Path(self._files[0]).read_bytes())
        return chain[0].not_valid_after_utc.timestamp()

    def _fingerprints(self) -> list[str]:
        return list(map(fingerprint, self._files))


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "they do not belong together"
    return getattr(error, "strerror", None) or "they do not belong together"
