"""Why the gate allows or refuses a request: a closed list, for responses, metrics and audit."""

from __future__ import annotations

from enum import StrEnum

from daypass._core.hints import command

REASON_HEADER = "daypass-reason"
"""The response header in which a refusal that daypass writes carries its reason."""


class Reason(StrEnum):
    """One word for each outcome of a decision; below it, what the caller can do."""

    ALLOWED = "allowed"
    """Not a refusal: the request passes."""
    NOT_GUARDED = "not-guarded"
    """Correct the URL, or add the host to the gate's `hosts`."""
    AMBIGUOUS = "ambiguous"
    """Write no `//`, `;`, dots alone or needless percent-encoding in the path, and no header that
    chooses a model."""
    NO_TOKEN = "no-token"  # noqa: S105 - a reason
    """Send the short-lived token in an Authorization header."""
    UNREADABLE = "unreadable"
    """Send exactly `Authorization: Bearer TOKEN`. Was the token cut?"""
    MALFORMED = "malformed"
    """Was it cut, or is it still in base64?"""
    LONG_LIVED = "long-lived"
    """Exchange the token of the credentials file at the door."""
    FOREIGN_ISSUER = "foreign-issuer"
    """Use a door of this cluster."""
    ALGORITHM = "algorithm"
    """Get one at the door."""
    SIGNATURE = "signature"
    """It was changed, or its key is gone. Get a new one at the door."""
    AUDIENCE = "audience"
    """Request one with the audience in the gate's `audience`."""
    SEVERAL_AUDIENCES = "several-audiences"
    """With others, another service could use it here."""
    AUDIENCE_OPENING = "audience-opening"
    """Request a token with an audience that opens this place, see the gate's `audiences`."""
    NO_EXPIRY = "no-expiry"
    """Get a short-lived one at the door."""
    EXPIRED = "expired"
    """Get a new one before it expires, as daypass does."""
    NOT_YET_VALID = "not-yet-valid"
    """The clock of the gateway or of the API server is wrong."""
    LIVES_TOO_LONG = "lives-too-long"
    """`policy.longestLifetime` is the limit."""
    SUBJECT = "subject"
    """The gate takes no tokens of users and nodes."""
    NOT_ALLOWED = "not-allowed"
    """The gate's `allow` lists the namespaces and identities that may pass."""
    UNBOUND = "unbound"
    """daypass binds tokens; others have to send `boundObjectRef`, see the gate's `boundTo`."""
    DENIED = "denied"
    """By `daypass gate deny`: it, its Secret, its ServiceAccount or its namespace."""
    UNKNOWN_CREDENTIAL = "unknown-credential"
    """Or its namespace is not watched, or it is bound to another identity's Secret."""
    REVIEW_REFUSED = "review-refused"
    """Its Secret or ServiceAccount was deleted: ask an administrator."""
    REVIEW_AUDIENCE = "review-audience"
    """Request one with the audience in the gate's `audience`."""
    MODEL = "model"
    """Correct the URL, or ask for access: `daypass identity authorize --model`."""
    UNKNOWN = "unknown"
    """Try again; if it continues, look at what closes the gate."""


CODES = {
    Reason.ALLOWED: 200,
    Reason.NOT_GUARDED: 404,
    Reason.AMBIGUOUS: 400,
    Reason.AUDIENCE: 403,
    Reason.SEVERAL_AUDIENCES: 403,
    Reason.AUDIENCE_OPENING: 403,
    Reason.SUBJECT: 403,
    Reason.NOT_ALLOWED: 403,
    Reason.UNBOUND: 403,
    Reason.MODEL: 403,
    Reason.UNKNOWN: 503,
}
"""The HTTP status code of each reason; 401 for all others."""

MESSAGES = {
    Reason.ALLOWED: "this is a short-lived token for this gate",
    Reason.NOT_GUARDED: "the gate does not guard this host",
    Reason.AMBIGUOUS: "servers could read this path in different ways, or a header chooses a model",
    Reason.NO_TOKEN: "the request has no token",
    Reason.UNREADABLE: "exactly one 'Authorization: Bearer <token>' header is needed: one space, "
    "a whole JSON Web Token, nothing after it",
    Reason.MALFORMED: "this token is not a valid JSON Web Token",
    Reason.LONG_LIVED: "this is a long-lived token, which opens only the door: exchange it there",
    Reason.FOREIGN_ISSUER: "the issuer of this token is not the cluster",
    Reason.ALGORITHM: "this token is signed with an algorithm that no API server uses",
    Reason.SIGNATURE: "this token is not signed by a key of the API server",
    Reason.AUDIENCE: "this token is made for another audience",
    Reason.SEVERAL_AUDIENCES: "this token has more than one audience: request one for this gate "
    "alone",
    Reason.AUDIENCE_OPENING: "the audience of this token does not open this host and path",
    Reason.NO_EXPIRY: "this token has no expiry time",
    Reason.EXPIRED: "this token has expired",
    Reason.NOT_YET_VALID: "this token is not valid yet: are the clocks right?",
    Reason.LIVES_TOO_LONG: "this token lives longer than the gate allows: request a new one",
    Reason.SUBJECT: "this token does not belong to a ServiceAccount",
    Reason.NOT_ALLOWED: "this ServiceAccount may not pass this gate",
    Reason.UNBOUND: "this token is not bound to an object that this gate accepts, such as a "
    "Secret, and cannot be revoked: request one with boundObjectRef",
    Reason.DENIED: "an administrator has denied this token",
    Reason.UNKNOWN_CREDENTIAL: "the gate does not know the credentials that this token was made "
    "with: they were revoked, have expired, or are less than a second old",
    Reason.REVIEW_REFUSED: "the API server does not accept this token (any more)",
    Reason.REVIEW_AUDIENCE: "the API server accepts this token, but not for this audience",
    Reason.MODEL: "there is no such model, or this ServiceAccount may not use it",
    Reason.UNKNOWN: "the gate cannot check this token at the moment",
}
"""The message for the caller; it contains nothing of the request."""

STATUS_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    503: "ServiceUnavailable",
}
"""`reason` of the gate's Statuses, by their code."""

UNAVAILABLE = 429
"""The authorizer's HTTP code in place of 503: Envoy takes a 503 for a failure of the authorizer and
drops its message and Retry-After. The gateway turns it back into 503."""


def refusal_message(reason: Reason, audience: str) -> str:
    """Return the message of a refusal, with what to do if another token helps."""
    is_of_token = CODES.get(reason, 401) in (401, 403)
    more = f" ({next_step(reason, audience)})" if is_of_token else ""
    return MESSAGES[reason] + more


def next_step(reason: Reason, audience: str) -> str:
    """Return what to do after a refusal. For a revoked token, the cache would return it again."""
    if reason is Reason.DENIED:
        again = command("token", "--clear-cache")
        return f"if it is this token alone, `{again}` and a new start of your program get another"
    if reason in (Reason.NOT_ALLOWED, Reason.MODEL):
        return "another token of it changes nothing: ask your administrator for access"
    if reason in (Reason.UNKNOWN_CREDENTIAL, Reason.REVIEW_REFUSED):
        line = command("doctor", "--audience", audience)
        return f"`{line}` shows whether the credentials were revoked, and what to do"
    return (
        f"the gate takes short-lived tokens made for the audience {audience}; "
        f"`{command('token', '--audience', audience)}` prints one"
    )
