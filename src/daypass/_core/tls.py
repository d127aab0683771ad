"""TLS contexts of a client. There is no way here to leave verification out."""

import os
import ssl

from daypass._core.errors import UsageError

LIMIT_BYTES = 1024 * 1024
"""Of a file of authorities; a whole machine's own have a quarter of it."""


class BadCertificateAuthorityError(UsageError):
    """A certificate authority that is no PEM certificate, or a file of it that cannot be read."""


def read_authority(path: str | os.PathLike[str]) -> str:
    """The PEM text of authorities in a file, which `client_context` takes.

    Raises BadCertificateAuthorityError.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(LIMIT_BYTES + 1)
    except OSError as error:
        raise BadCertificateAuthorityError(
            f"{os.fspath(path)} cannot be read: {error.strerror}", "is the path right?"
        ) from None
    pem = content.decode("ascii", "replace")
    try:
        if len(content) > LIMIT_BYTES:
            raise _not_pem()
        client_context(pem)
    except BadCertificateAuthorityError as error:
        raise BadCertificateAuthorityError(f"{os.fspath(path)}: {error.fact}", error.hint) from None
    return pem


def client_context(certificate_authority: str | None) -> ssl.SSLContext:
    """A context that verifies the server's chain and name, TLS 1.2 or newer.

    `certificate_authority`: PEM text of the only authorities to trust; None for the machine's own
    (OpenSSL's defaults, so SSL_CERT_FILE and SSL_CERT_DIR are honoured).
    """
    context = (
        ssl.create_default_context()
        if certificate_authority is None
        else _only(certificate_authority)
    )
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _only(certificate_authority: str) -> ssl.SSLContext:
    try:
        if "-----BEGIN" not in certificate_authority:
            raise ValueError  # an empty text would mean the machine's own authorities to OpenSSL
        return ssl.create_default_context(cadata=certificate_authority)
    except (ssl.SSLError, ValueError, TypeError):  # TypeError: characters beyond ASCII
        raise _not_pem() from None


def _not_pem() -> BadCertificateAuthorityError:
    return BadCertificateAuthorityError(
        "the certificate authority is not a PEM certificate",
        "it begins with -----BEGIN CERTIFICATE-----",
    )


def server_context(certificate_file: str, key_file: str) -> ssl.SSLContext:
    """A context that shows this certificate (PEM files), TLS 1.2 or newer.

    Raises OSError (ssl.SSLError among them) and ValueError for what cannot be shown.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # With a password to try, OpenSSL does not ask for that of an encrypted key.
    context.load_cert_chain(certificate_file, key_file, password="")
    return context
