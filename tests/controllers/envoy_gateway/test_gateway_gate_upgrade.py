"""The gate of another version on Envoy Gateway is replaced while requests pass it."""

from __future__ import annotations

from contextlib import closing
from functools import partial

import pytest

from daypass._core.objects import Object
from daypass.deploy.apply import drop_rules_first
from daypass.deploy.plan import ObjectChange
from daypass.kube.waiting import Waiter
from daypass.render.names import GATE_KEYS
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.envoy_gateway import apply, delete, find
from support.gateway_environment import HOST, INFRA, PUBLIC, GatewayEnvironment, gate
from support.objects import config_map
from support.raw import connect
from support.tokens import AUDIENCE, ISSUER, Signer
from support.traffic import Traffic

pytestmark = pytest.mark.timeout(1800)

_CLAIMS = "metadata.filter_metadata['envoy.filters.http.jwt_authn']['daypass-gate']"


def policy_before() -> Object:
    """The SecurityPolicy of commit 7a166ff with `check: both`, which had keys of its own."""
    policy = gate("SecurityPolicy")
    keys = {"group": "", "kind": "ConfigMap", "name": GATE_KEYS}
    provider = {
        "name": "daypass-gate", "issuer": ISSUER, "audiences": [AUDIENCE],
        "localJWKS": {"type": "ValueRef", "valueRef": keys},
        "extractFrom": {"headers": [{"name": "Authorization", "valuePrefix": "Bearer "}]},
    }  # fmt: skip
    conditions = (
        f"request.headers['kubeflow-userid'] == {_CLAIMS}['sub']",
        f"size({_CLAIMS}['aud']) == 1",
        f"{_CLAIMS}['exp'] - {_CLAIMS}['iat'] <= 86400.0",
        f"{_CLAIMS}['kubernetes.io']['secret']['uid'] != ''",
    )
    rule = {"name": "daypass-gate", "action": "Allow", "cel": " && ".join(conditions)}
    more = {
        "jwt": {"providers": [provider]},
        "authorization": {"defaultAction": "Deny", "rules": [rule]},
    }
    return {**policy, "spec": {**policy["spec"], **more}}


def test_an_upgrade_from_check_both_refuses_no_good_request(
    env: GatewayEnvironment, plane: ControlPlane
) -> None:
    ours = plane.admin.request("GET", "/openid/v1/jwks").body.decode()
    others = config_map(GATE_KEYS, INFRA, {"jwks": Signer().jwks})
    with env.authorizer("check: review\n  forwardToken: true"):
        token = plane.make_token(env.identity, audiences=[AUDIENCE])
        opened = partial(connect, env.port, authority_pem=PUBLIC.pem, name=HOST)
        traffic = Traffic(connect=opened, host=HOST, token=token)
        apply(plane, others)
        with env.changed(policy_before()):
            eventually("it is in force", lambda: env.send(env.bearer()).code == 401)
            apply(plane, config_map(GATE_KEYS, INFRA, {"jwks": ours}))
            with traffic.flowing():
                eventually("it has the keys", lambda: traffic.last == 200)
                traffic.codes.clear()
                # As `apply` does it.
                new = gate("SecurityPolicy")
                change = ObjectChange(
                    document=new, live=find(plane, new), result=new, action="change"
                )
                with closing(admin_cluster(plane)) as cluster:
                    drop_rules_first(Waiter(cluster, 60), [change], force=False)
                apply(plane, new)
                delete(plane, others)
                eventually("more has passed", lambda: traffic.codes.total() > 200)
            assert traffic.codes.keys() == {200}, traffic.codes
