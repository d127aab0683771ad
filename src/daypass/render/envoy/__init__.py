"""Envoy's config: the door (and the gate), for Envoy on one machine and in a Deployment alike.

Each module builds one part as plain dictionaries in Envoy's own JSON form; `door` puts them
together, `bootstrap` makes of them one file for `envoy -c` or a folder that a running Envoy
follows. All of it is pure: the same settings give the same bytes.
"""
