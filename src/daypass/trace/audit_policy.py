"""The API server's audit policy that logs what `daypass trace` needs: no bodies, so no tokens."""

from daypass._core.objects import Object

_WRITES = ["create", "update", "patch", "delete", "deletecollection"]


def _metadata(verbs: list[str], *resources: str) -> Object:
    selected = [{"group": "", "resources": list(resources)}]
    return {"level": "Metadata", "verbs": verbs, "resources": selected}


AUDIT_POLICY: Object = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        _metadata(["create"], "serviceaccounts/token"),
        # Who created and deleted credentials.
        _metadata(_WRITES, "secrets", "serviceaccounts"),
        {"level": "None"},
    ],
}
"""For kube-apiserver's --audit-policy-file. The first rule that matches a request holds."""
