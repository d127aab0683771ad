"""What the listeners of door and gate share: TLS only, and HTTP that is forwarded as received.

**Draining.** The body of a request that will be refused is read and dropped, and the refusal
follows. Envoy answers a refused request at once, and resets its stream while the client still sends
its body. curl and others lose such an answer. So Lua empties each part of the body as it arrives,
and the buffer filter after it waits for the end; then there is nothing left to reset.

What is read of a body is limited in bytes and time, and the number of requests that are read at a
time is, too. Beyond that Lua leaves the body to the buffer filter, which is full at once. The
limits have room for the upload of a model over a slow line: a client that sees its 401 only at the
end requests another token, and sends the model again.
"""

from daypass.config import Address, Gate
from daypass.render.envoy.settings import Certificate, Timeouts
from daypass.render.envoy.xds import (
    Json,
    all_of,
    duration,
    extension,
    has_header,
    is_not,
    only_on_route,
    only_where,
)

_NO_ADDRESS_IS_INTERNAL: Json = {
    "cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]
}
"""An empty list would mean Envoy's default, which trusts loopback and private addresses."""


def tls_listener(
    name: str,
    listen: Address,
    certificates: tuple[Certificate, ...],
    certificate_sources: dict[str, Json],
    filters: list[Json],
    timeouts: Timeouts,
) -> Json:
    """Return a listener with the same network filters behind each certificate.

    `certificate_sources`: where each certificate comes from, by its name.
    """
    return {
        "name": name,
        "stat_prefix": name,
        "address": {"socket_address": {"address": listen.host, "port_value": listen.port}},
        "per_connection_buffer_limit_bytes": 64 * 1024,
        "listener_filters": [
            extension(
                "envoy.filters.listener.tls_inspector",
                "extensions.filters.listener.tls_inspector.v3.TlsInspector",
            )
        ],
        "listener_filters_timeout": duration(timeouts.handshake_seconds),
        "filter_chains": [
            _filter_chain(c, certificate_sources[c.name], filters, timeouts) for c in certificates
        ],
    }


def _filter_chain(
    certificate: Certificate, source: Json, filters: list[Json], timeouts: Timeouts
) -> Json:
    match: Json = {"transport_protocol": "tls"}
    if certificate.server_names:
        match["server_names"] = list(certificate.server_names)
    return {
        "name": certificate.name,
        "filter_chain_match": match,
        "transport_socket_connect_timeout": duration(timeouts.handshake_seconds),
        "transport_socket": extension(
            "envoy.transport_sockets.tls",
            "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            common_tls_context={
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "tls_certificate_sds_secret_configs": [
                    {"name": certificate.name, "sds_config": source}
                ],
            },
        ),
        "filters": filters,
    }


def connection_manager(
    name: str, routes: Json, filters: list[Json], timeouts: Timeouts, **fields: object
) -> Json:
    """Return the network filter that reads HTTP.

    `filters`: the HTTP filters before the router, or with it. `fields`: more of its fields.
    """
    return extension(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name,
        codec_type="AUTO",
        server_name="daypass",
        route_config=routes,
        # The path is matched and forwarded as received: nothing is decoded, merged or resolved.
        normalize_path=False,
        merge_slashes=False,
        path_with_escaped_slashes_action="KEEP_UNCHANGED",
        # No address is internal: from internal ones Envoy would obey x-envoy-* headers.
        use_remote_address=True,
        skip_xff_append=True,
        internal_address_config=_NO_ADDRESS_IS_INTERNAL,
        generate_request_id=True,
        preserve_external_request_id=True,
        request_headers_timeout=duration(timeouts.request_headers_seconds),
        drain_timeout="5s",
        delayed_close_timeout=duration(timeouts.close_seconds),
        http_filters=filters,
        **fields,
    )


def stream_bound(gate: Gate) -> Json:
    """Return the field of HttpProtocolOptions that ends a request of a gate, if it may not last for
    ever: a stream or a WebSocket is cut, what has no response yet gets a 504.
    """
    seconds = gate.max_stream_duration_seconds
    return {} if seconds is None else {"max_stream_duration": duration(seconds)}


def early_mutations(*mutations: Json) -> list[Json]:
    """Return the connection manager's changes of headers before Envoy itself reads them."""
    return [
        extension(
            "envoy.http.early_header_mutation.header_mutation",
            "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            mutations=list(mutations),
        )
    ]


def json_log(fields: dict[str, str]) -> Json:
    """Return a logger of one JSON line per request on stdout."""
    return extension(
        "envoy.access_loggers.stdout",
        "extensions.access_loggers.stream.v3.StdoutAccessLog",
        log_format={"json_format": fields},
    )


_LUA = "daypass.drain"
_BUFFER = extension(
    "daypass.drained", "extensions.filters.http.buffer.v3.Buffer", max_request_bytes=1
)
METADATA, TRUNCATED = "daypass", "truncated"
"""Namespace and key of the metadata of a request whose body is longer than what is kept of it."""
_MOST_BYTES = 1000 * 1000 * 1000
_TOO_LONG = "[1-9][0-9]{9,}"
"""A content-length of 1 GB or more: such a body is not read."""
_MOST_AT_A_TIME = 500
"""Of each thread."""
_SECONDS = 600
_SCRIPT = """\
local reading, collected = 0, 0
local function ended() reading = reading - 1 end
function envoy_on_request(handle)
  local started, arrived = handle:timestamp(), 0
  if reading >= %d and started > collected + 1000 then
    collected = started
    collectgarbage()
  end
  if reading >= %d then return end
  reading = reading + 1
  -- A client may break off: then this function never ends, but is collected.
  local counted = newproxy(true)
  getmetatable(counted).__gc = ended
  for chunk in handle:bodyChunks() do
    arrived = arrived + chunk:length()
    if arrived > %d or handle:timestamp() > started + %d then break end
    if arrived > %d then
      handle:streamInfo():dynamicMetadata():set("%s", "%s", "yes")
      chunk:setBytes("")
    end
  end
  getmetatable(counted).__gc = nil
  ended()
end
"""
_READ = all_of(
    is_not(has_header("content-length", _TOO_LONG)),
    # Such a client may wait for the answer before it ends its request.
    is_not(has_header("content-type", "application/(grpc|connect).*")),
    is_not(has_header("upgrade", ".+")),
    is_not(has_header(":method", "CONNECT")),
)


def drain(where: Json, *, kept_bytes: int) -> Json:
    """Return a filter that drops the body of requests, but for its first bytes."""
    readable = is_not(has_header("content-length", _TOO_LONG))
    return only_where(all_of(where, readable), _lua(default_source_code=_script(kept_bytes)))


DRAINED = {name: only_on_route(_READ) for name in (_LUA, _BUFFER["name"])}
"""`typed_per_filter_config` of a route that refuses."""


def draining_filters(refused: Json) -> list[Json]:
    """Return the filters that read a body to its end. `refused`: a predicate for the requests."""
    lua = _lua(default_source_code=_script(0))
    return [only_where(all_of(refused, _READ), each) for each in (lua, _BUFFER)]


def _lua(**fields: Json) -> Json:
    return extension(_LUA, "extensions.filters.http.lua.v3.Lua", **fields)


def _script(kept_bytes: int) -> Json:
    most, milliseconds = _MOST_AT_A_TIME, _SECONDS * 1000
    values = (most, most, _MOST_BYTES, milliseconds, kept_bytes, METADATA, TRUNCATED)
    return {"inline_string": _SCRIPT % values}
