"""Checks of a published door and gate from outside: `daypass verify`.

- `target`: what is verified; `verify`: the checks of a target, in order
- `checks`: the requests, and what the responses mean, as pure functions
- `diagnosis`: the steps of `daypass doctor`, for the user of a credentials file

The checks need no cluster credential and change nothing. The long-lived token of `--credentials` is
sent only to its door, a short-lived one only to the gate.
"""
