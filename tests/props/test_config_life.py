"""Whatever a config becomes, what is rendered is whole, and has nothing of what it was before."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from daypass._core.kubernetes.objects import Object
from daypass._core.kubernetes.syntax import LABEL, LABEL_VALUE, SUBDOMAIN, is_label
from daypass.cli import main
from daypass.config import Config, load
from daypass.config.gate import EnvoyGatewayGate
from daypass.deploy.facts import read_facts
from daypass.deploy.repository import drifts, write
from daypass.render.engines import engines_of
from daypass.render.manifests import render_folders, render_objects, render_tree
from support.authority import Authority
from support.closure import assert_closed, identity
from support.config_documents import (
    AUTHORITY_FILE,
    KEYS_FILE,
    SECTIONS,
    Document,
    cluster_domains,
    cluster_gates,
    document,
    machine_domains,
    names,
)
from support.fast_yaml import load_all
from support.tokens import Signer

FOREIGN = {"README.md": "ours", "base/ours.yaml": "a: 1\n", "monitoring/ours/x.yaml": "b: 2\n"}
"""Files of others in the folder of the tree."""
ANY = st.integers(0, 99)
MANY = st.sets(st.sampled_from([*SECTIONS]), min_size=1, max_size=4)


@cache
def named_files() -> dict[str, str]:
    return {AUTHORITY_FILE: Authority().pem, KEYS_FILE: Signer("key").jwks}


class ConfigLife(RuleBasedStateMachine):
    """A config, the folder of its tree, and changes of the config in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.temporary = TemporaryDirectory()
        self.home = Path(self.temporary.name)
        self.folder = self.home / "one" / "deploy"
        self.domains: Document = {}
        self.gates: Document = {}
        self.sections: Document = {}
        for path, text in FOREIGN.items():
            put(self.folder / path, text)

    @initialize(
        domains=st.dictionaries(names, cluster_domains, min_size=1, max_size=2),
        gates=st.dictionaries(names, cluster_gates, max_size=2),
        sections=st.fixed_dictionaries(SECTIONS),
        left_out=MANY,
    )
    def begin(
        self, domains: Document, gates: Document, sections: Document, left_out: set[str]
    ) -> None:
        """Most sections are there from the beginning: by chance, few of them would ever meet."""
        self.domains, self.gates = domains, gates
        self.sections = {key: it for key, it in sections.items() if key not in left_out}
        self.render()

    @rule(name=names, domain=cluster_domains | machine_domains)
    def put_domain(self, name: str, domain: Document) -> None:
        self.domains[name] = domain
        if not any(each["front"] != "envoy" for each in self.domains.values()):
            self.domains[name] = {"front": "ingress", "tls": "outside"}
        self.render()

    @precondition(lambda self: len(self.domains) > 1)
    @rule(which=ANY)
    def drop_domain(self, which: int) -> None:
        name = sorted(self.domains)[which % len(self.domains)]
        if [
            it["front"]
            for key, it in self.domains.items()
            if key != name and it["front"] != "envoy"
        ]:
            del self.domains[name]
            self.render()

    @rule(name=names, gate=cluster_gates)
    def put_gate(self, name: str, gate: Document) -> None:
        self.gates = {**dict([*self.gates.items()][-2:]), name: gate}
        self.render()

    @precondition(lambda self: self.gates)
    @rule(which=ANY)
    def drop_gate(self, which: int) -> None:
        del self.gates[sorted(self.gates)[which % len(self.gates)]]
        self.render()

    @rule(data=st.data(), keys=MANY)
    def put_sections(self, data: st.DataObject, keys: set[str]) -> None:
        self.sections |= {key: data.draw(SECTIONS[key], label=key) for key in sorted(keys)}
        self.render()

    @rule(keys=MANY)
    def drop_sections(self, keys: set[str]) -> None:
        self.sections = {key: it for key, it in self.sections.items() if key not in keys}
        self.render()

    def render(self) -> None:
        """Render it twice, in two places, and into the folder of what it was before."""
        text = json.dumps(document(self.domains, self.gates, self.sections))
        config, elsewhere = (self.written(place, text) for place in ("one", "other/two"))
        facts = read_facts(config)
        objects = render_objects(config, facts)
        again = render_objects(elsewhere, read_facts(elsewhere))
        assert json.dumps(objects) == json.dumps(again)
        tree = render_tree(render_folders(config, facts))
        texts = (text for path, text in tree.items() if Path(path).name != "kustomization.yaml")
        written = load_all("---\n".join(texts))
        assert sorted(written, key=identity) == sorted(objects, key=identity)
        write(self.folder, tree)
        assert files(self.folder) == {**tree, **FOREIGN}
        assert [it for it in self.folder.rglob("*/") if not any(it.iterdir())] == []
        assert drifts(self.folder, tree) == []
        assert len({identity(value) for value in objects}) == len(objects)
        assert_closed(config, objects)
        for value in objects:
            assert_names(value)
        assert_gates(config, objects)

    def written(self, place: str, text: str) -> Config:
        for path, content in {"daypass.yaml": text, **named_files()}.items():
            put(self.home / place / path, content)
        return load(self.home / place / "daypass.yaml")

    @rule()
    def check_and_render_in_a_clone(self) -> None:
        """Nothing is left to do there, and each command can be repeated."""
        clone = self.home / "clone"
        shutil.copytree(self.home / "one", clone)
        folder = clone / "deploy"
        where = ["render", "--config", str(clone / "daypass.yaml"), "--directory", str(folder)]
        assert run(*where, "--check") == (0, "")
        before = files(clone)
        assert run(*where)[0] == 0
        assert files(clone) == before
        shutil.rmtree(clone)

    def teardown(self) -> None:
        self.temporary.cleanup()


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def files(folder: Path) -> dict[str, str]:
    found = (each for each in folder.rglob("*") if each.is_file())
    return {each.relative_to(folder).as_posix(): each.read_text() for each in found}


