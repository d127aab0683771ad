"""The gate's decision: who calls, as a pure function of numbered steps.

`decide` is what `check: review` runs, what `gate explain` shows step by step, and the oracle that
the native engines (Envoy's jwt_authn and routes, Istio) are tested against. It reads no clock, asks
nobody and verifies no signature itself: whoever calls it brings these answers along. A transport
carries questions and answers and decides nothing.
"""
