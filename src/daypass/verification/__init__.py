"""Checks of a published door and gate from outside: `daypass verify`.

- `target`: what is verified; `verify`: the checks of a target, in order
- `certificate`, `door_checks`, `gate_checks`: what the responses mean, as pure functions
- `report`: findings, and their output as text, JSON and JUnit XML

The checks need no cluster credential and change nothing. The long-lived token of `--credentials` is
sent only to its door, a short-lived one only to the gate.
"""
