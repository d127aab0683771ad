"""API Priority and Fairness: what comes through the door has seats of its own at the API server.

The door forwards its callers as they are, so the API server cannot tell the door's requests from
others of the same kind. The rule is therefore by what is asked: `serviceaccounts/token`, by
ServiceAccounts and by nobody. Nodes, which ask for the tokens of all pods, and ServiceAccounts of
kube-system are in other groups or matched before (`system-nodes` at 500,
`kube-system-service-accounts` at 900); other ServiceAccounts that ask for tokens share these seats,
each in queues of its own. A request with a token that is not valid ends before this, at
authentication: only the door's rates bound it.
"""

from daypass.render.objects import Object, new_object

NAME = "daypass-token-requests"
PRECEDENCE = 1000
"""After Kubernetes' own system rules, which end at 900, and before `service-accounts`, at 9000."""
SHARES = 10
"""Of the server's 255 or so: 24 of 600 seats, enough for thousands of tokens a second."""

_API = "flowcontrol.apiserver.k8s.io/v1"


def flow_control() -> list[Object]:
    """The level, and the rule that leads to it."""
    return [_level(), _schema()]


def _level() -> Object:
    queuing = {"queues": 64, "handSize": 6, "queueLengthLimit": 50}
    limited = {
        "nominalConcurrencyShares": SHARES,
        # Idle seats are lent to others, and none are borrowed: these are all there ever are.
        "lendablePercent": 50,
        "borrowingLimitPercent": 0,
        "limitResponse": {"type": "Queue", "queuing": queuing},
    }
    return new_object(
        _API, "PriorityLevelConfiguration", NAME, spec={"type": "Limited", "limited": limited}
    )


def _schema() -> Object:
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
        "matchingPrecedence": PRECEDENCE,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [rule],
    }
    return new_object(_API, "FlowSchema", NAME, spec=spec)
