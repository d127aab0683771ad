"""An API server in one Python thread, for first runs and for other people's tests.

It keeps ServiceAccounts, token Secrets, RBAC and the few kinds beside them that daypass meets, and
answers TokenRequest, TokenReview and OpenID discovery over real TLS with what kube-apiserver 1.37
answers: the same codes, reasons and messages, the same reading of paths, headers and bodies. A
contract suite, the same code for both, decides; where the two differ, this one is wrong.

What it refuses to be: a cluster. Nothing is scheduled, nothing runs, no policy is evaluated, nobody
but the tests has looked for its weaknesses, and its objects live in one process's memory. So it is
not for production, and it does not pretend: `ONLY_IN_A_CLUSTER` is the one list of what only a real
cluster has, each with the clear answer that one gets here instead.

    with ApiServer.start(certificate_file=..., key_file=..., certificate_authority=pem,
                         clock=SYSTEM_CLOCK) as server:
        server.admin.apply({"kind": "Namespace", "metadata": {"name": "team"}, ...})
        requests.get(server.url + "/readyz", ...)

The way in: `wire` (HTTP) hands whole requests to `api`, which asks `authentication` and `rbac` and
calls a handler: `reading`, `writing`, `tokenrequest`, `reviews`, `discovery`. Below them are pure
parts: `decoding` and `schema`, `naming`, `selection`, `ownership`, `patching`, `tokens`.
"""

from daypass.local.apiserver.assembly import SnapshotError
from daypass.local.apiserver.errors import StatusError
from daypass.local.apiserver.kinds import ONLY_IN_A_CLUSTER
from daypass.local.apiserver.server import ApiServer
from daypass.local.apiserver.tokens import UnknownKeyError

__all__ = ["ONLY_IN_A_CLUSTER", "ApiServer", "SnapshotError", "StatusError", "UnknownKeyError"]
