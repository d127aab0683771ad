"""TLS contexts. There is no way to turn verification off."""

import os
import ssl

from daypass._core.errors import UsageError


class BadCertificateAuthorityError(UsageError):
    """A certificate authority that is not a PEM certificate, or whose file cannot be read."""


def read_authority(path: str | os.PathLike[str]) -> str:
    """Return the PEM text of a file, for `client_context`. Raises BadCertificateAuthorityError."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise BadCertificateAuthorityError(
            f"{os.fspath(path)} cannot be read: {error.strerror}", "is the path right?"
        ) from None
    pem = content.decode("ascii", "replace")
    try:
        client_context(pem)
    except BadCertificateAuthorityError as error:
        raise BadCertificateAuthorityError(f"{os.fspath(path)}: {error.fact}", error.hint) from None
    return pem


def client_context(certificate_authority: str | None) -> ssl.SSLContext:
    """Return a context that verifies the server's chain and name, with TLS 1.2 or newer.

    `certificate_authority`: PEM text of the only authorities to trust; None for those of the
    machine (OpenSSL's defaults, so SSL_CERT_FILE and SSL_CERT_DIR apply).
    """
    try:
        if certificate_authority is not None and "-----BEGIN" not in certificate_authority:
            raise ValueError  # for OpenSSL an empty text means the machine's own authorities
        context = ssl.create_default_context(cadata=certificate_authority)
    except (ssl.SSLError, ValueError, TypeError):  # TypeError: characters beyond ASCII
        raise _not_pem() from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _not_pem() -> BadCertificateAuthorityError:
    return BadCertificateAuthorityError(
        "the certificate authority is not a PEM certificate",
        "it takes the text of a certificate, which begins with -----BEGIN CERTIFICATE-----",
    )


def server_context(certificate_file: str, key_file: str) -> ssl.SSLContext:
    """Return a context with this certificate (PEM files), for TLS 1.2 or newer.

    Raises OSError (including ssl.SSLError) and ValueError for files that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Without a password, OpenSSL would prompt for that of an encrypted key.
    context.load_cert_chain(certificate_file, key_file, password="")
    return context