def run(*arguments: str) -> tuple[int, str]:
    """The exit code of a command, and its output."""
    with redirect_stdout(StringIO()) as output, redirect_stderr(StringIO()) as errors:
        code = main([*arguments])
    return code, output.getvalue() if code == 0 else output.getvalue() + errors.getvalue()


def assert_names(value: Object) -> None:
    """That Kubernetes accepts the names and labels of an object, and those in it."""
    kind, namespace, name = identity(value)
    assert len(name) <= 253, name
    assert re.fullmatch(SUBDOMAIN, name), name
    assert kind not in ("Service", "Namespace") or is_label(name), name
    assert re.fullmatch(f"({LABEL})?", namespace), namespace
    for labels in found_in(value, "labels", "matchLabels", "selector"):
        for label in labels.values() if isinstance(labels, dict) else ():
            if isinstance(label, str):
                assert re.fullmatch(f"({LABEL_VALUE})?", label), label


def found_in(value: Any, *keys: str) -> Iterator[Any]:
    if isinstance(value, list):
        for each in value:
            yield from found_in(each, *keys)
    elif isinstance(value, dict):
        for key, child in value.items():
            if key in keys:
                yield child
            yield from found_in(child, *keys)


def assert_gates(config: Config, objects: list[Object]) -> None:
    """That each gate of the config is at its gateway, known to the watch, and where the authorizer
    decides, too, known to that; and that there is no other.
    """
    by_identity = {identity(value): value for value in objects}
    home = config.door.namespace
    expected = set()
    for engine in engines_of(config):
        gate, name = engine.gate, engine.named("daypass-gate")
        if isinstance(gate, EnvoyGatewayGate):
            namespace, gateway, listener = f"{gate.gateway}/".split("/")[:3]
            expected.add(("SecurityPolicy", namespace, name))
            spec = by_identity["SecurityPolicy", namespace, name]["spec"]
            (target,) = spec["targetRefs"]
            assert (target["name"], target.get("sectionName", "")) == (gateway, listener)
            assert spec["extAuth"]["failOpen"] is False
            assert spec["authorization"]["defaultAction"] == "Deny"
        else:
            selected = dict(gate.gateway_labels)
            for kind in ("EnvoyFilter", "AuthorizationPolicy"):
                expected.add((kind, gate.gateway_namespace, name))
                spec = by_identity[kind, gate.gateway_namespace, name]["spec"]
                selectors = spec.get("workloadSelector", {}), spec.get("selector", {})
                assert selected in (selectors[0].get("labels"), selectors[1].get("matchLabels"))
            filters = by_identity["EnvoyFilter", gate.gateway_namespace, name]
            assert json.dumps(gate.audience) in json.dumps(filters)
        for process in (
            "daypass-gate-watch",
            *(["daypass-gate"] if gate.asks_authorizer else []),
        ):
            assert ("Deployment", home, process) in by_identity
            told = json.loads(by_identity["ConfigMap", home, process]["data"]["daypass.yaml"])
            assert told["gates"][engine.name]["audience"] == gate.audience
    kinds = ("SecurityPolicy", "EnvoyFilter", "AuthorizationPolicy")
    found = {
        each for each in by_identity if each[0] in kinds and each[2].startswith("daypass-gate")
    }
    assert found == expected
    if not expected:
        assert not [each for each in by_identity if each[2].startswith("daypass-gate")]


TestConfigLife = ConfigLife.TestCase
# Not shrunk: that would take many minutes.
TestConfigLife.settings = settings(
    max_examples=4, stateful_step_count=7, phases=[Phase.explicit, Phase.generate]
)
