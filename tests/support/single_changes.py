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
from functools import partial
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
    """A request: its Authorization headers, the token in the first of them, and the host."""

    authorization: tuple[str, ...]
    token: str = ""
    host: str = HOST

    @property
    def lines(self) -> list[str]:
        return [f"Authorization: {value}" for value in self.authorization]


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Who signs, and what the gate expects."""

    ours: Signer
    stranger: Signer
    issuer: str
    audience: str
    other: dict[str, Any] = field(default_factory=dict)
    """Claims of the good token that are others here."""

    def claims(self) -> dict[str, Any]:
        """Those of the good token, at this second."""
        claims = good_claims(**{"iss": self.issuer, "aud": [self.audience], **self.other})
        return copy.deepcopy(claims)


Make = Callable[[Keys], Sent]

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
        ("nbf",): {
            **_from_now(-5400, 8, 9, 10, 12, 3600),
            "fraction": lambda now: now - 60.5, "text": lambda now: str(now - 60),
        },
        ("iat",): {
            **_from_now(-7300, -5400, -4201, -4200, 3600),
            "fraction": lambda now: now - 60.5, "text": lambda now: str(now - 60),
        },
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


def single_changes(keys: Keys) -> dict[str, Make]:
    """All of them, by name. Each is made when it is called: the good token is of that second."""
    changes: dict[str, Make] = {"good": lambda keys: _bearer(keys.ours.sign(keys.claims()))}
    for path, values in _values(keys).items():
        for name, value in {**TYPES, **values}.items():
            changes[f"{'.'.join(path)}={name}"] = _claim(path, value)
    for header, values in HEADERS.items():
        for name, value in {**TYPES, **values}.items():
            changes[f"header {header}={name}"] = _header(header, value)
    changes.update(_whole_tokens())
    changes.update(_members())
    changes.update(_header_lines())
    return changes


def _claim(path: tuple[str, ...], value: Any) -> Make:
    def make(keys: Keys) -> Sent:
        claims = keys.claims()
        now = int(time.time())  # noqa: TID251 - Envoy reads the machine's clock, and no other
        inner = claims
        for each in path[:-1]:
            inner = inner[each]
        inner.pop(path[-1], None)
        if value is not ABSENT:
            inner[path[-1]] = value(now) if callable(value) else value
        return _bearer(keys.ours.sign(claims))

    return make


def _header(name: str, value: Any) -> Make:
    def make(keys: Keys) -> Sent:
        header = {"alg": "RS256", "kid": keys.ours.key_id, "typ": "JWT", name: value}
        if value is ABSENT:
            del header[name]
        return _bearer(_raw(keys, json.dumps(header).encode()))

    return make


def _raw(keys: Keys, header: bytes | None = None, claims: bytes | None = None) -> str:
    if header is None:
        header = json.dumps({"alg": "RS256", "kid": keys.ours.key_id}).encode()
    return keys.ours.sign_bytes(header, claims or json.dumps(keys.claims()).encode())


def _bearer(token: str) -> Sent:
    return Sent(authorization=(f"Bearer {token}",), token=token)


def _part(change: Callable[[str], str | bytes], *, of_header: bool = False) -> Make:
    """A token whose claims, or header, are another text."""

    def make(keys: Keys) -> Sent:
        header = {"alg": "RS256", "kid": keys.ours.key_id}
        changed = change(json.dumps(header if of_header else keys.claims()))
        content = changed.encode() if isinstance(changed, str) else changed
        return _bearer(_raw(keys, content) if of_header else _raw(keys, None, content))

    return make


def _parts(change: Callable[[str, str, str], str]) -> Make:
    return lambda keys: _bearer(change(*_raw(keys).split(".")))


def _lines(*forms: str, host: str = HOST) -> Make:
    """A good token in Authorization headers of these forms."""

    def make(keys: Keys) -> Sent:
        token = _raw(keys)
        values = tuple(form.format(token) for form in forms)
        return Sent(authorization=values, token=token, host=host)

    return make


def _whole_tokens() -> dict[str, Make]:
    """Changes of the shards: their encoding, their JSON, and the signature."""
    json_texts: dict[str, Callable[[str], str | bytes]] = {
        "empty": lambda text: " ",
        "cut": lambda text: text[:-1],
        "followed by itself": lambda text: text + text,
        "followed by space": lambda text: text + " \n",
        "after a BOM": lambda text: "\ufeff" + text,
        "in UTF-16": lambda text: text.encode("utf-16"),
        "with a byte that is no UTF-8": lambda text: text.encode()[:-1] + b', "z": "\xff"}',
        "with a raw newline": lambda text: text[:-1] + ', "z": "a\nb"}',
        "with a comment": lambda text: text[:-1] + "/* */}",
        "with a comma at its end": lambda text: text[:-1] + ",}",
        "in single quotes": lambda text: text.replace('"', "'"),
        "of a string": lambda text: json.dumps(text),
        "of null": lambda text: "null",
        "nested 2000 deep": lambda text: text[:-1] + f', "z": {"[" * 2000}{"]" * 2000}}}',
    }
    twice: dict[str, Callable[[str], str | bytes]] = {
        "with another audience first": lambda text: '{"aud": ["x"], ' + text[1:],
        "with another audience last": lambda text: text[:-1] + ', "aud": ["x"]}',
        "with an expired exp first": lambda text: '{"exp": 5, ' + text[1:],
        "with an expired exp last": lambda text: text[:-1] + ', "exp": 5}',
        "with an escaped second sub": lambda text: text[:-1] + r', "su\u0062": "admin"}',
        "of 9,000 characters": lambda text: text[:-1] + f', "z": "{"z" * 6_500}"}}',
        "of 7,000 characters": lambda text: text[:-1] + f', "z": "{"z" * 4_500}"}}',
    }
    templates = {
        "signature of another token": f"{{0}}.{encode(b'{}')}.{{2}}",
        "signature=empty": "{0}.{1}.",
        "signature longer": "{0}.{1}.{2}AAAA",
        "signature of zeros": f"{{0}}.{{1}}.{'A' * 342}",
        "signature padded": "{0}.{1}.{2}==",
        "two shards": "{0}.{1}",
        "four shards": "{0}.{1}.{2}.{1}",
        "empty claims": "{0}..{2}",
        "header not in base64url": "%{0}.{1}.{2}",
        "claims of one character": "{0}.x.{2}",
        "claims padded": "{0}.{1}=.{2}",
    }
    return {
        **{f"claims {name}": _part(each) for name, each in {**json_texts, **twice}.items()},
        **{f"header {name}": _part(each, of_header=True) for name, each in json_texts.items()},
        "signature by a stranger": lambda keys: _bearer(keys.stranger.sign(keys.claims())),
        "signature by a stranger with our kid": lambda keys: _bearer(
            keys.stranger.sign(keys.claims(), {"kid": keys.ours.key_id})
        ),
        "signature cut": _parts(lambda head, body, end: f"{head}.{body}.{end[:-4]}"),
        "signature in base64": _parts(lambda head, body, end: f"{head}.{body}.{'+/' + end[2:]}"),
        "signature with unused bits": _parts(
            lambda head, body, end: f"{head}.{body}.{end[:-1]}{_next(end[-1])}"
        ),
        **{name: _parts(template.format) for name, template in templates.items()},
    }


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
_TEXTS = {
    "a pair of surrogates": rb'"\ud83d\ude00"', "surrogates reversed": rb'"\ude00\ud83d"',
    "half a surrogate and more": rb'"\ud800x"', "an encoded surrogate": b'"\xed\xa0\x80"',
    "an overlong dot": b'"\xc0\xae"', "a byte of Latin-1": b'"\xe9"',
    "beyond Unicode": b'"\xf4\x90\x80\x80"', "an escape that is none": rb'"\x41"',
    "a short escape": rb'"\u00"',
}  # fmt: skip
_CONTROLS = {"a raw NUL": b'"\0"', "a raw tab": b'"\t"'}
_PLACE = '"place": 0'


def _member(path: tuple[str, ...], raw: str | bytes, *, first: bool = False) -> Make:
    """A token with one more member, as it is, first or last in the object that is at `path`."""

    def make(keys: Keys) -> Sent:
        claims = keys.claims()
        claims["extra"] = 1
        inner = claims
        for each in path:
            inner = inner[each]
        members = dict(inner)
        inner.clear()
        inner.update({"place": 0, **members} if first else {**members, "place": 0})
        content = raw.encode() if isinstance(raw, str) else raw
        whole = json.dumps(claims).encode().replace(_PLACE.encode(), content)
        return _bearer(_raw(keys, None, whole))

    return make


def _instead(claim: str, raw: str | bytes) -> Make:
    """A token in which a claim has this for its value, as it is."""

    def make(keys: Keys) -> Sent:
        content = raw.encode() if isinstance(raw, str) else raw
        claims = {**keys.claims(), claim: "place"}
        whole = json.dumps(claims).encode().replace(b'"place"', content)
        return _bearer(_raw(keys, None, whole))

    return make


def _rename(name: str, other: str, text: str) -> str:
    return text.replace(f'"{name}":', f'"{other}":')


def _members() -> dict[str, Make]:
    """Names that are there twice, or written in another way; values that JSON has no way for."""
    made: dict[str, Make] = {}
    for path, value in _TWICE.items():
        *outer, name = path
        escaped = f"\\u{ord(name[0]):04x}{name[1:]}"
        for form, shown in (("", name), ("escaped ", escaped)):
            for place in ("first", "last"):
                raw = f'"{shown}": {json.dumps(value)}'
                change = _member(tuple(outer), raw, first=place == "first")
                made[f"{'.'.join(path)} twice, {form}{place}"] = change
        made[f"{'.'.join(path)} escaped"] = _part(partial(_rename, name, escaped))
    for claim in ("exp", "nbf", "iat"):
        for raw in _NUMBERS:
            made[f"{claim}={raw[:30]} as it is"] = _instead(claim, raw)
    for claim in ("jti", "iss", "sub", "extra"):
        for name, text in _TEXTS.items():
            made[f"{claim}={name}"] = _instead(claim, text)
    for name, text in _CONTROLS.items():
        made[f"extra={name}"] = _instead("extra", text)
    uid = json.dumps(DENIED_UID)
    near = {
        "kubernetes.io.secret.uid in one name": f'"kubernetes.io.secret.uid": {uid}',
        "kubernetes and io apart": f'"kubernetes": {{"io": {{"secret": {{"uid": {uid}}}}}}}',
        "exp in upper case": '"EXP": 5',
        "a name that is half a surrogate": r'"\ud800": 1',
        "an empty name": '"": 1',
        "a name that is no text": "5: 1",
        "300 names": ", ".join(f'"n{number}": {number}' for number in range(300)),
    }
    made |= {f"claims with {name}": _member((), raw) for name, raw in near.items()}
    for depth in (90, 99, 100, 101, 200, 1000):
        made[f"claims with a list {depth} deep"] = _instead("extra", "[" * depth + "]" * depth)
    headers: dict[str, Callable[[str], str | bytes]] = {
        "alg twice, first": lambda text: '{"alg": "none", ' + text[1:],
        "alg twice, last": lambda text: text[:-1] + ', "alg": "none"}',
        "alg twice, escaped": lambda text: text[:-1] + r', "al\u0067": "none"}',
        "alg escaped": lambda text: text.replace("RS256", r"\u0052S256"),
        "alg and NUL": lambda text: text.replace("RS256", r"RS256\u0000"),
        "kid twice, first": lambda text: '{"kid": "other", ' + text[1:],
        "kid twice, last": lambda text: text[:-1] + ', "kid": "other"}',
    }
    return made | {f"header {name}": _part(each, of_header=True) for name, each in headers.items()}


def _next(letter: str) -> str:
    """The letter that differs in the lowest bit, which base64url leaves unused at the end."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return alphabet[alphabet.index(letter) ^ 1]


def _header_lines() -> dict[str, Make]:
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
        **{f"Authorization: {name}": _lines(text) for name, text in forms.items()},
        **{name: _lines(*texts) for name, texts in several.items()},
        **{f"host with {name}": _lines("Bearer {}", host=host) for name, host in hosts.items()},
    }
