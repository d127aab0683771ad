"""Why the gate allows or refuses a request: a closed list, for responses, metrics and audit."""

from __future__ import annotations

from enum import StrEnum

REASON_HEADER = "daypass-reason"
"""The response header in which a refusal that daypass writes carries its reason."""


class Reason(StrEnum):
    """One word for each outcome of a decision; below it, what it means for the caller."""

    ALLOWED = "allowed"
    """Not a refusal: the request passes."""
    NOT_GUARDED = "not-guarded"
    """The request is for a host that is not in `gate.hosts`. Correct the URL, or add the host
    there."""
    NO_TOKEN = "no-token"  # noqa: S105 - a reason
    """The request has no Authorization header. Send the short-lived token in it."""
    UNREADABLE = "unreadable"
    """The Authorization header has another scheme, two spaces, two values, or text after the token.
    Send exactly `Authorization: Bearer TOKEN`."""
    MALFORMED = "malformed"
    """The text after `Bearer` is not a JSON Web Token. Was it cut, or is it still in base64?"""
    LONG_LIVED = "long-lived"
    """The client sends the token of its credentials file. It has to exchange it at the door
    first."""
    FOREIGN_ISSUER = "foreign-issuer"
    """Another cluster or identity provider issued the token. Use a door of this cluster."""
    ALGORITHM = "algorithm"
    """The token is not one of an API server. Get one at the door."""
    SIGNATURE = "signature"
    """The token was changed, or its signing key is gone. Get a new one at the door."""
    AUDIENCE = "audience"
    """The token is for another service. Request one with the audience in `gate.audience`."""
    SEVERAL_AUDIENCES = "several-audiences"
    """A token for this gate alone is needed, so that no other service can use it here."""
    NO_EXPIRY = "no-expiry"
    """The token is not a short-lived one. Get one at the door."""
    EXPIRED = "expired"
    """The token is too old. Get a new one before it expires; daypass does this automatically."""
    NOT_YET_VALID = "not-yet-valid"
    """The clock of the gateway or of the API server is wrong."""
    LIVES_TOO_LONG = "lives-too-long"
    """Its lifetime exceeds `policy.longestLifetime`. Request one with a shorter lifetime."""
    SUBJECT = "subject"
    """The token is of a user or node. The gate takes those of ServiceAccounts only."""
    UNBOUND = "unbound"
    """The token is bound to no Secret, so nothing could revoke it. daypass binds tokens; other
    clients have to send `boundObjectRef`."""
    DENIED = "denied"
    """An administrator has denied the token, its Secret, its ServiceAccount or its namespace, by
    `daypass gate deny`."""
    UNKNOWN_CREDENTIAL = "unknown-credential"
    """Its Secret or ServiceAccount was deleted, is less than a second old, or is in a namespace
    that is not watched."""
    REVIEW_REFUSED = "review-refused"
    """The API server knows the token no longer: its Secret or ServiceAccount was deleted. An
    administrator issues new credentials."""
    REVIEW_AUDIENCE = "review-audience"
    """The token is for another service. Request one with the audience in `gate.audience`."""
    UNKNOWN = "unknown"
    """The gate does not know at the moment which credentials exist, or has no keys, or no answer of
    the API server. Try again; if it continues, look at the failures that close the gate."""


CODES = {
    Reason.ALLOWED: 200,
    Reason.NOT_GUARDED: 404,
    Reason.AUDIENCE: 403,
    Reason.SEVERAL_AUDIENCES: 403,
    Reason.SUBJECT: 403,
    Reason.UNBOUND: 403,
    Reason.UNKNOWN: 503,
}
"""The HTTP status code of each reason; 401 for all others."""

MESSAGES = {
    Reason.ALLOWED: "this is a short-lived token for this gate",
    Reason.NOT_GUARDED: "the gate does not guard this host",
    Reason.NO_TOKEN: "the request has no token",
    Reason.UNREADABLE: "exactly one 'Authorization: Bearer <token>' header is needed: one space, "
    "a JSON Web Token, nothing after it",
    Reason.MALFORMED: "this token is not a valid JSON Web Token",
    Reason.LONG_LIVED: "this is a long-lived token, which opens only the door: exchange it there",
    Reason.FOREIGN_ISSUER: "the issuer of this token is not the cluster",
    Reason.ALGORITHM: "this token is signed with an algorithm that no API server uses",
    Reason.SIGNATURE: "this token is not signed by a key of the API server",
    Reason.AUDIENCE: "this token is made for another audience",
    Reason.SEVERAL_AUDIENCES: "this token has more than one audience: request one for this gate "
    "alone",
    Reason.NO_EXPIRY: "this token has no expiry time",
    Reason.EXPIRED: "this token has expired",
    Reason.NOT_YET_VALID: "this token is not valid yet: are the clocks right?",
    Reason.LIVES_TOO_LONG: "this token lives longer than the gate allows: request a new one",
    Reason.SUBJECT: "this token does not belong to a ServiceAccount",
    Reason.UNBOUND: "this token is not bound to a Secret and cannot be revoked: request one "
    "with boundObjectRef",
    Reason.DENIED: "an administrator has denied this token",
    Reason.UNKNOWN_CREDENTIAL: "the gate does not know the credentials that this token was made "
    "with: they were revoked, or are less than a second old",
    Reason.REVIEW_REFUSED: "the API server does not accept this token (any more)",
    Reason.REVIEW_AUDIENCE: "the API server accepts this token, but not for this audience",
    Reason.UNKNOWN: "the gate cannot check this token at the moment",
}
"""The message for the caller; it contains nothing of the request."""
