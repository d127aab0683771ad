"""The manifests of a config: objects to apply, or a kustomize tree to read and to commit.

    render_objects(config, facts)   a list of objects, in the order in which to apply them
    render_tree(folders)            texts by relative path, of what `render_folders` returns

A tree has `base/` (the door), `domains/NAME/` (one front each), `policy/`, `gate/` and
`monitoring/` if the config has them, and a root that lists them. Both have the same objects, and no
secrets: `prerequisites` lists what must exist, and who creates it. Domains with the front `envoy`
are for one machine and left out. Raises RenderError if a config leaves something open that the
manifests need.
"""

from typing import TypeAlias

from daypass._core.hints import command
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object, new_object
from daypass.config import Config
from daypass.render import RenderError
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.engines import engines_of
from daypass.render.fronts import AnyFront, fronts_of
from daypass.render.monitoring import monitoring_objects
from daypass.render.names import door_server
from daypass.render.objects import document, in_order
from daypass.render.policy import policy_objects
from daypass.render.prerequisites import public_certificate, serving_certificates
from daypass.render.workloads import authorizer_objects, door_objects, watcher_objects


def gate_objects(config: Config, facts: ClusterFacts) -> list[Object]:
    """Return the objects of the gates; none without a gate, or if it is on one machine.

    Raises RenderError if the config leaves something open that they need.
    """
    if not (engines := engines_of(config, facts)):
        return []
    objects = [*watcher_objects(config, facts), *authorizer_objects(config, facts)]
    for engine in engines:
        # Gateways of one kind verify the authorizer by the same object.
        objects += [each for each in engine.objects() if each not in objects]
    return objects


Folders: TypeAlias = dict[str, list[Object]]
"""Objects by folder of the tree."""
MARK = "# Rendered by daypass from its config: edit that, and render again.\n"
"""The first line of each file of a tree: daypass replaces and removes only files that have it."""

_POD_SECURITY = {
    f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")
}

FLOW_CONTROL = "daypass-token-requests"
_PRECEDENCE = 1000
"""After Kubernetes' own system rules, which end at 900, and before `service-accounts`, at 9000."""
_SHARES = 10
"""Of the server's about 255: 24 of 600 seats, enough for thousands of tokens per second."""
_API = "flowcontrol.apiserver.k8s.io/v1"


def domain_of(path: str) -> str:
    """Return the domain to which a folder or file of a tree belongs; empty if to none."""
    part, _, rest = path.partition("/")
    return rest.partition("/")[0] if part == "domains" else ""


def render_folders(config: Config, facts: ClusterFacts) -> Folders:
    """Return the objects by folder of the tree: `base`, `domains/NAME`, `policy`, `gate`,
    `monitoring`.
    """
    fronts = fronts_of(config, facts)
    if not fronts:
        raise RenderError(
            "every domain of this config has front: envoy, which is for one machine",
            f"run it with `{command('up')}`, or add a domain with another front; "
            f"`{command('init')}` writes the config of a cluster",
        )
    if config.cluster.certificate_authority is not None and not facts.authority_pem:
        raise AssertionError("facts of a config with certificateAuthority come from read_facts()")
    _verify_namespace(config, fronts)
    folders: Folders = {"base": in_order(_base(config, facts, fronts))}
    for front in fronts:
        folders[f"domains/{front.name}"] = in_order([*public_certificate(front), *front.objects()])
    if config.policy is not None:
        folders["policy"] = in_order(policy_objects(config.policy))
    if gate := gate_objects(config, facts):
        folders["gate"] = in_order(gate)
    if monitoring := monitoring_objects(config):
        folders["monitoring"] = in_order(monitoring)
    folders["base"].insert(0, _namespace(config))
    return folders


def render_objects(config: Config, facts: ClusterFacts) -> list[Object]:
    """Return every object, in the order in which to apply them."""
    return objects_of(render_folders(config, facts))


