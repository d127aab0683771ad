"""What the authorizer knows of the models that exist, from an API server without a socket."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from daypass.gate.authorizer.followers import ModelFollower, Models
from support.timing import FakeClock
from support.watched_api import ACCESS, WatchedApi

ISVC, LLM = "inferenceservices.serving.kserve.io", "llminferenceservices.serving.kserve.io"
KSERVE = {
    "serving.kserve.io/v1beta1": ["inferenceservices"],
    "serving.kserve.io/v1alpha2": ["llminferenceservices"],
    "serving.kserve.io/v1alpha1": ["llminferenceservices", "inferencegraphs"],
}
VALID_SECONDS = 600.0


class Followed:
    """A follower, and what it has passed on."""

    def __init__(self, *resources: str) -> None:
        self.clock = FakeClock()
        self.api = WatchedApi()
        self.api.installed = dict(KSERVE)
        self.taken: list[Models] = []
        self.follower = ModelFollower(
            ACCESS, resources or (ISVC, LLM), self.taken.append, self.clock,
            valid_seconds=VALID_SECONDS, transport=self.api,
        )  # fmt: skip

    def put(self, plural: str, namespace: str, name: str, **metadata: Any) -> None:
        self.api.put(
            plural, f"{plural}-{namespace}-{name}", name=name, namespace=namespace, **metadata
        )

    def list(self) -> Models:
        """List each kind once; what is known then."""

        async def sync() -> None:
            for informer in self.follower._informers.values():
                await informer.sync()

        asyncio.run(sync())
        return self.known

    @property
    def known(self) -> Models:
        self.follower.check()
        return self.taken[-1] if self.taken else Models()

    def until(self, *resources: str) -> float:
        """For how many seconds what is known of these kinds counts."""
        return self.known.are_known_until(resources) - self.clock.monotonic()


@pytest.fixture
def followed() -> Followed:
    made = Followed()
    made.put("inferenceservices", "alice", "iris")
    made.put("inferenceservices", "alice", "cats")
    made.put("llminferenceservices", "bob", "llama")
    return made


def test_only_metadata_of_all_namespaces_is_listed_in_the_preferred_version(
    followed: Followed,
) -> None:
    followed.list()
    lists = [each for each in followed.api.asked if "limit" in each.url.params]
    assert [each.url.path for each in lists] == [
        "/apis/serving.kserve.io/v1beta1/inferenceservices",
        "/apis/serving.kserve.io/v1alpha2/llminferenceservices",
    ]
    assert all("PartialObjectMetadataList" in each.headers["accept"] for each in lists)


def test_a_model_that_is_being_deleted_exists_until_it_is_gone(followed: Followed) -> None:
    followed.put("inferenceservices", "alice", "iris", deletionTimestamp="2026-11-29T12:00:00Z")
    assert "iris" in followed.list().names_in(ISVC, "alice")


def test_nothing_is_known_before_every_kind_has_been_listed(followed: Followed) -> None:
    assert followed.until(ISVC) == -math.inf
    assert not followed.follower.are_listed
    followed.api.hangs = {"llminferenceservices"}
    asyncio.run(followed.follower._informers[ISVC].sync())
    assert followed.until(ISVC) == VALID_SECONDS
    assert followed.until(ISVC, LLM) == -math.inf
    assert not followed.follower.are_listed


@pytest.mark.parametrize(
    "installed", [{}, {"serving.kserve.io/v1beta1": ["inferenceservices"]}], ids=["group", "kind"]
)
def test_a_kind_that_is_not_installed_has_no_models_until_it_is(
    installed: dict[str, list[str]],
) -> None:
    followed = Followed(LLM)
    followed.api.installed = installed
    models = followed.list()
    assert models.names == {}
    assert followed.until(LLM) == VALID_SECONDS
    assert (followed.follower.are_listed, followed.follower.last_error) == (True, "")
    followed.api.installed = dict(KSERVE)
    followed.put("llminferenceservices", "bob", "llama")
    assert followed.list().names_in(LLM, "bob") == {"llama"}
    followed.api.installed = installed
    assert followed.list().names_in(LLM, "bob") == set()


@pytest.mark.parametrize("where", ["inferenceservices", "serving.kserve.io"])
def test_a_kind_that_may_not_be_listed_is_unknown_at_once(followed: Followed, where: str) -> None:
    followed.list()
    followed.api.forbidden = {where}
    models = followed.list()
    assert models.are_known_until([ISVC]) == -math.inf
    assert bool(followed.until(LLM) == VALID_SECONDS) is (where == "inferenceservices")
    assert "inferenceservices" in followed.follower.last_error
    followed.api.forbidden = set()
    followed.list()
    assert followed.until(ISVC, LLM) == VALID_SECONDS
    assert followed.follower.last_error == ""


@pytest.mark.parametrize("fails", [0, 500, 503])
def test_what_is_known_grows_old_while_the_api_server_fails(followed: Followed, fails: int) -> None:
    before = followed.list()
    followed.api.fails = fails
    followed.clock.advance(VALID_SECONDS - 1)
    after = followed.list()
    assert after.names is before.names
    assert followed.until(ISVC) == 1
    followed.api.fails = None
    followed.list()
    assert followed.until(ISVC) == VALID_SECONDS
    assert followed.known.names is before.names, "nothing has changed"
