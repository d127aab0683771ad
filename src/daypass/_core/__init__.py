"""What every other package stands on: secrets, time, files, TLS, JWTs, Kubernetes' Status, errors.

Small modules with no judgement in them. Nothing heavy is imported here, and nothing at all by this
file: `daypass token` answers from its cache in the time a bare interpreter takes to start twice,
so a module that only some callers need is imported by those callers.
"""
