"""What every other package uses: secrets, time, files, TLS, JWTs, names, messages and errors.

The package itself has what the client needs, its module `server` what servers and daemons need,
and `kubernetes` the vocabulary of Kubernetes. What the client uses imports nothing heavy: `daypass
token` answers from its cache in twice the time that a bare interpreter takes to start. This file
imports nothing.
"""

VERSION = "0.1.0"
"""The version of daypass; the build backend reads it here."""
