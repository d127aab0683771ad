"""The gate of a cluster: what checks at the gateway, and who keeps it up to date.

What is applied to a cluster: objects to apply, or a kustomize tree to read and to commit.

Two functions are the whole of it, for whoever writes, applies, compares or verifies:

    render_objects(config, facts) -> list[Object]        in the order in which to apply them
    render_tree(config, facts)    -> dict[str, str]      relative path -> text

A tree has `base/` (the door), `domains/NAME/` (a front each), `policy/` and `gate/` where the
config has them, and a root that lists them.

Both hold the same objects. Neither holds a secret: `needs.needs(config)` lists what has to be there
beside them, and who brings it. Domains with the front `envoy` are no part of a cluster and are left
out. Raises RenderError where a config leaves something open that the manifests need.
"""

from daypass._core.hints import command
from daypass.config import Config
from daypass.render.certificates import door_certificates, public_certificate
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.door_pod import door_files, flow_control
from daypass.render.errors import RenderError
from daypass.render.fronts import front_objects
from daypass.render.fronts.gateways import backend_tls_policy, destination_rule
from daypass.render.fronts.ingress import api_server_authority
from daypass.render.gateway_api import envoy_gateway_gate
from daypass.render.istio.objects import istio_objects
from daypass.render.network import door_network_policy, door_service
from daypass.render.objects import DOOR, GATE_LABEL, Object, in_order, new_object
from daypass.render.policy.policy_objects import policy_objects
from daypass.render.published_domain import PublishedDomain, published_domains
from daypass.render.workloads import (
    authorizer_objects,
    autoscaler,
    disruption_budget,
    door_workload,
    watcher_objects,
)
from daypass.render.yaml import document


def gate_objects(config: Config, facts: ClusterFacts) -> list[Object]:
    """The gate's objects; none where there is no gate, or where it is on one machine.

    Raises RenderError where the config leaves something open that they need.
    """
    if config.gate is None or config.gate.engine == "envoy":
        return []
    objects = watcher_objects(config, config.gate) + authorizer_objects(config, config.gate)
    if config.gate.engine == "istio":
        objects += istio_objects(config, facts)
    else:
        objects += envoy_gateway_gate(config, config.gate, facts)
    return objects


MARK = "# Rendered by daypass from its config: edit that, and render again.\n"
"""The first line of each file of a tree: what bears it is ours to replace and to remove."""

_POD_SECURITY = {
    f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")
}


def render_parts(config: Config, facts: ClusterFacts) -> dict[str, list[Object]]:
    """The objects by the folder of the tree that they are in: `base`, `domains/NAME`, `policy`,
    `gate`.
    """
    domains = published_domains(config, facts)
    if not domains:
        raise RenderError(
            "no domain of this config is in a cluster: the front envoy is for one machine",
            f"run it with `{command('up')}`, or add a domain with another front",
        )
    if config.cluster.certificate_authority is not None and not facts.authority_pem:
        raise AssertionError("facts of a config with certificateAuthority come from read_facts()")
    _verify_namespace(config, domains)
    parts = {"base": in_order(_base(config, facts, domains))}
    for domain in domains:
        objects = [*public_certificate(domain), *front_objects(domain)]
        parts[f"domains/{domain.name}"] = in_order(objects)
    if config.policy is not None:
        parts["policy"] = in_order(policy_objects(config.policy))
    if gate := gate_objects(config, facts):
        parts["gate"] = in_order(gate)
    return parts


def render_objects(config: Config, facts: ClusterFacts) -> list[Object]:
    """Every object, in the order in which to apply them."""
    return in_order(o for part in render_parts(config, facts).values() for o in part)


def render_tree(config: Config, facts: ClusterFacts) -> dict[str, str]:
    """A kustomize tree as texts by relative path: build its root, or `base` and a domain."""
    tree: dict[str, str] = {}
    parts = render_parts(config, facts)
    for folder, objects in parts.items():
        names = _file_names(objects)
        for name, value in zip(names, objects, strict=True):
            tree[f"{folder}/{name}"] = MARK + document(value)
        tree[f"{folder}/kustomization.yaml"] = _kustomization(names)
    tree["kustomization.yaml"] = _kustomization(list(parts))
    return dict(sorted(tree.items()))


def _base(config: Config, facts: ClusterFacts, domains: list[PublishedDomain]) -> list[Object]:
    behind_door = [domain for domain in domains if not domain.domain.direct]
    objects = flow_control()
    direct = next((domain for domain in domains if domain.domain.direct), None)
    if direct is not None:
        objects += api_server_authority(direct)
    if behind_door or _has_gate(config):
        objects.append(_namespace(config))
    if not behind_door:
        return objects
    files = door_files(config, behind_door)
    objects += [
        *door_workload(config, files, facts.authority_pem),
        door_service(config, behind_door),
        door_network_policy(config, behind_door),
        disruption_budget(DOOR, config.door.namespace),
        autoscaler(DOOR, config.door.namespace, config.door.replicas),
    ]
    by_front = {domain.domain.front: domain for domain in behind_door}
    if "istio" in by_front:
        objects.append(destination_rule(by_front["istio"]))
    if "gateway-api" in by_front:
        objects.append(backend_tls_policy(by_front["gateway-api"]))
    trusting = {d.front_namespace or "" for d in behind_door if d.domain.front == "istio"}
    return [*objects, *door_certificates(config, trusting)]


def _verify_namespace(config: Config, domains: list[PublishedDomain]) -> None:
    """The door's namespace is made, labelled and removed as a whole: it can't be another's."""
    name = config.door.namespace
    fronts = {domain.front_namespace for domain in domains}
    if name == "default" or name.startswith("kube-") or name in fronts:
        raise RenderError(
            f"door.namespace is {name}, where others live",
            "the door needs a namespace of its own, such as daypass",
        )


def _namespace(config: Config) -> Object:
    namespace = new_object("v1", "Namespace", config.door.namespace)
    namespace["metadata"]["labels"].update(_POD_SECURITY)
    if _has_gate(config):
        namespace["metadata"]["labels"][GATE_LABEL] = "true"
    return namespace


def _has_gate(config: Config) -> bool:
    return config.gate is not None and config.gate.engine != "envoy"


def _file_names(objects: list[Object]) -> list[str]:
    """A file an object, named by its kind, and by as much more as tells it from the others."""
    kinds = [str(value["kind"]).lower() for value in objects]
    names = [
        f"{kind}-{value['metadata']['name']}" for kind, value in zip(kinds, objects, strict=True)
    ]
    return [
        f"{kind}.yaml"
        if kinds.count(kind) == 1
        else f"{name}.yaml"
        if names.count(name) == 1
        else f"{name}-{value['metadata']['namespace']}.yaml"
        for kind, name, value in zip(kinds, names, objects, strict=True)
    ]


def _kustomization(resources: list[str]) -> str:
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    return MARK + document({**head, "resources": sorted(resources)})
