"""The exchange: a long-lived ServiceAccount token for short-lived, audience-bound ones.

One generator flow decides; a sync and an async driver carry its requests. It stands on `_core` and
the standard library alone, so that it costs little to import into anybody's program.

This package keeps no judgement about domains, policies or gates (`spec`), and knows no Kubernetes
client (`kube`): it knows one door, one identity, and TokenRequest.
"""
