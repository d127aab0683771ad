"""Whatever becomes of two identities, exactly the tokens that may pass do: the embedded server."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
from hypothesis import Phase, settings

from daypass._core.secret import Secret
from daypass.kube.cluster import Cluster
from support.embedded import EmbeddedCluster, InProcess
from support.identity_life import IdentityLife, World


class InLoop(httpx2.AsyncBaseTransport):
    """The same in an event loop."""

    def __init__(self, transport: InProcess) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        return self._transport.handle_request(request)


class EmbeddedWorld(World):
    def __init__(self) -> None:
        self.embedded = EmbeddedCluster()
        self.cluster, self.clock = self.embedded.cluster, self.embedded.clock
        self.namespace = self.embedded.make_namespace("team")
        self.transport = InLoop(self.embedded.transport)

    def pass_time(self) -> None:
        self.embedded.clock.advance(11)  # what it has accepted, it remembers for ten seconds

    def as_holder_of(self, token: Secret) -> Cluster:
        return self.embedded.as_holder_of(token)

    def settled(self, ask: Callable[[], Secret | None], *, may: bool) -> Secret | None:
        token = ask()
        assert (token is not None) == may
        return token

    def job_headers(self) -> dict[str, str]:
        return {}


class EmbeddedLife(IdentityLife):
    def new_world(self) -> World:
        return EmbeddedWorld()


TestIdentityLife = EmbeddedLife.TestCase
TestIdentityLife.settings = settings(
    max_examples=20,
    stateful_step_count=15,
    phases=[Phase.explicit, Phase.generate],  # shrinking takes minutes
)
