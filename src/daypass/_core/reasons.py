"""Why the gate allows or refuses a request: a closed list, for responses, metrics and audit."""

from __future__ import annotations

from enum import StrEnum

REASON_HEADER = "daypass-reason"
"""The response header in which a refusal that daypass writes carries its reason."""


class Reason(StrEnum):
    """One word for each outcome of a decision."""

    ALLOWED = "allowed"
    NOT_GUARDED = "not-guarded"
    NO_TOKEN = "no-token"  # noqa: S105 - a reason
    UNREADABLE = "unreadable"
    MALFORMED = "malformed"
    LONG_LIVED = "long-lived"
    FOREIGN_ISSUER = "foreign-issuer"
    ALGORITHM = "algorithm"
    SIGNATURE = "signature"
    AUDIENCE = "audience"
    SEVERAL_AUDIENCES = "several-audiences"
    NO_EXPIRY = "no-expiry"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    LIVES_TOO_LONG = "lives-too-long"
    SUBJECT = "subject"
    UNBOUND = "unbound"
    DENIED = "denied"
    REVIEW_REFUSED = "review-refused"
    REVIEW_AUDIENCE = "review-audience"
    UNKNOWN = "unknown"


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
    Reason.LONG_LIVED: "this is a long-lived token, which opens only the door: trade it there",
    Reason.FOREIGN_ISSUER: "the issuer of this token is not the cluster",
    Reason.ALGORITHM: "this token is signed with an algorithm that no API server uses",
    Reason.SIGNATURE: "this token is not signed by a key of the API server",
    Reason.AUDIENCE: "this token is made for another audience",
    Reason.SEVERAL_AUDIENCES: "this token has more than one audience: request one for this gate "
    "alone",
    Reason.NO_EXPIRY: "this token has no expiry time",
    Reason.EXPIRED: "this token has expired",
    Reason.NOT_YET_VALID: "this token is not valid yet: are the clocks right?",
    Reason.LIVES_TOO_LONG: "this token lives longer than the gate allows, or is older than its "
    "revocation list: request a new one",
    Reason.SUBJECT: "this token does not belong to a ServiceAccount",
    Reason.UNBOUND: "this token is not bound to a Secret and cannot be revoked: request one "
    "with boundObjectRef",
    Reason.DENIED: "this token was revoked",
    Reason.REVIEW_REFUSED: "the API server does not accept this token (any more)",
    Reason.REVIEW_AUDIENCE: "the API server accepts this token, but not for this audience",
    Reason.UNKNOWN: "the gate cannot check this token at the moment",
}
"""The message for the caller; it contains nothing of the request."""