def objects_of(folders: Folders) -> list[Object]:
    """Return the objects of all folders, in the order in which to apply them."""
    return in_order(o for objects in folders.values() for o in objects)


def render_tree(folders: Folders) -> dict[str, str]:
    """Return a kustomize tree: texts by relative path. Build its root, or `base` and a domain."""
    tree: dict[str, str] = {}
    for folder, objects in folders.items():
        names = file_names(objects)
        for name, value in zip(names, objects, strict=True):
            tree[f"{folder}/{name}"] = MARK + document(value)
        tree[f"{folder}/kustomization.yaml"] = _kustomization(names)
    tree["kustomization.yaml"] = _kustomization(list(folders))
    return dict(sorted(tree.items()))


def _base(config: Config, facts: ClusterFacts, fronts: list[AnyFront]) -> list[Object]:
    server = door_server(config.door.namespace)
    verified = {type(front): front.verification(server) for front in fronts}
    locations = [
        location for front in fronts if (location := front.authority_location()) is not None
    ]
    return [
        *_flow_control(),
        *door_objects(config, fronts, facts.authority_pem),
        *(document for document in verified.values() if document is not None),
        *serving_certificates(config, server, locations),
    ]


def _flow_control() -> list[Object]:
    """Return what gives requests from the door seats of their own at the API server.

    The door forwards its callers' own credentials, so the rule selects by request:
    `serviceaccounts/token` from ServiceAccounts and from unauthenticated users. Nodes and
    ServiceAccounts of kube-system match before, at 500 and 900. Other ServiceAccounts that request
    tokens share these seats, each with its own queues. A request with an invalid token fails
    before, at authentication: only the door's rate limits bound it.
    """
    return [_priority_level(), _flow_schema()]


def _priority_level() -> Object:
    queuing = {"queues": 64, "handSize": 6, "queueLengthLimit": 50}
    limited = {
        "nominalConcurrencyShares": _SHARES,
        # Idle seats are lent to others, none are borrowed: these are all there ever are.
        "lendablePercent": 50,
        "borrowingLimitPercent": 0,
        "limitResponse": {"type": "Queue", "queuing": queuing},
    }
    return new_object(
        _API,
        "PriorityLevelConfiguration",
        FLOW_CONTROL,
        spec={"type": "Limited", "limited": limited},
    )


def _flow_schema() -> Object:
    rule = {
        "subjects": [
            {"kind": "Group", "group": {"name": name}}
            for name in ("system:serviceaccounts", "system:unauthenticated")
        ],
        "resourceRules": [
            {
                "verbs": ["create", "get"],
                "apiGroups": [""],
                "resources": ["serviceaccounts/token"],
                "namespaces": ["*"],
            }
        ],
    }
    spec = {
        "priorityLevelConfiguration": {"name": FLOW_CONTROL},
        "matchingPrecedence": _PRECEDENCE,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [rule],
    }
    return new_object(_API, "FlowSchema", FLOW_CONTROL, spec=spec)


def _verify_namespace(config: Config, fronts: list[AnyFront]) -> None:
    """Raise RenderError if others use the namespace: it is labelled and removed as a whole."""
    name = config.door.namespace
    used = {front.pods_namespace for front in fronts}
    used |= {gate.gateway_namespace for gate in config.cluster_gates.values()}
    if name == "default" or name.startswith("kube-") or name in used:
        raise RenderError(
            f"door.namespace is {name}, which others use",
            "write a namespace for the door alone, such as daypass",
        )


def _namespace(config: Config) -> Object:
    namespace = new_object("v1", "Namespace", config.door.namespace)
    namespace["metadata"]["labels"].update(_POD_SECURITY)
    if config.cluster_gates:
        namespace["metadata"]["labels"][labels.GATE] = "true"
    return namespace


def file_names(objects: list[Object]) -> list[str]:
    """Return a file name for each object: its kind, and its name and namespace if needed."""
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
