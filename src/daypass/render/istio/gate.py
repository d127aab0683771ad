"""The gate's objects on Istio that stay as they are while it runs."""

from daypass.render.envoy.refusals import gate_hint, refusal_replies
from daypass.render.envoy.revocation import revocation_replies
from daypass.render.errors import RenderError
from daypass.render.facts import KubernetesFacts
from daypass.render.istio.decision import REASONS
from daypass.render.istio.filters import first_filters, last_filter
from daypass.render.istio.hosts import policy_hosts
from daypass.render.istio.objects import (
    envoy_filter,
    inserted_first,
    inserted_last,
    merged_manager,
)
from daypass.render.istio.settings import IstioGate
from daypass.render.names import GATE
from daypass.render.objects import Object, new_object
from daypass.spec import Config


def istio_objects(config: Config, facts: KubernetesFacts) -> list[Object]:
    """What checks at Istio's gateway."""
    settings = IstioGate.of(config, facts.issuer_for(config))
    if settings.gate.check != "jwt":
        raise RenderError(
            f"gate.check is {settings.gate.check}, which is not rendered for Istio", "write jwt"
        )
    objects = [_filters(settings)]
    if not settings.leaves_others:
        objects.append(_backstop(settings, facts))
    return objects


def _filters(settings: IstioGate) -> Object:
    hint = gate_hint(settings.gate.audience)
    mappers = [*refusal_replies(REASONS, hint), *revocation_replies(hint)]
    patches = [
        *inserted_first(first_filters(settings)),
        inserted_last(last_filter(settings)),
        merged_manager(local_reply_config={"mappers": mappers}),
    ]
    return envoy_filter(settings, GATE, patches)


def _backstop(settings: IstioGate, facts: KubernetesFacts) -> Object:
    """Refuse whatever the filters have not verified, so also where they are missing."""
    accounts = f"{settings.issuer}/system:serviceaccount:*"
    rule = {
        "from": [{"source": {"notRequestPrincipals": [accounts]}}],
        "to": [{"operation": {"hosts": policy_hosts(settings.gate.hosts)}}],
    }
    versions = ("security.istio.io/v1", "security.istio.io/v1beta1")
    return new_object(
        facts.api_version("AuthorizationPolicy", *versions),
        "AuthorizationPolicy",
        GATE,
        settings.namespace,
        spec={
            "selector": {"matchLabels": settings.labels},
            "action": "DENY",
            "rules": [rule],
        },
    )
