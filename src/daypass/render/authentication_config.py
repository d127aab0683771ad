"""The API server's AuthenticationConfiguration for trusted issuers of OIDC tokens.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#using-authentication-configuration
(v1 since Kubernetes 1.34, v1beta1 since 1.30). The API server accepts each issuer once, so all
identities of an issuer share an entry: it lists their subjects, and RBAC says which of them may
request which tokens. A user name contains its issuer, so no issuer can claim another's subjects.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from daypass._core.errors import UsageError
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object

API_VERSION = "apiserver.config.k8s.io/v1"
KIND = "AuthenticationConfiguration"
_LONGEST_CHARACTERS = 1024
_ISSUER = re.compile(r"https://[a-z0-9.-]+(:[1-9][0-9]{0,4})?(/[A-Za-z0-9._~/-]*)?")
_SUBJECTS = re.compile(r"claims\.sub in (\[.*\])")
_RULE = "daypass: this subject is not listed"


class BadTrustError(UsageError):
    """The issuer or its subjects are invalid, or the issuer is already trusted in another way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """An issuer and its trusted subjects.

    `url` is the claim `iss`, `audience` is in `aud`, `subjects` are complete claims `sub`.
    `authority`: PEM of the authority of the issuer's own certificate, if that is private.

    Raises BadTrustError. There are no patterns: `repo:org/*` has admitted other repositories
    before, and RBAC binds users by their complete name anyway.
    """

    url: str
    audience: str
    subjects: tuple[str, ...]
    authority: str | None = None

    def __post_init__(self) -> None:
        if len(self.url) > _LONGEST_CHARACTERS or not _ISSUER.fullmatch(self.url):
            raise BadTrustError(
                "the issuer is not an https URL of a host and an optional path",
                "copy the claim `iss` of a token exactly:"
                " https://token.actions.githubusercontent.com",
            )
        for text, what in [(self.audience, "audience"), *((s, "subject") for s in self.subjects)]:
            if not _is_plain(text):
                raise BadTrustError(f"the {what} is empty, too long, or has unprintable characters")
        for subject in self.subjects:
            if "*" in subject:
                raise BadTrustError(
                    f"the subject {subject} has a wildcard",
                    "write each in full (repo:ORG/REPO:ref:refs/heads/main); --subject may repeat",
                )
        if not self.subjects:
            raise BadTrustError("no subject is trusted", "name at least one subject")

    @property
    def user_prefix(self) -> str:
        """The prefix of this issuer's user names; no prefix starts another, as no URL has a `#`."""
        return f"{labels.FEDERATED_PREFIX}{self.url.removeprefix('https://')}#"

    @property
    def users(self) -> tuple[str, ...]:
        """The subjects' user names in Kubernetes."""
        return tuple(self.user_prefix + subject for subject in self.subjects)


def authentication_configuration(
    trusted: TrustedIssuer, existing: Mapping[str, Any] | None = None
) -> Object:
    """Return the API server's configuration with an issuer added to the existing one.

    Everything else is unchanged: `anonymous`, other issuers, the apiVersion. Users get no groups
    but system:authenticated, and no UID. Raises BadTrustError if `existing` is something else, or
    trusts the issuer in another way.
    """
    found: Object = dict(existing or {"apiVersion": API_VERSION, "kind": KIND})
    if found.get("kind") != KIND or not isinstance(found.get("jwt") or [], list):
        raise BadTrustError(
            f"the file to merge with is not an {KIND}",
            "name the API server's file of --authentication-config",
        )
    entries = list(found.get("jwt") or [])
    for index, entry in enumerate(entries):
        if isinstance(entry, dict) and (entry.get("issuer") or {}).get("url") == trusted.url:
            entries[index] = _merged(trusted, entry)
            break
    else:
        issuer = _issuer(trusted, {"url": trusted.url})
        entries.append(_entry(trusted, issuer, trusted.subjects))
    return {**found, "jwt": entries}


def _merged(trusted: TrustedIssuer, entry: Object) -> Object:
    rules = entry.get("claimValidationRules") or [{}]
    listed = _SUBJECTS.fullmatch(str(rules[0].get("expression", "")))
    subjects = json.loads(listed[1]) if listed else []
    if entry != _entry(trusted, entry["issuer"], subjects):
        raise BadTrustError(
            f"{trusted.url} is already trusted, in a way that daypass did not write",
            "an API server accepts an issuer only once: move the others to another URL of it",
        )
    return _entry(trusted, _issuer(trusted, entry["issuer"]), (*subjects, *trusted.subjects))


def _issuer(trusted: TrustedIssuer, known: Object) -> Object:
    audiences = dict.fromkeys([*(known.get("audiences") or ()), trusted.audience])
    authority = {"certificateAuthority": trusted.authority} if trusted.authority else {}
    return {**known, **authority, "audiences": [*audiences], "audienceMatchPolicy": "MatchAny"}


def _entry(trusted: TrustedIssuer, issuer: Object, subjects: Iterable[str]) -> Object:
    listed = json.dumps(sorted(set(subjects)), ensure_ascii=False)  # a list in CEL, too
    return {
        "issuer": issuer,
        "claimValidationRules": [{"expression": f"claims.sub in {listed}", "message": _RULE}],
        "claimMappings": {"username": {"claim": "sub", "prefix": trusted.user_prefix}},
    }


def _is_plain(text: str) -> bool:
    fits = 0 < len(text) <= _LONGEST_CHARACTERS and text.isprintable() and text == text.strip()
    return fits and not set(text) & {'"', "\\"}
