"""Revocation: a controller that watches what tokens are bound to, and publishes what is refused.

`watcher` keeps up a `revocation_list` with informers; `controller` records it in a `state_store`
and passes it to `publishers`, in a cluster and on one machine. `revocation_list_client` is the
authorizers' side. `publish_once` and `deny_list` are for commands.
"""
