"""One machine: where `daypass up` listens, and what it runs."""

from typing import Literal, TypeAlias

from pydantic import Field, ValidationInfo, field_validator

from daypass.spec.faults import fault
from daypass.spec.locations import Address, ListenAddress
from daypass.spec.section import Section
from daypass.spec.urls import UpstreamOrigin

ApiServer: TypeAlias = Literal["embedded", "external"]


class Local(Section):
    """Door and gate on this machine."""

    door: ListenAddress = Field(default=Address("127.0.0.1", 8443), examples=["127.0.0.1:8443"])
    """Where the door listens: HOST:PORT; port 0 is any free one."""

    gate: ListenAddress = Field(default=Address("127.0.0.1", 8444), examples=["127.0.0.1:8444"])
    """Where the gate listens: HOST:PORT; port 0 is any free one."""

    upstream: UpstreamOrigin | None = Field(
        default=None, examples=["http://127.0.0.1:8080", "h2c://127.0.0.1:50051"]
    )
    """What the gate protects: a URL with a host and maybe a port. http: HTTP/1.1. https: HTTP/2
    where the server offers it. h2c: HTTP/2 without TLS (gRPC). Left out: an echo service."""

    api_server: ApiServer = "embedded"
    """embedded: one that daypass brings, for a first run. external: the one at `cluster.server`."""

    @field_validator("gate")
    @classmethod
    def _door_and_gate_differ(cls, gate: Address, info: ValidationInfo) -> Address:
        if gate.port and gate == info.data.get("door"):
            raise fault(f"the door listens on {gate} already", "choose another port")
        return gate
