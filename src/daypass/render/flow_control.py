"""API Priority and Fairness: requests from the door get their own seats at the API server.

The door forwards its callers' own credentials, so the API server can't tell these requests from
others of the same kind. The rule therefore selects by request: `serviceaccounts/token` from
ServiceAccounts and from unauthenticated users. Nodes and ServiceAccounts of kube-system are in
other groups or match before (`system-nodes` at 500, `kube-system-service-accounts` at 900). Other
ServiceAccounts that request tokens share these seats, each with its own queues. A request with an
invalid token fails before, at authentication: only the door's rate limits bound it.
"""

from daypass._core.kubernetes.objects import Object, new_object

NAME = "daypass-token-requests"
_PRECEDENCE = 1000
"""After Kubernetes' own system rules, which end at 900, and before `service-accounts`, at 9000."""
_SHARES = 10
"""Of the server's about 255: 24 of 600 seats, enough for thousands of tokens per second."""
_API = "flowcontrol.apiserver.k8s.io/v1"


def flow_control() -> list[Object]:
    """Return the PriorityLevelConfiguration and the FlowSchema that selects it."""
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
        _API, "PriorityLevelConfiguration", NAME, spec={"type": "Limited", "limited": limited}
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
        "priorityLevelConfiguration": {"name": NAME},
        "matchingPrecedence": _PRECEDENCE,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [rule],
    }
    return new_object(_API, "FlowSchema", NAME, spec=spec)
