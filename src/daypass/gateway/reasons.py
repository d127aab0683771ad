"""Why the gate lets a request through or not; `daypass.spec.reasons` lists it, where the config of
engines is compiled from it as well.
"""

from daypass.spec.reasons import CODES, MESSAGES, Reason

__all__ = ["CODES", "MESSAGES", "Reason"]
