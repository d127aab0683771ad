"""The gateway's objects of a config's gate."""

from __future__ import annotations

from dataclasses import replace

from daypass._core.kubernetes.objects import Object
from daypass.config import Config
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.engines import engines_of
from daypass.render.engines.engine import AnyEngine
from daypass.rules.published import CLUSTER_SHARDS, DENIALS, Denials, Published, Shard, shard_name


def the_engine(config: Config, facts: ClusterFacts | None = None) -> AnyEngine:
    """The engine of a config that has one gate in a cluster."""
    (engine,) = engines_of(config, facts or ClusterFacts())
    return engine


def shard_object(config: Config, number: int, shard: Shard) -> Object:
    """The gateway's object with a shard of the set."""
    published = Published.closed(CLUSTER_SHARDS).with_shard(number, shard)
    return the_engine(config).published_object(shard_name(number), published)


def denials_object(config: Config, denials: Denials) -> Object:
    """The gateway's object with what is denied."""
    published = replace(Published.closed(CLUSTER_SHARDS), denials=denials)
    return the_engine(config).published_object(DENIALS, published)


def keys_object(config: Config, issuer: str, key_set: str) -> Object:
    """The gateway's object with the API server's keys."""
    return the_engine(config).keys_object(issuer, key_set)
