"""Accepted and rejected YAML, and the time limit for any input."""

import time

import pytest

from daypass.config.yaml_loader import LIMIT_CHARACTERS, LIMIT_DEPTH, LIMIT_NODES
from unit.config.texts import DESIGN, MINIMAL, Refused, problems, read, refusal, refused, refuses

BOUND_SECONDS = 3.0
TOO_LONG = "x" * (LIMIT_CHARACTERS + 1)


@pytest.mark.parametrize(
    "text", [MINIMAL, DESIGN, "---\n" + MINIMAL, MINIMAL + "...\n"],
    ids=["minimal", "design", "begin", "end"],
)  # fmt: skip
def test_a_document_may_have_a_beginning_and_an_end(text: str) -> None:
    assert read(text).domains["ekf"].host == "ekf.example.com"


def more(written: str, place: str, *values: str) -> Refused:
    return refused(f"{MINIMAL}{written}\n", place, *values)


def broken(old: str, new: str, place: str, *values: str) -> Refused:
    return refused(MINIMAL.replace(old, new, 1), place, *values)


REFUSED: dict[str, list[Refused]] = {
    "a file must be printable UTF-8 with one mapping": [
        refused(b"", "1:1", "empty", "version: 1"),
        refused(b"# nothing yet\n", "1:1", "empty", "version: 1"),
        refused(b"---\n", "2:1", "empty", "version: 1"),
        refused(b"hello", "1:1", "mapping", "'hello'", "version: 1"),
        refused(b"- a\n", "1:1", "mapping", "list", "version: 1"),
        refused(b"\xef\xbb\xbfversion: 1", "1:1", "byte order mark", "UTF-8"),
        refused("version: 1".encode("utf-16"), "1:1", "UTF-16", "UTF-8"),
        refused(b"a: 1\nb: \xe9", "2:4", "0xe9", "UTF-8"),
        refused(b"a: 1\nb: \0", "2:4", "U+0000"),
        refused(b"a:\n\tb: 1", "2:1", "tab", "spaces"),
        refused(b"a: 1\rb: 2", "1:5", "carriage return", "newline"),
        refused("a: 1 # \u202e".encode(), "1:8", "U+202E"),
        refused("a: \u2028".encode(), "1:4", "U+2028"),
    ],
    "YAML features beyond plain values are rejected with their place": [
        more("---\n" + MINIMAL, "7:1", "another document"),
        refused(MINIMAL.replace("{secret", "&x {secret"), "6:10", "anchor", "'&x'"),
        more("door: *x", "7:7", "alias", "'*x'"),
        more("door:\n  <<: {replicas: 2}", "8:3", "<<"),
        more("prefix: !!str /x", "7:9", "tag", "'!!str'"),
        more("prefix: !mine /x", "7:9", "tag", "'!mine'"),
        more(
            "door: !!python/object/new:os.system {}",
            "7:7",
            "tag",
            "'!!python/object/new:os.system'",
        ),
        more("door: {}\ndoor: {}", "8:1", "'door'", "line 7"),
        more("? [a]\n: b", "7:3", "key", "list"),
        refused("%YAML 1.1\n---\n" + MINIMAL, "1:1", "directive", "%"),
    ],
    "depth number and length of values are limited": [
        refused("a: " + "[" * 40 + "]" * 40, "1:35", f"{LIMIT_DEPTH} levels"),
        refused("{a: " * 40, "1:126", f"{LIMIT_DEPTH} levels"),
        refused("a:\n" + "- 1\n" * LIMIT_NODES, "9999:3", f"{LIMIT_NODES} values"),
        more(f"prefix: {TOO_LONG}", "7:9", f"{len(TOO_LONG)} characters"),
        more(f"? {TOO_LONG}\n: 1", "7:3", f"{len(TOO_LONG)} characters"),
    ],
    "a syntax error is reported with its place": [
        broken("istio", "istio: x", "5:17", "mapping values", "': '", "quotes"),
        broken("istio", "'istio", "7:1", "quoted scalar", "line 5"),
        broken("-tls}", "-tls", "7:1", "flow mapping", "line 6", "','", "brackets"),
        broken("    front", " front", "5:2", "block mapping", "indentation"),
        broken("istio", "@istio", "5:12", "cannot start any token"),
        broken("ekf.example", "*.example", "4:12", "alias"),
        broken("front: istio", "front:istio", "6:5", "line 5", "':'"),
        broken("istio", "- istio", "5:12", "sequence entries"),
        broken("istio", "istio\n      x", "5:12", "'istio x'", "line 6"),
        broken("    front", "      front", "5:12", "mapping values", "indentation"),
        broken("istio", '"\\q"', "5:14", "escape", "'q'"),
        broken("istio", '"\\ud800"', "5:12", "U+D800"),
        more("local:\n  door: [::1]:8443", "8:10", "flow node", "addresses", "quotes"),
    ],
}  # fmt: skip


