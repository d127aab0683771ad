"""From the spec to what engines run: one package or module an engine, pure functions.

`envoy` is the config of door and gate, `policy` the admission policy. `manifests` puts everything
of a cluster together: `door` is what runs, `fronts` what terminates the public names and leads to
it, `needs` what has to be there beside them.

The same input gives the same bytes, and golden tests hold them. Nothing here talks to a cluster,
opens a socket or starts a process; who applies or runs the result is `deploy` or `local`. Two
modules touch files: `facts` reads the one that a config names, `folder` compares and writes a tree.
"""
