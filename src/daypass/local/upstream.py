"""The API server behind a local door: where it is, and whether the way to it is open."""

import http.client
import ssl

from daypass._core.errors import DaypassError, UsageError
from daypass._core.hints import kubectl
from daypass._core.status import Status, excerpt
from daypass._core.tls import client_context, read_authority
from daypass.render.envoy.settings import Address, Upstream
from daypass.spec import Config
from daypass.spec.exposure import bracketed

CHECK_TIMEOUT_SECONDS = 5.0
PROBE_PATH = "/api/v1/namespaces/default/serviceaccounts/default/token"


class UpstreamError(DaypassError):
    """The API server cannot be reached, or is not who the config says."""


def upstream_of(config: Config) -> Upstream:
    """The API server of a config as the door's upstream.

    Raises UsageError where the config names no file of its authority, or none that can be used.
    """
    cluster = config.cluster
    if cluster.certificate_authority is None:
        raise UsageError(
            "outside a cluster the API server's certificate authority has to be named",
            "set cluster.certificateAuthority to a PEM file; this shows it: "
            + kubectl("config", "view", "--raw"),
        )
    read_authority(cluster.certificate_authority)
    return Upstream(
        address=Address(host=cluster.server_host, port=cluster.server_port),
        authority_file=str(cluster.certificate_authority),
        server_name=cluster.server_name,
    )


class UpstreamConnection(http.client.HTTPSConnection):
    """A connection to one address that wants to see another name in the certificate."""

    def __init__(self, upstream: Upstream, context: ssl.SSLContext) -> None:
        address = upstream.address
        super().__init__(address.host, address.port, timeout=CHECK_TIMEOUT_SECONDS, context=context)
        self._tls = context
        self._server_name = upstream.server_name

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._server_name)


def check(upstream: Upstream) -> str:
    """Ask the API server what the door would ask it, without a token.

    Gives back what it answered, for a person. Raises UpstreamError with the reason and the next
    step where it cannot be reached, is not trusted, or is no API server.
    """
    where = f"the API server at {upstream.address}"
    try:
        code, body = _ask(upstream, client_context(read_authority(upstream.authority_file)))
    except ssl.SSLCertVerificationError as error:
        raise UpstreamError(
            f"{where} is not trusted: {error.verify_message}",
            f"its certificate must be signed by {upstream.authority_file} (cluster."
            f"certificateAuthority) and name {upstream.server_name} (cluster.serverName)",
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise UpstreamError(
            f"{where} cannot be reached: {error}", "is cluster.server right, and is it up?"
        ) from None
    status = Status.parse(body)
    if status is None or code not in (401, 403):
        raise UpstreamError(
            f"{where} answered {code}, not as an API server does: {excerpt(body)}",
            "cluster.server is the API server itself, without a path",
        )
    return f"{code} {status.message}"


def _ask(upstream: Upstream, context: ssl.SSLContext) -> tuple[int, bytes]:
    connection = UpstreamConnection(upstream, context)
    try:
        connection.request("GET", PROBE_PATH, headers={"Host": bracketed(upstream.server_name)})
        answer = connection.getresponse()
        return answer.status, answer.read(64 * 1024)
    finally:
        connection.close()