@refuses(REFUSED)
def test_a_wrong_document_is_refused_with_the_place_and_the_values(case: Refused) -> None:
    case.check()


@pytest.mark.parametrize(
    "text", ["0x10", "0o10", "010", "1_000", "1:30", "2026-01-01", "on", "Yes", "TRUE", "+1", ".5",
             "0b1", ".inf", ".nan", "99999999999999999999999999999999999999999999x"],
)  # fmt: skip
def test_what_json_cannot_express_is_text(text: str) -> None:
    (problem,) = problems(f"{MINIMAL}door: {{replicas: {text}}}\n")
    assert f"found the text '{text}'" in problem.message


@pytest.mark.parametrize(
    ("text", "found"),
    [("1e2", "the number 100.0"), ("-1.5", "the number -1.5"), ("true", "true"), ("~", "no value"),
     ("99999999999999999999", "the number 1e+20"), ("Null", "no value")],
)  # fmt: skip
def test_numbers_booleans_and_null_are_those_of_json(text: str, found: str) -> None:
    (problem,) = problems(f"{MINIMAL}door: {{replicas: {text}}}\n")
    assert found in problem.message


HOSTILE = {
    "a bomb of aliases": "a: &a [x,x]\n" + "".join(f"b{n}: [*a,*a,*a]\n" for n in range(10_000)),
    "a bomb of one line": "[" + "*a," * 80_000 + "]",
    "a million nodes": "a: [" + "x," * 1_000_000,
    "many nodes": "a: [" + "x," * 120_000,
    "deep lists": "[" * 200_000,
    "deep mappings": "a: " + "{a: " * 60_000,
    "deep blocks": "- " * 100_000,
    "deep keys": "? " * 100_000,
    "unclosed pairs": "{" + "? " * 100_000,
    "a large value": "a: " + "x" * 200_000,
    "a large quoted value": 'a: "' + "x" * 200_000 + '"',
    "a large key": "x" * 200_000 + ": 1",
    "a large number": "version: " + "9" * 200_000,
    "a large folded value": "a: " + "x\n  " * 60_000,
    "a large document": "a" * 10_000_000,
    "a large comment": "#" + "x" * 250_000,
    "many unknown keys": "".join(f"k{n}: 1\n" for n in range(4_900)),
    "many keys without values": "".join(f"k{n}:\n" for n in range(4_900)),
    "one key many times": "a: 1\n" * 20_000,
    "many anchors": "".join(f"a{n}: &a 1\n" for n in range(10_000)),
    "many tags": "a: [" + "!x 1," * 9_000 + "]",
    "colons": ": " * 100_000,
    "quotes": "'" * 200_000,
    "spaces": " " * 250_000 + "a",
    "new lines": "\n" * 250_000 + "a",
    "many documents": "---\n" * 60_000,
    "a directive": "%YAML " + "1" * 200_000 + ".1\n---\na: 1",
    "an underlined host": MINIMAL.replace("ekf.example", "a_" * 2_000),
    "a long dotted host": MINIMAL.replace("ekf.example.com", "a." * 2_000 + "B"),
    "a long host that is not ASCII": MINIMAL.replace("ekf.example.com", "é" * 4_000),
    "a long prefix": MINIMAL + "prefix: " + "/a-" * 1_300 + "/\n",
    "a long duration": MINIMAL + f"policy: {{audiences: [a], longestLifetime: {'1h' * 2_000}}}\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_rejected_quickly_with_short_messages(name: str) -> None:
    content = HOSTILE[name].encode()
    start = time.process_time()
    lines = str(refusal(content)).splitlines()
    assert time.process_time() - start < BOUND_SECONDS
    assert len(lines) <= 21
    assert all(len(line) < 400 for line in lines)
