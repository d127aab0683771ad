"""TLS sockets that close if TLS cannot begin, as those of Python 3.13 do."""

from __future__ import annotations

import ssl
import sys


class ClosingSocket(ssl.SSLSocket):
    """Before Python 3.13, `wrap_socket` leaves a connection that was reset before it to the garbage
    collector: its check of the connection raises before anything would close it.
    """

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        try:
            return super().recv(buflen, flags)
        except ConnectionError:
            if self.version() is None:  # TLS has not begun
                self.close()
            raise


def install() -> None:
    """Let all contexts of this process make such sockets, those of libraries too."""
    if sys.version_info < (3, 13):
        ssl.SSLContext.sslsocket_class = ClosingSocket
