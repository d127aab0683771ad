"""Every single change of a token that passes: what the engines and the decision are all asked.

Each change is one step away from the same good token, so an engine's answer to it names one thing.
Names are `CLAIM=VALUE`, `header CLAIM=VALUE`, or say what was done; docs and tests refer to them.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from daypass.rules.decision import Rules
from daypass.rules.patterns import HostPattern
from daypass.rules.published import Published, credential_of
from support import publishing
from support.publishing import CREDENTIAL
from support.tokens import (
    ACCOUNT_UID,
    AUDIENCE,
    ISSUER,
    LONGEST_SECONDS,
    SECRET_UID,
    Signer,
    encode,
    good_claims,
)

ABSENT = object()
HUGE = "h" * 4000
HOST = "ekf.example.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A request: its Authorization headers, the token in them, and the host."""

    authorization: tuple[str, ...]
    token: str
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Who signs, and what the gate expects. `other`: claims of the good token that are others."""

    ours: Signer
    stranger: Signer
    issuer: str
    audience: str
    other: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Draft:
    """A token and a request with it, before they are made.

    In `claims` and `header`, bytes are JSON as it is, also as names: so one can be there twice.
    `claims_text`, `header_text`: a change of the JSON. `shards`: how the token is made of its three
    parts. `forms`: the Authorization headers.
    """

    claims: dict[Any, Any]
    header: dict[Any, Any]
    signer: Signer
    claims_text: Callable[[bytes], bytes] = bytes
    header_text: Callable[[bytes], bytes] = bytes
    shards: Callable[[str, str, str], str] = "{}.{}.{}".format
    forms: tuple[str, ...] = ("Bearer {}",)
    host: str = HOST


Change = Callable[[Draft], None]


def changed(keys: Keys, change: Change) -> Sent:
    """A request of this second whose token is good but for this change."""
    own = {"iss": keys.issuer, "aud": [keys.audience], "extra": 1, **keys.other}
    header = {"alg": "RS256", "kid": keys.ours.key_id}
    draft = Draft(copy.deepcopy(good_claims(**own)), header, keys.ours)
    change(draft)
    texts = draft.header_text(_json(draft.header)), draft.claims_text(_json(draft.claims))
    token = draft.shards(*draft.signer.sign_bytes(*texts).split("."))
    values = tuple(form.format(token) for form in draft.forms)
    return Sent(authorization=values, token=token, host=draft.host)


def together(*changes: Change) -> Change:
    def change(draft: Draft) -> None:
        for each in changes:
            each(draft)

    return change


def _json(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        members = (b"%b: %b" % (_json(name), _json(each)) for name, each in value.items())
        return b"{%b}" % b", ".join(members)
    return json.dumps(value).encode()


# One value of each JSON type, and those at the bounds of what parsers can hold.
TYPES: dict[str, Any] = {
    "absent": ABSENT, "null": None, "true": True, "false": False,
    "0": 0, "1": 1, "-1": -1, "1.5": 1.5, "2**31": 2**31, "2**53-1": 2**53 - 1, "2**53": 2**53,
    "2**63": 2**63, "2**64": 2**64, "10**400": 10**400, "NaN": float("nan"),
    "empty": "", "text": "text", "space": " ", "digits": "1800000000", "NUL": "\0",
    "newline": "x\n", "non-ASCII": "\u00e9\U0001f600", "half a surrogate": "\ud800", "huge": HUGE,
    "[]": [], "['text']": ["text"], "[null]": [None], "{}": {}, "{'x': 1}": {"x": 1},
}  # fmt: skip
STRING = "system:serviceaccount:"
OTHER_UID = "5ec2e700-0000-4000-8000-000000000002"
"""Of another credential that exists, in the same part of the set."""
FAR_UID = "f5ec2e70-0000-4000-8000-000000000003"
"""The same, in another part."""
THEIR_UID = "5ec2e700-0000-4000-8000-000000000004"
THEIR_ACCOUNT = "acc00000-0000-4000-8000-000000000004"
"""Of another identity, in the same shard."""
GONE_UID = "5ec2e700-0000-4000-8000-00000000000d"
"""Of a credential that is not in the set."""
DENIED_UID = "5ec2e700-0000-4000-8000-00000000000e"
DENIED_ACCOUNT = "acc00000-0000-4000-8000-00000000000e"
DENIED_TOKEN, DENIED_NAMESPACE = "denied-jti", "denied-team"
"""What an administrator has denied; the credentials exist."""


def known(shards: int = 1) -> Published:
    """What the gates of these tests know, in so many shards."""
    return publishing.published(
        {
            SECRET_UID,
            OTHER_UID,
            FAR_UID,
            DENIED_UID,
            ACCOUNT_UID,
            credential_of(DENIED_ACCOUNT, DENIED_ACCOUNT),
            credential_of(THEIR_UID, THEIR_ACCOUNT),
        },
        tokens={DENIED_TOKEN, "x"},
        objects={DENIED_UID, DENIED_ACCOUNT},
        namespaces={DENIED_NAMESPACE},
        shards=shards,
    )


RULES = Rules(
    hosts=(HostPattern.parse(HOST),),
    issuer=ISSUER,
    audience=AUDIENCE,
    longest_lifetime_seconds=LONGEST_SECONDS,
    published=known(),
)


def _values(keys: Keys) -> dict[tuple[str, ...], dict[str, Any]]:
    """Further values of each claim: near to the good one, and wrong in one point."""
    iss, aud = keys.issuer, keys.audience
    return {
        ("iss",): {
            "slash": iss + "/", "upper": iss.upper(), "space before": " " + iss,
            "newline after": iss + "\n", "list": [iss], "prefix": iss[:-1],
            "long-lived": "kubernetes/serviceaccount", "NUL after": iss + "\0",
        },
        ("aud",): {
            "string": aud, "twice": [aud, aud], "and issuer": [aud, iss], "issuer and": [iss, aud],
            "issuer": [iss], "upper": [aud.upper()], "newline after": [aud + "\n"],
            "prefix": [aud[:-1]], "longer": [aud + "x"], "and empty": [aud, ""],
            "and number": [aud, 1], "and null": [aud, None], "and list": [aud, [aud]],
            "nested": [[aud]], "object": {aud: True}, "and huge": [aud, HUGE],
            "and NUL": [aud, aud + "\0"],
            # Envoy's jwt_authn ignores a scheme and a slash at the end.
            "string of a URL": f"https://{aud}", "string and slash": aud + "/",
            "URL": [f"http://{aud}/"], "slash": [aud + "/"], "and slash": [aud, aud + "/"],
        },
        ("sub",): {
            "user": "admin", "node": "system:node:n", "anonymous": "system:anonymous",
            "no name": f"{STRING}team:", "no namespace": f"{STRING}:bot", "prefix": STRING,
            "another namespace": f"{STRING}other:bot", "four shards": f"{STRING}team:bot:x",
            "upper": f"{STRING}team:BOT", "newline after": f"{STRING}team:bot\n",
            "space after": f"{STRING}team:bot ", "slash": f"{STRING}team:bo/t",
            "list": [f"{STRING}team:bot"], "another bot": f"{STRING}team:other",
            "long name": f"{STRING}team:{'b' * 254}", "comma": f"{STRING}team:bot,x",
        },
        ("exp",): {
            **_from_now(-3600, -12, -11, -10, -9, 60, 7100, 7140, 7141, 7260, 10**6),
            "fraction": lambda now: now + 3000.5, "text": lambda now: str(now + 3000),
            "-2**63": -(2**63),
        },
        ("nbf",): _from_now(-5400, 8, 9, 10, 12, 3600),
        ("iat",): _from_now(-7300, -5400, -4201, -4200, 3600),
        ("jti",): {
            "denied": DENIED_TOKEN, "denied and space": DENIED_TOKEN + " ",
            "denied in upper": DENIED_TOKEN.upper(), "denied secret": DENIED_UID,
        },
        ("kubernetes.io",): {
            "namespace only": {"namespace": "team"},
            "secret only": {"secret": {"uid": SECRET_UID}},
            "pod": {"namespace": "team", "pod": {"name": "p", "uid": "u"}},
            "account": {"namespace": "team", "serviceaccount": {"uid": ACCOUNT_UID}},
            "pod and account": {"namespace": "team", "serviceaccount": {"uid": ACCOUNT_UID},
                                "pod": {"name": "p", "uid": SECRET_UID}},
            "gone account": {"namespace": "team", "serviceaccount": {"uid": GONE_UID}},
            "denied account": {"namespace": "team", "serviceaccount": {"uid": DENIED_ACCOUNT}},
            "list of it": [{"namespace": "team", "secret": {"uid": SECRET_UID}}],
            "another identity's": {"namespace": "team", "secret": {"uid": THEIR_UID},
                                   "serviceaccount": {"uid": THEIR_ACCOUNT}},
        },
        ("kubernetes.io", "namespace"): {
            "other": "other", "upper": "TEAM", "denied": DENIED_NAMESPACE, "list": ["team"],
        },
        ("kubernetes.io", "secret", "uid"): {
            "another": OTHER_UID, "of another part": FAR_UID, "gone": GONE_UID,
            "but for the end": SECRET_UID[:-1], "and more": SECRET_UID + "x",
            "and newline": SECRET_UID + "\n", "and NUL": SECRET_UID + "\0",
            "upper": SECRET_UID.upper(), "one upper": SECRET_UID.replace("c", "C"),
            "in braces": f"{{{SECRET_UID}}}", "without dashes": SECRET_UID.replace("-", ""),
            "space before": " " + SECRET_UID, "prefix": SECRET_UID[:2], "dash": "-",
            "wide digit": "\uff15" + SECRET_UID[1:], "in another range": "00" + SECRET_UID[2:],
            "account": ACCOUNT_UID, "denied": DENIED_UID, "denied account": DENIED_ACCOUNT,
            "list of it": [SECRET_UID], "object of it": {SECRET_UID: True},
            "another identity's": THEIR_UID, "and its account": CREDENTIAL,
            "and the separator": f"{SECRET_UID}/", "the separator": "/",
        },
        ("kubernetes.io", "serviceaccount", "uid"): {
            "denied": DENIED_ACCOUNT, "denied secret": DENIED_UID, "gone": GONE_UID,
            "upper": ACCOUNT_UID.upper(), "list of denied": [DENIED_ACCOUNT],
            "another identity's": THEIR_ACCOUNT, "secret": SECRET_UID,
            "and newline": ACCOUNT_UID + "\n", "but for the end": ACCOUNT_UID[:-1],
            "secret and account": CREDENTIAL, "the separator before": f"/{ACCOUNT_UID}",
            "the separator after": f"{ACCOUNT_UID}/", "list of it": [ACCOUNT_UID],
        },
        ("kubernetes.io", "secret"): {"list of it": [{"uid": SECRET_UID}], "no uid": {"name": "n"}},
        ("kubernetes.io", "serviceaccount"): {"no uid": {"name": "bot"}},
        ("kubernetes.io", "pod"): {"pod": {"name": "p", "uid": "u"}},
        ("kubernetes.io", "node"): {"node": {"name": "n", "uid": DENIED_UID}},
        ("extra",): {"deep": json.loads("[" * 60 + "]" * 60)},
    }  # fmt: skip


def _from_now(*seconds: int) -> dict[str, Any]:
    return {f"{each:+}": (lambda now, each=each: now + each) for each in seconds}


HEADERS: dict[str, dict[str, Any]] = {
    "alg": {
        each: each
        for each in ("none", "None", "HS256", "RS384", "RS512", "PS256", "ES256", "EdDSA", "rs256")
    },
    "kid": {"other": "other"},
    "typ": {"JWT": "JWT", "at+jwt": "at+jwt"},
    "crit": {"exp": ["exp"]},
    "b64": {},
    "jku": {"url": "https://evil.example.com/keys"},
}


def single_changes(keys: Keys) -> dict[str, Change]:
    """All of them, by name."""
    changes: dict[str, Change] = {"good": lambda draft: None}
    for path, values in _values(keys).items():
        for name, value in {**TYPES, **values}.items():
            changes[f"{'.'.join(path)}={name}"] = claim(path, value)
    for header, values in HEADERS.items():
        for name, value in {**TYPES, **values}.items():
            changes[f"header {header}={name}"] = _header(header, value)
    return changes | _whole_tokens(keys) | _members() | _requests()


def several_changes(keys: Keys) -> dict[str, Change]:
    """Those of which each can be made together with any other."""
    found = single_changes(keys).items()
    return {name: change for name, change in found if not name.startswith(("claims ", "header "))}


def claim(path: tuple[Any, ...], value: Any) -> Change:
    """Another value of a claim; a function gets the time."""

    def change(draft: Draft) -> None:
        now = int(time.time())  # noqa: TID251 - Envoy reads the machine's clock, and no other
        inner = _inner(draft, path)
        inner.pop(path[-1], None)
        if value is not ABSENT:
            inner[path[-1]] = value(now) if callable(value) else value

    return change


def _inner(draft: Draft, path: tuple[Any, ...]) -> dict[Any, Any]:
    """The object that a claim is in; if another change has removed it, one of no token."""
    inner: Any = draft.claims
    for each in path[:-1]:
        inner = inner.get(each) if isinstance(inner, dict) else None
    return inner if isinstance(inner, dict) else {}


def _members_of(path: tuple[str, ...], rebuild: Callable[[Any], dict[Any, Any]]) -> Change:
    """Other members of the object that a claim is in."""

    def change(draft: Draft) -> None:
        inner = _inner(draft, path)
        members = rebuild(dict(inner))
        inner.clear()
        inner.update(members)

    return change


def _header(name: str, value: Any) -> Change:
    def change(draft: Draft) -> None:
        draft.header |= {"typ": "JWT", name: value}
        if value is ABSENT:
            del draft.header[name]

    return change


def _set(**values: Any) -> Change:
    """Other values of a draft's fields."""

    def change(draft: Draft) -> None:
        for name, value in values.items():
            setattr(draft, name, value)

    return change


