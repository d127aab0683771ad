"""TokenRequests in Kubernetes's protobuf, as no client would write them."""

from __future__ import annotations

PROTOBUF = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\0"


def field(number: int, value: bytes | str | int) -> bytes:
    """A field of a protobuf message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value % 2**64)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def bound_to(name: str, *more: bytes, kind: str = "Secret") -> bytes:
    """`spec.boundObjectRef`."""
    return field(3, field(1, kind) + field(2, "v1") + field(3, name) + b"".join(more))


def wrapped(
    raw: bytes, version: str = "authentication.k8s.io/v1", kind: str = "TokenRequest",
    more: bytes = b"",
) -> bytes:  # fmt: skip
    """runtime.Unknown, as Kubernetes sends each object."""
    return MAGIC + field(1, field(1, version) + field(2, kind)) + field(2, raw) + more
