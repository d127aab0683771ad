"""Probes of a running exposure: name, TLS, what passes, and above all what must not.

Works from outside with no cluster credential, as a client or an attacker would. Each check is a
pure judgement over what came back, so that every diagnosis is a line in a test; `verify` asks and
judges, `reports` tells. Nothing here changes anything, and no token is sent but to the door (a
long-lived one) and to the gate (a short-lived one).
"""