def _whole_tokens(keys: Keys) -> dict[str, Change]:
    """Changes of the parts: their encoding, their JSON, and the signature."""
    good = {"alg": "RS256", "kid": keys.ours.key_id}
    headers: dict[str, dict[Any, Any]] = {
        "alg twice, first": {b'"alg"': "none", **good},
        "alg twice, last": {**good, b'"alg"': "none"},
        "alg twice, escaped": {**good, rb'"al\u0067"': "none"},
        "alg escaped": {**good, "alg": rb'"\u0052S256"'},
        "alg and NUL": {**good, "alg": "RS256\0"},
        "kid twice, first": {b'"kid"': "other", **good},
        "kid twice, last": {**good, b'"kid"': "other"},
    }
    texts: dict[str, Callable[[bytes], bytes]] = {
        "empty": lambda text: b" ",
        "cut": lambda text: text[:-1],
        "followed by itself": lambda text: text + text,
        "followed by space": lambda text: text + b" \n",
        "after a BOM": lambda text: b"\xef\xbb\xbf" + text,
        "in UTF-16": lambda text: text.decode().encode("utf-16"),
        "with a byte that is no UTF-8": lambda text: text[:-1] + b', "z": "\xff"}',
        "with a raw newline": lambda text: text[:-1] + b', "z": "a\nb"}',
        "with a comment": lambda text: text[:-1] + b"/* */}",
        "with a comma at its end": lambda text: text[:-1] + b",}",
        "in single quotes": lambda text: text.replace(b'"', b"'"),
        "of a string": lambda text: json.dumps(text.decode()).encode(),
        "of null": lambda text: b"null",
        "nested 2000 deep": lambda text: text[:-1] + b', "z": ' + _nested(2000) + b"}",
    }
    shards: dict[str, Callable[[str, str, str], str]] = {
        "signature of another token": f"{{0}}.{encode(b'{}')}.{{2}}".format,
        "signature=empty": "{0}.{1}.".format,
        "signature longer": "{0}.{1}.{2}AAAA".format,
        "signature of zeros": f"{{0}}.{{1}}.{'A' * 342}".format,
        "signature padded": "{0}.{1}.{2}==".format,
        "signature cut": lambda head, body, end: f"{head}.{body}.{end[:-4]}",
        "signature in base64": lambda head, body, end: f"{head}.{body}.{'+/' + end[2:]}",
        "signature with unused bits": lambda head, body, end: f"{head}.{body}.{_next(end)}",
        "two shards": "{0}.{1}".format,
        "four shards": "{0}.{1}.{2}.{1}".format,
        "empty claims": "{0}..{2}".format,
        "header not in base64url": "%{0}.{1}.{2}".format,
        "claims of one character": "{0}.x.{2}".format,
        "claims padded": "{0}.{1}=.{2}".format,
    }
    theirs = {**good, "kid": keys.stranger.key_id}
    return {
        **{f"header {name}": _set(header=each) for name, each in headers.items()},
        **{f"claims {name}": _set(claims_text=each) for name, each in texts.items()},
        **{f"header {name}": _set(header_text=each) for name, each in texts.items()},
        **{name: _set(shards=each) for name, each in shards.items()},
        "signature by a stranger": _set(signer=keys.stranger, header=theirs),
        "signature by a stranger with our kid": _set(signer=keys.stranger),
    }


