"""Whatever becomes of two identities, exactly the tokens that may pass do: a real API server.

DAYPASS_LIFE_EXAMPLES=100 looks further.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.secret import Secret
from daypass.kube.cluster import Cluster
from support.clusters import cluster_as
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identity_life import IdentityLife, World
from support.lifecycle import ISSUER

JOB = f"federated:{ISSUER.removeprefix('https://')}#main"


class RealWorld(World):
    forgets = False

    def __init__(self, plane: ControlPlane, cluster: Cluster) -> None:
        self.plane, self.cluster, self.clock = plane, cluster, SYSTEM_CLOCK
        self.namespace = plane.make_namespace()
        self.holders: dict[str, Cluster] = {}

    def pass_time(self) -> None:
        """It passes by itself, and less than any overlap."""

    def settled(self, ask: Callable[[], Secret | None], *, may: bool) -> Secret | None:
        token: list[Secret | None] = []

        def is_settled() -> bool:
            token.append(ask())
            return (token[-1] is not None) == may

        eventually(f"the door gives {'a' if may else 'no'} token", is_settled)
        return token[-1]

    def as_holder_of(self, token: Secret) -> Cluster:
        key = token.reveal()
        if key not in self.holders:
            self.holders[key] = cluster_as(self.plane, token)
        return self.holders[key]

    def job_headers(self) -> dict[str, str]:
        return {"Impersonate-User": JOB}

    def close(self) -> None:
        for each in self.holders.values():
            each.close()


def test_exactly_the_tokens_that_may_pass_do(plane: ControlPlane, cluster: Cluster) -> None:
    class RealLife(IdentityLife):
        def new_world(self) -> World:
            return RealWorld(plane, cluster)

        def teardown(self) -> None:
            super().teardown()
            assert isinstance(self.world, RealWorld)
            self.world.close()

    run_state_machine_as_test(
        RealLife,
        settings=settings(
            max_examples=int(os.environ.get("DAYPASS_LIFE_EXAMPLES", "10")),
            stateful_step_count=12,
            phases=[Phase.explicit, Phase.generate],  # shrinking takes minutes
        ),
    )
