"""From the spec to what engines run: one package or module an engine, pure functions.

The same input gives the same bytes, and golden tests hold them. Nothing here talks to a cluster,
opens a socket or starts a process; who applies or runs the result is `deploy` or `local`.
"""
