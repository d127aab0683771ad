"""Tokens and headers of any shape, for hypothesis: what a gate and the decision are both asked."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from support.publishing import CREDENTIAL
from support.single_changes import (
    DENIED_ACCOUNT,
    DENIED_UID,
    FAR_UID,
    GONE_UID,
    THEIR_ACCOUNT,
    THEIR_UID,
)
from support.tokens import ACCOUNT_UID, AUDIENCE, ISSUER, SECRET_UID, Signer, encode, good_claims

# Minutes away from every bound, so that the second in which Envoy looks does not matter.
TIMES: list[Any] = [-3600, 300, 3000, 8000, 10**6]
JUNK: list[Any] = ["", "x", 0, -1, True, [], {}, ["x"], {"x": 1}, 1.5, "1800000000"]
absent = st.just("<absent>")
odd = st.sampled_from(JUNK)

bound = st.builds(
    lambda secret, account: {
        "namespace": "team", "secret": {"uid": secret}, "serviceaccount": {"uid": account},
    },
    st.sampled_from([
        SECRET_UID, DENIED_UID, GONE_UID, FAR_UID, SECRET_UID.upper(), "x", THEIR_UID,
        CREDENTIAL, f"{SECRET_UID}/",
    ]),
    st.sampled_from([
        ACCOUNT_UID, DENIED_ACCOUNT, DENIED_ACCOUNT[:-1], "", THEIR_ACCOUNT, SECRET_UID,
        f"/{ACCOUNT_UID}",
    ]),
)  # fmt: skip

changes = st.fixed_dictionaries(
    {},
    optional={
        "iss": absent | odd | st.sampled_from(["kubernetes/serviceaccount", ISSUER + "/"]),
        "aud": absent | odd | st.sampled_from([AUDIENCE, AUDIENCE.upper()])
        | st.lists(st.sampled_from([AUDIENCE, ISSUER, AUDIENCE + "x"]), max_size=3),
        "sub": absent | odd | st.sampled_from(
            ["admin", "system:serviceaccount:team:", "system:serviceaccount:other:bot",
             "system:serviceaccount:team:bot:x", "system:node:n"]),
        "kubernetes.io": absent | odd | st.sampled_from([
            {"namespace": "team"},
            {"namespace": "team", "secret": {}},
            {"namespace": "team", "secret": None, "serviceaccount": {"uid": ACCOUNT_UID}},
            {"namespace": "team", "serviceaccount": {"uid": ACCOUNT_UID}},
            {"namespace": "team", "secret": {"uid": 5}},
            {"namespace": "team", "pod": {"name": "p", "uid": "u"}},
            {"secret": {"uid": SECRET_UID}},
        ]) | bound,
        "exp": absent | odd | st.sampled_from(TIMES),
        "nbf": absent | st.sampled_from([-5400, 3600]),
        "iat": absent | st.sampled_from([-5400, 3600]),
        "jti": absent | odd | st.sampled_from(["denied-jti", "denied-jti ", "Denied-jti"]),
    },
)  # fmt: skip
signers = st.sampled_from(["ours", "stranger", "none", "HS256", "kid"])
forms = st.sampled_from(
    [
        "Bearer {}", "Bearer {}", "Bearer {}", "bearer {}", "Bearer  {}", "Bearer {} x", "{}",
        "Basic eDp5",
    ]
)  # fmt: skip


def signed_token(ours: Signer, stranger: Signer, change: dict[str, Any], signer: str) -> str:
    """A token of changed claims; `signer`: who signs it, or what its header says."""
    claims = good_claims()
    now = claims["iat"] + 60
    for name, value in change.items():
        if value == "<absent>":
            del claims[name]
        elif name in ("exp", "nbf", "iat") and type(value) is int and abs(value) > 60:
            claims[name] = now + value
        else:
            claims[name] = value
    if signer == "stranger":
        return stranger.sign(claims)
    if signer == "kid":
        return ours.sign(claims, {"kid": "other"})
    if signer in ("none", "HS256"):
        return ours.sign(claims, {"alg": signer}).rpartition(".")[0] + "." + encode(b"sig")
    return ours.sign(claims)
