"""What a cluster would answer to a TokenRequest, asked so that no token can come of it.

The API server looks at `boundObjectRef` after all admission, and before it signs: a reference that
cannot be good ends every request there that would have passed. A Secret is named with a UID that no
object has (404 or 409 then); an empty reference is, to policies, the same as none, and is refused
as a reference to an object without a kind (400).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias
from uuid import uuid4

from daypass._core.errors import DaypassError, UsageError
from daypass.identity.naming import verify_object_name
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ApiError
from daypass.kube.resources import SERVICE_ACCOUNTS
from daypass.render.policy import marks

Verdict: TypeAlias = Literal["allowed", "denied", "forbidden", "refused"]
"""allowed; denied by this policy; forbidden by RBAC; refused by another policy or webhook."""

_OURS = re.compile(
    f"ValidatingAdmissionPolicy '{marks.NAME}' with binding '[^']*' denied request: (.*)", re.DOTALL
)
_OTHERS = re.compile("ValidatingAdmissionPolicy '|admission webhook")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A TokenRequest. `secret`: the name of the Secret it is bound to. `user`: who asks, else the
    admin. Raises UsageError for what no TokenRequest can say."""

    namespace: str
    service_account: str
    audiences: tuple[str, ...]
    lifetime_seconds: int
    secret: str | None = None
    user: str | None = None

    def __post_init__(self) -> None:
        verify_object_name("ServiceAccount", self.service_account)
        if self.secret is not None:
            verify_object_name("Secret", self.secret)
        for audience in self.audiences:
            if not _is_plain(audience):
                raise UsageError(
                    f"{audience[:80]!r} is no audience",
                    "whom the token is for, without spaces around it, such as gate.example.com",
                )
        if self.user is not None and not (_is_plain(self.user) and self.user.isascii()):
            raise UsageError(
                f"{self.user[:80]!r} is no user that a header can name",
                "ASCII, without spaces around it, such as system:serviceaccount:team:bot",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the cluster would say. `message` is its own word where it says no."""

    verdict: Verdict
    message: str = ""


def ask(cluster: Cluster, question: Question) -> Answer:
    """Ask. Raises ApiError where the question itself fails: no such ServiceAccount, no right to
    speak as `user`, a lifetime that no API server grants."""
    path = SERVICE_ACCOUNTS.path(question.namespace, question.service_account, "token")
    what = f"ask for a token of {question.service_account} in {question.namespace}"
    try:
        cluster.request(
            "POST", path, _body(question), what=what, headers=_speaking_as(question.user)
        )
    except ApiError as error:
        return _understood(error, question)
    raise DaypassError(
        "the API server made a token for a bound object that does not exist: none was to be made",
        "it is no Kubernetes API server as we know it",
    )


def _is_plain(text: str) -> bool:
    return bool(text) and text == text.strip() and text.isprintable()


def _body(question: Question) -> dict[str, object]:
    impossible = str(uuid4())
    reference = (
        {"apiVersion": "v1", "kind": "Secret", "name": question.secret, "uid": impossible}
        if question.secret
        else {}
    )
    spec = {
        "audiences": list(question.audiences),
        "expirationSeconds": question.lifetime_seconds,
        "boundObjectRef": reference,
    }
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}


def _speaking_as(user: str | None) -> Mapping[str, str]:
    return {} if user is None else {"Impersonate-User": user}


def _understood(error: ApiError, question: Question) -> Answer:
    code, message = error.status.code, error.status.message
    if ours := _OURS.search(message):
        return Answer(verdict="denied", message=ours[1])
    if _OTHERS.search(message):
        return Answer(verdict="refused", message=message)
    if code == 403 and "cannot create resource" in message:
        return Answer(verdict="forbidden", message=message)
    passed = {
        400: "cannot bind token to object of type /, Kind=",
        404: f'secrets "{question.secret}" not found',
        409: "does not match the UID in record",
    }
    if passed.get(code, "\0") in message:
        return Answer(verdict="allowed")
    raise error
