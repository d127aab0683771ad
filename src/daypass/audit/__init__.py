"""Probes of a running exposure: DNS, TLS, what passes, and above all what must not.

Works from outside with no cluster credential, as an attacker would.
"""
