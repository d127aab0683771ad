"""The API server behind the door, as the door and the gate see it."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from daypass.spec.hosts import Host, IpAddress
from daypass.spec.locations import FilePath
from daypass.spec.section import Section
from daypass.spec.unique import unique
from daypass.spec.urls import HttpsOrigin, Issuer, split_origin

IN_CLUSTER = "https://kubernetes.default.svc"


def _host_of_server(validated: dict[str, Any]) -> str:
    return split_origin(validated["server"])[0]


class Cluster(Section):
    """Where the API server is, and how it proves that it is the one."""

    server: HttpsOrigin = Field(default=IN_CLUSTER, examples=["https://10.0.0.1:6443"])
    """URL of the API server as seen from the door: https, a host and maybe a port."""

    certificate_authority: FilePath | None = Field(default=None, examples=["ca.crt"])
    """PEM file, relative to this file, of the authority that signed the API server's certificate.
    Left out in a cluster: the ConfigMap kube-root-ca.crt."""

    server_name: Host = Field(default_factory=_host_of_server, examples=["kubernetes.default.svc"])
    """The name (or IP address) that the API server's certificate must hold. Left out: the host of
    `server`."""

    addresses: Annotated[tuple[IpAddress, ...], AfterValidator(unique)] = Field(
        default_factory=tuple, max_length=100, examples=[["10.0.0.1", "10.0.0.2"]]
    )
    """IP addresses of the API servers as pods reach them (kubectl get endpointslices -n default);
    the door may connect to no others. Left out: to any, on the ports of API servers."""

    issuer: Issuer | None = Field(default=None, examples=["https://kubernetes.default.svc"])
    """The claim `iss` of short-lived tokens, letter by letter. Left out: asked from the cluster."""

    @property
    def server_host(self) -> str:
        """The host of `server`; an IPv6 address without brackets."""
        return split_origin(self.server)[0]

    @property
    def server_port(self) -> int:
        """The port of `server`, 443 where it names none."""
        return split_origin(self.server)[1]
