"""Thin adapters that hand short-lived tokens to other libraries and programs.

One module a library, imported only by who uses it. When to refresh, what to retry and what to
believe is decided in `client`; an adapter that holds judgement is in the wrong place.
"""
