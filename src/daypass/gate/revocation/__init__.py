"""Revocation: a controller that watches what tokens are bound to, and publishes what is refused.

`watcher` keeps up a `revocation_list` with informers; `controller` (in a cluster) or
`local_controller` (on one machine) records it and passes it to `publishers`. `publish_once` and
`deny_list` are for commands, `state_store` for what has to outlive a process.
"""
