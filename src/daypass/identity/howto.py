"""How a client that installs nothing gets a short-lived token: with curl, or with kubectl.

No token stands in a command line: other users of the machine could read it there.
"""

from __future__ import annotations

import json
import shlex

from daypass.identity.handover import Handover
from daypass.identity.naming import IdentityName

_FIELD = r"""s/.*"token": "\([^"]*\)".*/"""
_AUTHORITY = r"""s/.*"certificateAuthority": "\([^"]*\)".*/\1/p"""
_KUBECONFIG = (
    r'{"contexts":[{"name":"c","context":{"user":"u"}}],"current-context":"c",'
    r'"users":[{"name":"u","user":{"token":"\1"}}]}'
)


def how_to(name: IdentityName, secret_name: str, handover: Handover, file: str) -> str:
    """Lines for a shell beside the credentials file `file`: two ways, each whole in itself."""
    quoted = shlex.quote(file)
    trust, curl = [], "curl -sS"
    if handover.authority is not None:
        curl += " --cacert door.crt"
        trust = [f"""  printf '%b' "$(sed -n '{_AUTHORITY}' {quoted})" > door.crt"""]
    bound = {"apiVersion": "v1", "kind": "Secret", "name": secret_name}
    spec = {
        "audiences": [handover.audience],
        "expirationSeconds": handover.lifetime_seconds,
        "boundObjectRef": bound,
    }
    body = shlex.quote(json.dumps({"spec": spec}, separators=(",", ":")))
    path = f"/api/v1/namespaces/{name.namespace}/serviceaccounts/{name.name}/token"
    lines = [
        "with curl:",
        *trust,
        f"  sed -n '{_FIELD}Authorization: Bearer \\1/p' {quoted} |",
        f"    {curl} -H @- -H 'Content-Type: application/json' -d {body} \\",
        f"    {handover.door}{path}",
        "with kubectl:",
        *trust,
        f"  (umask 077; sed -n '{_FIELD}{_KUBECONFIG}/p' {quoted} > door.kubeconfig)",
        f"  kubectl --kubeconfig door.kubeconfig --server {handover.door}"
        f"{' --certificate-authority door.crt' if trust else ''} -n {name.namespace} \\",
        f"    create token {name.name} --audience {shlex.quote(handover.audience)}"
        f" --duration {handover.lifetime_seconds}s --bound-object-kind Secret \\",
        f"    --bound-object-name {secret_name}",
    ]
    return "\n".join(lines)
