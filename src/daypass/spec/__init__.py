"""The config file and what it means: domains, door, policy, gate, and the one exposure.

`daypass.yaml` is read here, and only here, into immutable values; a mistake in it becomes one
error with file, line and column. `exposure` defines which requests pass the door; the door's
config is compiled from it, the auditor probes it, the tests enumerate it.

This package does no I/O beyond reading the file it is given, and knows no cluster.
"""