def _next(text: str) -> str:
    """The same but for the lowest bit, which base64url leaves unused at the end."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) ^ 1]


def _nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


_TWICE: dict[tuple[str, ...], Any] = {
    ("iss",): "https://other.example.com",
    ("aud",): ["x"],
    ("sub",): f"{STRING}team:other",
    ("exp",): 5,
    ("nbf",): 2**40,
    ("iat",): 5,
    ("jti",): DENIED_TOKEN,
    ("kubernetes.io",): {"namespace": "team", "secret": {"uid": DENIED_UID}},
    ("kubernetes.io", "namespace"): DENIED_NAMESPACE,
    ("kubernetes.io", "secret"): {"uid": DENIED_UID},
    ("kubernetes.io", "secret", "uid"): DENIED_UID,
    ("kubernetes.io", "serviceaccount"): {"uid": DENIED_ACCOUNT},
    ("kubernetes.io", "serviceaccount", "uid"): DENIED_ACCOUNT,
    ("extra",): None,
}
"""Another value of each claim, for which the token would be refused, but for that of `extra`."""

_NUMBERS = (
    "1e400", "-1e400", "1e-400", "-0", "-0.0", "0e0", "1e3", "1.8e11", "18E10", "2e308", "01", "+5",
    "0x7fffffff", "1.", ".5", "1e", "--1", "1_000", "Infinity", "-Infinity", "nan", "9" * 400,
    "9223372036854775808", "-9223372036854775809", "18446744073709551616", "\u0661", "1 0", "",
)  # fmt: skip


def _members() -> dict[str, Change]:
    """Names that are there twice, or written in another way; values that JSON has no way for."""
    made: dict[str, Change] = {}
    for path, value in _TWICE.items():
        for change, rebuild in _doubled(path[-1], value).items():
            made[f"{'.'.join(path)} {change}"] = _members_of(path, rebuild)
    for name in ("exp", "nbf", "iat"):
        for raw in _NUMBERS:
            made[f"{name}={raw[:30]} as it is"] = claim((name,), raw.encode())
    for what, text in (("a raw NUL", b'"\0"'), ("a raw tab", b'"\t"')):
        made[f"extra={what}"] = claim(("extra",), text)
    more: dict[str, dict[Any, Any]] = {
        "of 9,000 characters": {"z": "z" * 6_500},
        "of 7,000 characters": {"z": "z" * 4_500},
        "with kubernetes.io.secret.uid in one name": {"kubernetes.io.secret.uid": DENIED_UID},
        "with a name that is half a surrogate": {rb'"\ud800"': 1},
        "with an empty name": {"": 1},
        "with a name that is no text": {b"5": 1},
        **{f"with a list {depth} deep": {"extra": _nested(depth)}
           for depth in (90, 99, 100, 101, 200, 1000)},
    }  # fmt: skip
    for what, members in more.items():
        made[f"claims {what}"] = together(*(claim((name,), it) for name, it in members.items()))
    return made


def _doubled(name: str, value: Any) -> dict[str, Callable[[Any], dict[Any, Any]]]:
    """The ways in which a name can be there twice, with this value, or escaped."""
    plain = f'"{name}"'.encode()
    escaped = f'"\\u{ord(name[0]):04x}{name[1:]}"'.encode()
    return {
        "twice, first": lambda members: {plain: value, **members},
        "twice, last": lambda members: {**members, plain: value},
        "twice, escaped last": lambda members: {**members, escaped: value},
        "escaped": lambda members: {escaped if k == name else k: v for k, v in members.items()},
    }


def _requests() -> dict[str, Change]:
    """Changes of the Authorization header around a good token, and of the host."""
    forms = {
        "lower case scheme": "bearer {}", "upper case scheme": "BEARER {}", "no scheme": "{}",
        "no space": "Bearer{}", "two spaces": "Bearer  {}", "a tab": "Bearer\t{}",
        "followed by a word": "Bearer {} x", "followed by a comma": "Bearer {},",
        "after another scheme": "Basic eDp5, Bearer {}",
        "before another scheme": "Bearer {}, Basic eDp5",
        "Basic": "Basic eDp5", "Negotiate": "Negotiate {}", "scheme alone": "Bearer", "empty": "",
        "opaque": "Bearer opaque", "quoted": 'Bearer "{}"', "parameter": "Bearer token={}",
        "colon": "Bearer: {}",
    }  # fmt: skip
    several = {
        "no Authorization": (),
        "Authorization twice": ("Bearer {}", "Bearer {}"),
        "Authorization and an empty one": ("Bearer {}", ""),
        "Authorization and Basic": ("Bearer {}", "Basic eDp5"),
        "Basic and Authorization": ("Basic eDp5", "Bearer {}"),
    }
    hosts = {"a port": f"{HOST}:443", "another port": f"{HOST}:99",
             "a dot at its end": f"{HOST}.", "a dot and a port": f"{HOST}.:443"}  # fmt: skip
    return {
        **{f"Authorization: {name}": _set(forms=(text,)) for name, text in forms.items()},
        **{name: _set(forms=texts) for name, texts in several.items()},
        **{f"host with {name}": _set(host=host) for name, host in hosts.items()},
    }
