"""How a client that installs nothing gets a short-lived token: with curl, or with kubectl.

No token stands in a command line: other users of the machine could read it there.
"""

from __future__ import annotations

import json
import shlex

from daypass._core.hints import kubectl
from daypass.identity.handover import Handover
from daypass.identity.naming import IdentityName

_FIELD = r"""s/.*"token": "\([^"]*\)".*/"""
_AUTHORITY = r"""s/.*"certificateAuthority": "\([^"]*\)".*/\1/p"""
_KUBECONFIG = (
    r'{"contexts":[{"name":"c","context":{"user":"u"}}],"current-context":"c",'
    r'"users":[{"name":"u","user":{"token":"\1"}}]}'
)


def how_to(
    name: IdentityName, secret_name: str, handover: Handover, file: str, *, by_kubectl: bool = True
) -> str:
    """Lines for a shell in the folder of the credentials file `file`: two ways, each complete.

    `by_kubectl`: the second way too, which the embedded API server does not take.
    """
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
    ]
    if not by_kubectl:
        return "\n".join(lines)
    line = kubectl(
        "--kubeconfig", "door.kubeconfig", "--server", handover.door,
        *(("--certificate-authority", "door.crt") if trust else ()),
        "-n", name.namespace, "create", "token", name.name, "--audience", handover.audience,
        "--duration", f"{handover.lifetime_seconds}s",
        "--bound-object-kind", "Secret", "--bound-object-name", secret_name,
    )  # fmt: skip
    lines += [
        "with kubectl:",
        *trust,
        f"  (umask 077; sed -n '{_FIELD}{_KUBECONFIG}/p' {quoted} > door.kubeconfig)",
        f"  {line}",
    ]
    return "\n".join(lines)
