"""Envoy's config of door and gate, on one machine and in a pod, as dictionaries in its JSON form.

`bootstrap` puts the files together; `door_listener` and `gate_listener` are the two listeners;
`token_rules` decides which tokens pass the gate, and `published` whether they are revoked;
`settings` are the values that they depend on. All of it is pure: the same settings give the same
bytes.
"""
