"""Which YAML is read, which is refused, and that no input takes long."""

import time

import pytest

from daypass.spec import composing
from daypass.spec.composing import PurePythonParser
from unit.spec.texts import DESIGN, MINIMAL, read, said

BOUND_SECONDS = 1.0


@pytest.fixture(params=["libyaml", "pure"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "pure":
        monkeypatch.setattr(composing, "PARSER", PurePythonParser)
    else:
        assert composing.PARSER is not PurePythonParser, "the wheel of PyYAML brings libyaml"


@pytest.mark.parametrize("text", [MINIMAL, DESIGN, "---\n" + MINIMAL, MINIMAL + "...\n"])
def test_both_parsers_read_a_config(text: str) -> None:
    assert read(text).domains["ekf"].host == "ekf.example.com"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "1:1: the file is empty; begin it with: version: 1"),
        (b"# nothing yet\n", "1:1: the file is empty; begin it with: version: 1"),
        (b"---\n", "2:1: the file is empty; begin it with: version: 1"),
        (b"hello", "1:1: a config is a mapping, not the text 'hello'; begin it with: version: 1"),
        (b"- a\n", "1:1: a config is a mapping, not a list; begin it with: version: 1"),
        (b"\xef\xbb\xbfversion: 1",
         "1:1: the file begins with a byte order mark; save it as UTF-8 without one"),
        ("version: 1".encode("utf-16"), "1:1: the file is UTF-16; save it as UTF-8"),
        (b"a: 1\nb: \xe9", "2:4: the byte 0xe9 is not UTF-8; save it as UTF-8"),
        (b"a: 1\nb: \0", "2:4: the character U+0000 does not print; remove it"),
        (b"a:\n\tb: 1", "2:1: a tab; write spaces: YAML is indented with them"),
        (b"a: 1\rb: 2", "1:5: a carriage return alone; end lines with a newline"),
        ("a: 1 # \u202e".encode(), "1:8: the character U+202E does not print; remove it"),
        ("a: \u2028".encode(), "1:4: the character U+2028 does not print; remove it"),
    ],
)  # fmt: skip
def test_a_file_is_visible_utf_8_with_one_mapping_in_it(content: bytes, line: str) -> None:
    assert said(content) == [line]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (MINIMAL + "---\n" + MINIMAL,
         "7:1: a second document begins here; one file holds one config"),
        (MINIMAL.replace("{secret", "&x {secret"),
         "6:10: anchors are not read: '&x'; write the value out wherever it is needed"),
        (MINIMAL + "door: *x\n",
         "7:7: aliases are not read: '*x'; write the value out, or quote the text"),
        (MINIMAL + "door:\n  <<: {replicas: 2}\n",
         "8:3: merge keys (<<) are not read; write the keys out"),
        (MINIMAL + "prefix: !!str /x\n", "7:9: tags are not read: '!!str'; remove it"),
        (MINIMAL + "prefix: !mine /x\n", "7:9: tags are not read: '!mine'; remove it"),
        (MINIMAL + "door: !!python/object/new:os.system {}\n",
         "7:7: tags are not read: '!!python/object/new:os.system'; remove it"),
        (MINIMAL + "door: {}\ndoor: {}\n", "8:1: the key 'door' is already on line 7"),
        (MINIMAL + "? [a]\n: b\n", "7:3: a key is a text, not a list; is a quote missing?"),
        ("%YAML 1.1\n---\n" + MINIMAL, "1:1: a YAML directive (%...); remove the line"),
    ],
)  # fmt: skip
def test_what_yaml_can_do_beyond_values_is_refused_where_it_stands(text: str, line: str) -> None:
    assert said(text) == [line]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("istio", "istio: x", "5:17: there is one colon too many here"),
        ("istio", "'istio", "5:12: the quote that is opened here is never closed"),
        ("-tls}", "-tls", "7:1: a bracket opened on line 6 is not closed, or a comma is missing"),
        ("    front", " front", "5:2: a key or list item was expected here"),
        ("istio", "@istio", "5:12: a value cannot begin with '@'; put it in quotes"),
        ("ekf.example", "*.example", "4:12: a value that begins with '*' needs quotes"),
        ("front: istio", "front:istio", "5:5: this line has no colon with a space after it"),
        ("istio", "- istio", "5:12: a list cannot begin here"),
        ("istio", '"\\q"', "an escape in the quoted text makes no sense"),
        ("istio", "istio\n      x", "5:12: the value goes on over the next line: 'istio x'"),
        ("    front", "      front", "4:11: the value goes on over the next line"),
    ],
)
def test_broken_yaml_is_explained_where_it_broke(old: str, new: str, line: str) -> None:
    first, *others = said(MINIMAL.replace(old, new, 1))
    assert line in first
    assert not others


def test_an_address_in_brackets_is_told_to_be_quoted() -> None:
    (line,) = said(MINIMAL + "local:\n  door: [::1]:8443\n")
    assert line.startswith("8:")
    assert line.endswith("an IPv6 address needs quotes")


def test_half_a_character_is_refused() -> None:
    (line,) = said(MINIMAL.replace("istio", '"\\ud800"'))
    assert line.startswith("5:1")


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
def test_a_hostile_file_is_refused_at_once_in_few_words(name: str) -> None:
    content = HOSTILE[name].encode()
    start = time.process_time()
    lines = said(content)
    assert time.process_time() - start < BOUND_SECONDS
    assert len(lines) <= 21
    assert all(len(line) < 400 for line in lines)
