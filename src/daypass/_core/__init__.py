"""What every other package uses: secrets, time, files, TLS, JWTs, names, messages and errors.

`token_bounds` has which lifetimes and audiences are possible, `proxy` which hosts are reached
through a proxy, `backoff` all delays, `objects` what every Kubernetes object has, `findings` the
outcome of a check. This file imports nothing, and what the client uses imports nothing heavy:
`daypass token` answers from its cache in twice the time that a bare interpreter takes to start.
"""

VERSION = "0.1.0"
"""The version of daypass; the build backend reads it here."""
