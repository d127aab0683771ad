"""A small Kubernetes API server in one thread, for first runs and for other projects' tests.

It stores ServiceAccounts, Secrets, RBAC and the few other kinds that daypass uses, and answers
TokenRequest, TokenReview and OpenID discovery over TLS as kube-apiserver 1.37 does. A contract
suite runs on both; if they differ, this one is wrong. It is not a cluster and not for production:
`ONLY_IN_A_CLUSTER` lists what it does not do.

`server` (HTTP) hands whole requests to `api` (authentication, authorization, routing), which calls
a handler in `objects` or `reviews`. Below them are `requests`, `state` (with the state file),
`controllers`, and pure parts: `schema`, `kinds`, `rbac`, `tokens`, `store`, `errors`.
"""

from daypass.local.apiserver.server import ApiServer

__all__ = ["ApiServer"]
