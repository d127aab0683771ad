"""The body of a request that will be refused is read and dropped, and the refusal follows.

Envoy answers a refused request at once, and resets its stream while the client still sends its
body. curl and others lose such an answer. So Lua empties each part of the body as it arrives, and
the buffer filter after it waits for the end; then there is nothing left to reset.

What is read of a body is limited in bytes and time, and the number of requests that are read at a
time is, too. Beyond that Lua leaves the body to the buffer filter, which is full at once. The
limits have room for the upload of a model over a slow line: a client that sees its 401 only at the
end requests another token, and sends the model again.
"""

from daypass.render.envoy.matching import all_of, has_header, is_not, only_on_route, only_where
from daypass.render.envoy.protobuf_any import Json, extension

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
