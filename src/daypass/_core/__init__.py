"""What every other package uses: secrets, time, files, TLS, JWTs, names, messages and errors.

The package itself has what the client needs, `kubernetes` the vocabulary of Kubernetes, and
`server` what servers and daemons need. What the client uses imports nothing heavy: `daypass token`
answers from its cache in twice the time that a bare interpreter takes to start. This file imports
nothing.
"""

VERSION = "0.1.0"
"""The version of daypass; the build backend reads it here."""
